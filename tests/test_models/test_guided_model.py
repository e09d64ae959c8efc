"""FoundationX with region guidance; the masks: test_region_guidance.py."""

import copy

import model_helpers as h
import numpy as np
import pytest
import torch
from test_region_guidance import STRIDES, pixels, slow_mask

from fx_mm.models.layers.region_guidance import evaluating
from fx_mm.registry import MODELS
from fx_mm.tasks import TaskTable
from fx_mm.utils.errors import UserError

TASKS = [*h.TASKS[2:3], *h.TASKS[4:6]]
GUIDED = {'student.region_guidance': dict(type='RegionGuidance')}


def sure(model):
    """Let the model be sure of some boxes and not of others."""
    with torch.no_grad():
        for who in (model.student, model.teacher):
            for task in who.localization.tasks.values():
                weight = task.head.cls_branch.weight
                weight.copy_(torch.randn_like(weight))
                task.head.cls_branch.bias.fill_(-2.0)
    return model


@pytest.fixture(scope='module')
def shared_model():
    return sure(h.build(tasks=TASKS, noise=0.05, **GUIDED))


@pytest.fixture
def model(shared_model):
    shared_model.student.lock(())
    shared_model.train()
    shared_model.zero_grad(set_to_none=True)
    return shared_model


def samples_of(task, **meta):
    inputs, samples = h.batch(task)
    for sample in samples:
        sample.set_metainfo(meta)
    return inputs, samples


@pytest.mark.parametrize('image', [(64, 64), (64, 45), (51, 64)])
def test_guided_logits_from_the_parts(model, image):
    """Boxes, masks and maps by hand, with and without padding."""
    student = model.student.eval()
    inputs, samples = samples_of('a/seg', img_shape=image)
    _, loc_samples = samples_of('a/loc', img_shape=image)
    with torch.no_grad():
        logits, boxes = student(inputs, loc_samples)
        pyramid = student.extract_feat(inputs)
        guided = []
        counts = []
        for feature, stride in zip(pyramid, STRIDES):
            masks = []
            for index in range(len(inputs)):
                chosen = (logits[-1, index].sigmoid() > 0.3).any(-1)
                found = boxes[-1, index][chosen].numpy()
                counts.append(len(found))
                masks.append(
                    slow_mask(
                        [pixels(box, image) for box in found],
                        image,
                        stride,
                        feature.shape[2:],
                    )
                )
            mask = torch.tensor(np.stack(masks))[:, None].float()
            guided.append(0.5 * feature + 0.5 * feature * mask)
        branch = student.segmentation
        wanted = branch(branch.encode(guided, samples), 'a', samples)
        plain = branch(branch.encode(pyramid, samples), 'a', samples)
        ours = student(inputs, samples)
    assert min(counts) > 0 and max(counts) < 30
    assert (wanted - plain).abs().max() > 1e-3
    torch.testing.assert_close(ours, wanted, atol=1e-4, rtol=1e-4)


def test_dataset_without_boxes_is_unguided(model):
    plain = h.build(tasks=TASKS, noise=0.05).student.eval()
    plain.load_state_dict(model.student.state_dict())
    student = model.student.eval()
    with torch.no_grad():
        for task, same in (('b/seg', True), ('a/seg', False)):
            inputs, samples = h.batch(task)
            ours, theirs = student(inputs, samples), plain(inputs, samples)
            assert torch.equal(ours, theirs) == same


def test_one_path_in_all_modes(model):
    """Backbone and guide run once; loss, masks and features agree."""
    student = model.student.eval()
    calls = []
    watched = dict(backbone=student.backbone, guide=student.region_guidance)
    handles = [
        module.register_forward_hook(lambda *_, n=name: calls.append(n))
        for name, module in watched.items()
    ]
    inputs, samples = samples_of('a/seg', ori_shape=(64, 64))
    with torch.no_grad():
        logits = student(inputs, samples)
        losses, features = student.loss_and_features(inputs, samples)
        again = student.features(inputs, samples)
        result = student.predict(inputs, samples)
    for handle in handles:
        handle.remove()
    assert calls == ['backbone', 'guide'] * 4
    target = torch.stack([s.gt_sem_seg.data for s in samples])
    wanted = student.segmentation.mask_loss(logits, target)
    torch.testing.assert_close(losses['loss_dice'], wanted)
    masks = torch.stack([s.pred_sem_seg.data for s in result])
    assert torch.equal(masks, (logits.sigmoid() > 0.5).to(masks))
    for group, twin in zip(features, again):
        assert all(torch.equal(a, b) for a, b in zip(group, twin))


def test_guide_leaves_no_trace():
    """No gradient, no flag and no statistic of localization changes."""
    options = {
        'student.localization.neck.norm_cfg': dict(_delete_=True, type='BN'),
        **{
            f'student.localization.{coder}.layer_cfg.ffn_cfg.ffn_drop': 0.3
            for coder in ('encoder', 'decoder')
        },
    }
    model = sure(h.build(tasks=TASKS, noise=0.05, **GUIDED, **options))
    student = model.student
    branch = student.localization
    seen = []
    branch.encoder.neck.register_forward_hook(
        lambda module, *_: seen.append(
            any(m.training for m in module.modules())
            or torch.is_grad_enabled()
        )
    )
    for locked in ((), ('localization/encoder', 'backbone')):
        student.lock(locked)
        flags = {n: m.training for n, m in model.named_modules()}
        buffers = {n: b.clone() for n, b in branch.named_buffers()}
        assert any('running_mean' in name for name in buffers)
        model.zero_grad(set_to_none=True)
        losses = model(*h.batch('a/seg'), mode='loss')
        sum(losses.values()).backward()
        assert seen.pop() is False and not seen
        assert flags == {n: m.training for n, m in model.named_modules()}
        assert all(
            torch.equal(buffers[n], b) for n, b in branch.named_buffers()
        )
        assert all(p.grad is None for p in branch.parameters())
        learning = student.segmentation.decoder.parameters()
        assert all(p.grad is not None for p in learning)
        reached = [p.grad is not None for p in student.backbone.parameters()]
        assert any(reached) != bool(locked)


def test_flags_are_restored_after_an_error():
    module = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.ReLU())
    module[1].eval()
    with pytest.raises(RuntimeError), evaluating(module):
        assert not any(m.training for m in module.modules())
        raise RuntimeError
    assert [m.training for m in module.modules()] == [True, True, False]


def test_student_and_teacher_use_their_own_boxes(model):
    seen = {}
    handles = []
    for name in ('student', 'teacher'):
        guide = getattr(model, name).region_guidance
        handles.append(
            guide.register_forward_hook(
                lambda _, args, __, n=name: seen.update({n: args[1:3]})
            )
        )
    inputs, samples = h.batch('a/seg')
    losses = model(inputs, samples, mode='loss')
    for handle in handles:
        handle.remove()
    assert losses['loss_consistency'].requires_grad
    assert not torch.equal(seen['student'][0], seen['teacher'][0])
    for name, (logits, boxes) in seen.items():
        model.eval()
        _, loc_samples = h.batch('a/loc')
        with torch.no_grad():
            wanted = getattr(model, name)(inputs, loc_samples)
        torch.testing.assert_close(logits, wanted[0][-1])
        torch.testing.assert_close(boxes, wanted[1][-1])
    with torch.no_grad(), model.using('student'):
        ours = model(inputs, samples)
        torch.testing.assert_close(ours, model.student(inputs, samples))


def test_guided_model_under_autocast(model):
    inputs, samples = h.batch('a/seg')
    with torch.autocast('cpu', torch.bfloat16):
        losses = model(inputs, samples, mode='loss')
    assert all(v.isfinite() for v in losses.values())
    sum(losses.values()).backward()
    twin = copy.deepcopy(model).eval()
    with torch.no_grad():
        ours = model.eval()(inputs, samples)
        assert torch.equal(ours, twin(inputs, samples))


def test_unguided_model_pays_nothing():
    student = h.build(tasks=TASKS).student
    assert student.region_guidance is None
    calls = []
    student.localization.encoder.register_forward_hook(
        lambda *_: calls.append(1)
    )
    student.loss(*h.batch('a/seg'))
    assert not calls


def test_guidance_needs_boxes_of_a_segmented_dataset():
    with pytest.raises(UserError, match='needs the boxes of a/loc, b/loc'):
        h.build(tasks=h.TASKS[4:6], **GUIDED)
    # nothing to guide is no mistake: a checkpoint is tested task by task
    assert (
        h.build(tasks=h.TASKS[2:4], **GUIDED).student.region_guidance is None
    )
    cfg = h.model_cfg(tasks=TASKS, **GUIDED)
    before = cfg.to_dict()
    MODELS.build(cfg)
    assert cfg.to_dict() == before


def test_logits_of_no_class_do_not_guide():
    options = {
        'student.localization.num_labels': 14,
        'student.localization.num_logits': 14,
        'student.localization.first_label': 1,
        'student.region_guidance': dict(type='RegionGuidance'),
    }
    student = h.build(noise=0.02, **options).student.eval()
    inputs, samples = h.batch('a/seg')
    with torch.no_grad():
        before = student(inputs, samples)
        head = student.localization.tasks['a'].head
        head.cls_branch.bias[0] = 20.0
        assert torch.equal(student(inputs, samples), before)
        head.cls_branch.bias[1] = 20.0
        assert not torch.equal(student(inputs, samples), before)


def test_a_dataset_must_not_lose_its_guidance():
    everything = TaskTable(h.TASKS).configured
    tasks = [t for t in h.TASKS if t.name != 'a/loc']
    with pytest.raises(UserError, match='needs the boxes of a/loc;'):
        h.build(tasks=TaskTable(tasks, everything), **GUIDED)


def test_small_guided_images_are_refused_when_the_model_is_built():
    tasks = [
        h.with_options(t, img_size=32 if t.name.endswith('seg') else 64)
        for t in h.TASKS
    ]
    options = {'student.region_guidance': dict(type='RegionGuidance')}
    with pytest.raises(UserError, match='an image of 32 px gives only'):
        h.build(tasks=tasks, **options)


@pytest.mark.parametrize(
    'key, value',
    [('mix', 7), ('score_threshold', 1.5), ('max_boxes', 0), ('mix', 'a')],
)
def test_values_without_sense(key, value):
    guidance = dict(type='RegionGuidance', **{key: value})
    with pytest.raises(UserError, match=f'region_guidance.{key} is {value!r}'):
        h.build(**{'student.region_guidance': guidance})
