"""The localization branch on unusual truth and with the authors' options."""

from dataclasses import replace

import model_helpers as h
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData

from fx_mm.apis import expand_config
from fx_mm.ops import sampling
from fx_mm.registry import MODELS
from fx_mm.utils.errors import UserError

LOC = h.TASKS[2:4]
RELEASED = {
    'student.localization.memory_projection': True,
    'student.localization.separate_outputs': True,
    'student.localization.num_logits': 14,
    'student.localization.first_label': 1,
}


def build(tasks=LOC, noise=0.02, **options):
    options = {
        key if key.startswith('student') else f'student.localization.{key}': v
        for key, v in options.items()
    }
    return h.build(tasks=tasks, noise=noise, **options).student


@pytest.fixture(scope='module')
def plain():
    return build()


@pytest.fixture(scope='module')
def released():
    return build(**RELEASED)


def truth(*counts):
    """A batch of images of 64 px with these numbers of boxes."""
    inputs, samples = h.batch('a/loc', n=len(counts), boxes=0)
    for index, count in enumerate(counts):
        _, (sample,) = h.batch('a/loc', n=1, boxes=count, seed=index)
        samples[index].gt_instances = sample.gt_instances
    return inputs, samples


def step(student, inputs, samples):
    """Losses, and the names of the parameters with a gradient."""
    student.train().zero_grad(set_to_none=True)
    losses = student.loss(inputs, samples)
    sum(losses.values()).backward()
    learning = set()
    for name, parameter in student.named_parameters():
        if parameter.grad is not None and parameter.grad.abs().sum() > 0:
            assert parameter.grad.isfinite().all(), name
            learning.add(name)
    return losses, learning


def boxes_of(losses):
    return [v for k, v in losses.items() if 'bbox' in k or 'iou' in k]


@pytest.mark.parametrize('options', [{}, RELEASED])
def test_images_without_boxes_teach_the_class_branches(options):
    losses, learning = step(build(**options), *truth(0, 0))
    assert all(value == 0 for value in boxes_of(losses))
    focal = {k: v for k, v in losses.items() if k.endswith('loss_cls')}
    assert all(v.isfinite() for v in focal.values())
    for name in ('loss_cls', 'd0.loss_cls', 'enc_loss_cls'):
        assert focal[name] > 0
    own = 'localization.tasks.a.'
    for name in (
        'backbone.patch_embed.projection.weight',
        'localization.queries.weight',
        own + 'head.cls_branch.weight',
        own + 'head.proposal_cls_branch.weight',
        own + 'selection.0.weight',
    ):
        assert name in learning, name
    assert not any(
        name.startswith('localization.tasks.b') for name in learning
    )


def test_normal_images_beside_one_with_boxes(plain):
    """The sums are over the batch, whatever image a box is in."""
    plain.eval()
    inputs, samples = truth(0, 2, 0)
    with torch.no_grad():
        losses = plain.loss(inputs, samples)
        alone = plain.loss(inputs[1:2], samples[1:2])
        empty = plain.loss(inputs[::2], samples[::2])
    for key in alone:
        wanted = alone[key]
        if key.endswith('loss_cls'):
            # 2 boxes divide the sum; 1 does where there is none
            wanted = wanted + empty[key] / 2
        torch.testing.assert_close(losses[key], wanted)


@pytest.mark.parametrize(
    'counts, queries', [((1, 0), 20), ((1, 1), 20), ((100, 3), 100)]
)
def test_one_box_and_hundred_boxes(plain, counts, queries):
    """100 boxes: more than queries (30) and than denoising pairs (20)."""
    inputs, samples = truth(*counts)
    matches = []
    head = plain.localization.tasks['a'].head
    matcher = head.matcher

    def spy(*args):
        matches.append(matcher(*args))
        return matches[-1]

    head.matcher = spy
    task = plain.localization.tasks['a']
    _, _, _, meta = task.denoising(samples, plain.localization.label_embedding)
    assert meta['num_denoising_queries'] == 2 * queries
    assert meta['num_denoising_groups'] == max(1, 20 // max(counts))
    losses, _ = step(plain, inputs, samples)
    head.matcher = matcher
    assert all(value.isfinite() for value in losses.values())
    images, queries, boxes = matches[0]
    for image, count in enumerate(counts):
        mine = images == image
        assert mine.sum() == min(count, 30)
        for row, column in zip(queries[:, mine], boxes[:, mine]):
            assert row.unique().numel() == column.unique().numel()


@pytest.mark.parametrize('shape', [(75, 75), (61, 90)])
def test_odd_sizes(plain, shape):
    inputs, samples = torch.rand(2, 3, *shape), truth(2, 1)[1]
    for sample in samples:
        sample.set_metainfo(
            dict(
                img_shape=shape,
                batch_input_shape=shape,
                ori_shape=(2 * shape[0], 3 * shape[1]),
            )
        )
    losses, _ = step(plain, inputs, samples)
    assert all(value.isfinite() for value in losses.values())
    plain.eval()
    with torch.no_grad():
        result = plain.predict(inputs, samples)[0].pred_instances
    assert (result.bboxes[:, 0::2] <= 3 * shape[1]).all()
    assert (result.bboxes[:, 1::2] <= 2 * shape[0]).all()
    assert (result.bboxes >= 0).all()


def test_float32_where_bfloat16_would_move_boxes(monkeypatch):
    student, seen = build(**RELEASED), {}

    def watch(owner, name):
        original = getattr(owner, name)

        def spy(*args, **kwargs):
            tensors = [
                x
                for x in (*args, *kwargs.values())
                if isinstance(x, torch.Tensor) and x.is_floating_point()
            ]
            assert tensors
            seen.setdefault(name, set()).update(x.dtype for x in tensors)
            seen.setdefault('autocast', set()).add(
                torch.is_autocast_enabled('cpu')
            )
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, spy)

    branch = student.localization
    task = branch.tasks['a']
    watch(sampling.F, 'grid_sample')
    watch(task.head, 'matcher')
    watch(task.head, '_losses')
    watch(task.head.loss_iou, 'forward')
    watch(task.head.loss_bbox, 'forward')
    projected = []
    task.memory_projection.register_forward_hook(
        lambda module, args, output: projected.append(output.dtype)
    )
    attention = branch.encoder.encoder.layers[0].self_attn.value_proj
    inner = []
    attention.register_forward_hook(
        lambda module, args, output: inner.append(output.dtype)
    )
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = student.loss(*truth(2, 0))
    assert inner == [torch.bfloat16]
    assert projected == [torch.float32]
    assert seen.pop('autocast') == {True, False}
    assert len(seen) == 4
    for name, dtypes in seen.items():
        assert dtypes == {torch.float32}, name
    assert all(v.dtype == torch.float32 for v in losses.values())
    assert all(v.isfinite() for v in losses.values())


def test_a_step_waits_for_the_device_once(released, monkeypatch):
    """All layers and images are matched on one copy of the costs."""
    calls = []
    for name in ('cpu', 'item', 'tolist', 'nonzero', '__bool__', '__index__'):
        original = getattr(torch.Tensor, name)

        def spy(self, *args, name=name, original=original, **kwargs):
            calls.append(name)
            return original(self, *args, **kwargs)

        monkeypatch.setattr(torch.Tensor, name, spy)
    released.train()
    inputs, samples = truth(3, 0, 1)
    calls.clear()
    sum(released.loss(inputs, samples).values()).backward()
    assert calls == ['cpu']


def test_one_decoder_for_all_datasets():
    """Foundation X+: heads and queries are all that a dataset owns."""
    many = [replace(LOC[0], dataset=name) for name in 'abcdef']
    own = dict(queries='per_task')
    sizes = {}
    for shared in (False, True):
        student = build(tasks=many, share_decoder=shared, **own)
        sizes[shared] = sum(p.numel() for p in student.parameters())
    decoder = sum(p.numel() for p in student.localization.decoder.parameters())
    assert sizes[False] - sizes[True] == 5 * decoder
    _, learning = step(student, *truth(2, 1))
    assert any(name.startswith('localization.decoder.') for name in learning)
    assert 'localization.tasks.a.queries.weight' in learning
    others = [f'localization.tasks.{name}.' for name in 'bcdef']
    assert not any(name.startswith(tuple(others)) for name in learning)


# ------------------------------------------------- the authors' own layout


def test_options_are_off_and_then_add_nothing(plain, released):
    names = set(plain.state_dict())
    added = set(released.state_dict()) - names
    assert names <= set(released.state_dict())
    assert {name.split('.', 3)[3] for name in added} == {
        f'{module}.{kind}'
        for module in (
            'memory_projection',
            'head.output_box_branch.0',
            'head.output_box_branch.2',
            'head.output_box_branch.4',
        )
        for kind in ('weight', 'bias')
    }
    for own in plain.localization.tasks.values():
        assert own.head.num_logits == own.head.num_classes


def test_every_parameter_of_the_released_layout_learns(released):
    released.lock(())
    parts = {part.name: part for part in released.param_groups()}
    names = {name for name, _ in released.named_parameters()}
    for name in names:
        assert sum(part.owns(name) for part in parts.values()) == 1
    _, learning = step(released, *truth(2, 3))
    own = 'localization.tasks.'
    assert {n for n in names if not n.startswith(own + 'b.')} == learning
    projection = own + 'a.memory_projection.weight'
    assert parts['a/loc/selection'].owns(projection)
    assert parts['a/loc/head'].owns(own + 'a.head.output_box_branch.0.bias')
    for mode in ('lock', 'lock_plus'):
        released.lock(released.freeze_plan('a/loc', mode))
        _, learning = step(released, *truth(2, 3))
        assert projection in learning
    released.lock(())


def test_the_consistency_feature_is_not_projected(released):
    released.eval()
    inputs, samples = truth(1)
    branch = released.localization
    with torch.no_grad():
        state = branch.encode(released.extract_feat(inputs), samples)
        memory = state['memory'].clone()
        outputs = branch.decode(state, 'a', samples, denoise=False)
        assert branch.consistency(state)[1][0] is state['memory']
        assert torch.equal(state['memory'], memory)
        # selection and decoder see the projected one alone
        projected = dict(state, memory=branch.tasks['a'].project(memory))
        projection = branch.tasks['a'].memory_projection
        branch.tasks['a'].memory_projection = None
        same = branch.decode(projected, 'a', samples, denoise=False)
        branch.tasks['a'].memory_projection = projection
    for key in ('hidden_states', 'references', 'proposal_scores'):
        assert torch.equal(outputs[key], same[key])


def test_outputs_come_from_their_own_box_branch(released):
    released.eval()
    inputs, samples = truth(1)
    branch, head = released.localization, released.localization.tasks['a'].head
    with torch.no_grad():
        state = branch.encode(released.extract_feat(inputs), samples)
        outputs = branch.decode(state, 'a', samples, denoise=False)
        states, references = outputs['hidden_states'], outputs['references']
        logits, boxes = head(states, references)
    anchors = references[:-1].clamp(1e-5, 1 - 1e-5).logit()
    with torch.no_grad():
        wanted = (head.output_box_branch(states) + anchors).sigmoid()
        refined = (head.box_branch(states) + anchors).sigmoid()
    torch.testing.assert_close(boxes, wanted)
    assert (boxes - refined).abs().max() > 1e-3
    assert logits.shape[-1] == 14


@pytest.mark.parametrize('first, logits', [(1, 14), (0, 5), (2, None)])
def test_shifted_labels_are_learned_and_given_back(first, logits):
    """Loss and result are those of a head of just the classes, moved."""
    student = build(
        first_label=first, num_logits=logits, label_embedding='per_task'
    )
    width = logits or first + 3
    own = student.localization.tasks['a']
    assert own.head.cls_branch.out_features == width
    assert own.label_embedding.num_embeddings == first + 3
    inputs, samples = truth(3, 2)
    losses, _ = step(student, inputs, samples)
    rows = own.head.cls_branch.weight.grad.abs().sum(1)
    assert (rows > 0).all()  # all logits enter the focal loss
    used = own.label_embedding.weight.grad.abs().sum(1) > 0
    assert not used[:first].any() and used[first:].any()

    student.eval()
    with torch.no_grad():
        outer = list(set(range(width)) - set(range(first, first + 3)))
        own.head.cls_branch.bias[outer] = 10.0
        own.head.cls_branch.bias[first + 1] = 5.0
        result = student.predict(inputs, samples)[0].pred_instances
    assert len(result) == 30
    assert result.labels[0] == 1 and set(result.labels.tolist()) <= {0, 1, 2}


def test_focal_loss_of_shifted_labels():
    student = build(first_label=1, num_logits=14).train()
    head = student.localization.tasks['a'].head
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 1, 30, 14, generator=generator)
    boxes = torch.rand(1, 1, 30, 4, generator=generator) * 0.2 + 0.4
    _, samples = truth(4)
    labels = [samples[0].gt_instances.labels + 1]
    target = (labels[0], samples[0].gt_instances.bboxes)
    sizes = torch.full((1, 4), 64.0)
    pairs = head.matcher(
        logits, boxes, labels, [samples[0].gt_instances.bboxes], sizes
    )
    value = head._losses(logits, boxes, *pairs, *target, sizes)['loss_cls'][0]
    onehot = torch.zeros(30, 14)
    onehot[pairs[1][0], labels[0][pairs[2][0]]] = 1
    probs = logits[0, 0].sigmoid()
    right = torch.where(onehot > 0, probs, 1 - probs)
    alpha = torch.where(onehot > 0, 0.25, 0.75)
    wanted = (-alpha * (1 - right) ** 2 * right.log()).sum() / 4
    torch.testing.assert_close(value, wanted)


def test_denoising_draws_the_rows_of_the_dataset_alone():
    student = build(num_labels=16, first_label=1, num_logits=14)
    branch = student.localization
    assert branch.label_embedding.num_embeddings == 16
    task = branch.tasks['a']
    _, samples = truth(5)
    samples[0].gt_instances = InstanceData(
        bboxes=samples[0].gt_instances.bboxes,
        labels=torch.zeros(5, dtype=torch.long),
    )
    torch.manual_seed(0)
    drawn = torch.cat(
        [
            task.denoising._noisy_labels(samples[0].gt_instances.labels, 4)
            for _ in range(50)
        ]
    )
    counts = drawn.bincount(minlength=16) / len(drawn)
    assert counts.nonzero().flatten().tolist() == [1, 2, 3]
    # half of 0.5 is noise, a third of which is the label itself
    torch.testing.assert_close(
        counts[1].item(), 0.75 + 0.25 / 3, atol=0.03, rtol=0
    )


@pytest.mark.parametrize('name, rows', [('150c', 13), ('released', 16)])
def test_rows_of_the_label_embedding_by_config(name, rows):
    """Never by the active tasks: a checkpoint of all is tested on one."""
    folder = h.CONFIGS.parents[1] / 'foundation_x'
    cfg = Config.fromfile(folder / f'foundation-x_swin-b_{name}.py')
    cfg.tasks = ['tbx11k/loc']
    # the real widths would take seconds to build
    cfg.merge_from_dict({'model.student.backbone.embed_dims': 16})
    cfg.model.student.backbone.pop('init_cfg', None)
    student = expand_config(cfg)
    student = dict(student.model.student, tasks=student.task_table)
    branch = MODELS.build(student).localization
    assert len(branch.label_embedding.weight) == rows


@pytest.mark.parametrize(
    'options, message',
    [
        (
            dict(num_logits=3, first_label=1),
            'num_logits is 3, but 3 classes from first_label 1 on need 4',
        ),
        (dict(num_labels=2), 'num_labels is 2, but .* need 3 rows'),
        (
            dict(num_labels=3, first_label=1),
            'num_labels is 3, but .* need 4 rows',
        ),
    ],
)
def test_too_few_logits_or_labels_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        build(**options)


@pytest.mark.parametrize('rows, saved', [(5, 3), (3, 5)])
def test_label_embedding_fits_its_rows(rows, saved):
    options = 'student.localization.num_labels'
    old, new = (h.build(**{options: count}).student for count in (saved, rows))
    before = new.localization.label_embedding.weight.detach().clone()
    new.load_state_dict(old.state_dict())
    after = new.localization.label_embedding.weight
    common = min(rows, saved)
    weight = old.localization.label_embedding.weight
    assert torch.equal(after[:common], weight[:common])
    assert torch.equal(after[common:], before[common:])


@pytest.mark.parametrize(
    'key, value',
    [
        ('num_queries', 0),
        ('encoder.num_layers', 0),
        ('decoder.num_layers', 1.5),
        ('neck.out_channels', 'wide'),
        ('neck.num_outs', 2),
        ('encoder.layer_cfg.self_attn_cfg.num_heads', 0),
        ('dn_cfg.group_cfg.num_dn_queries', 0),
        ('test_cfg.max_per_img', 0),
        ('encoder_l2', -1),
        ('proposal_loss_weight', -1),
        ('first_label', -1),
    ],
)
def test_values_without_sense(key, value):
    with pytest.raises(UserError, match=f'{key} is {value!r}; it must be'):
        h.build(**{f'student.localization.{key}': value})
