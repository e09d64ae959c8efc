import copy
import io
import pickle

import model_helpers as h
import pytest
import torch

from fx_mm.registry import MODELS
from fx_mm.utils.errors import UserError

TASK_NAMES = [task.name for task in h.TASKS]


def test_empty_truth_comes_first(model):
    losses = h.backward(model, 'a/loc', boxes=0)
    for key, value in losses.items():
        assert value.isfinite().all(), key
        if 'bbox' in key or 'iou' in key or 'dn_loss' in key:
            assert value.item() == 0, f'{key} must be 0 without boxes'
        elif 'loss_cls' in key:
            assert value.item() > 0, f'{key} must train the background'
    assert any(n.endswith('cls_branch.weight') for n in h.with_gradient(model))


def test_one_empty_image_in_a_batch(model):
    inputs, samples = h.batch('a/loc')
    _, empty = h.batch('a/loc', boxes=0)
    samples[0] = empty[0]
    losses = model(inputs, samples, mode='loss')
    assert losses['loss_bbox'] > 0
    assert all(v.isfinite().all() for v in losses.values())


@pytest.mark.parametrize('boxes', [1, 100])
def test_any_number_of_boxes(model, boxes):
    losses = h.backward(model, 'a/loc', boxes=boxes)
    assert all(v.isfinite().all() for v in losses.values())


@pytest.mark.parametrize('dataset', ['a', 'b'])
def test_all_labels_unknown(model, dataset):
    """Multi-label and multi-class: no loss, no gradient, no NaN."""
    inputs, samples = h.batch(f'{dataset}/cls')
    for sample in samples:
        sample.gt_score = torch.full_like(sample.gt_score, float('nan'))
    losses = model(inputs, samples, mode='loss')
    assert losses['loss_cls'].item() == 0
    assert losses['loss_consistency'].isfinite()
    losses['loss_cls'].backward()
    assert not h.with_gradient(model)
    for parameter in model.student.parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()


def test_empty_masks(model):
    inputs, samples = h.batch('a/seg')
    for sample in samples:
        sample.gt_sem_seg.data.zero_()
    losses = model(inputs, samples, mode='loss')
    # Dice counts classes that are there; BCE teaches their absence.
    assert losses['loss_dice'].item() == 0
    assert losses['loss_bce'].item() > 0


@pytest.mark.parametrize('task', TASK_NAMES)
def test_losses_and_predictions(model, task):
    losses = h.backward(model, task)
    assert all('loss' in key for key in losses)
    assert all(v.isfinite().all() for v in losses.values())
    model.eval()
    inputs, samples = h.batch(task)
    with torch.no_grad():
        results = model(inputs, samples, mode='predict')
    assert len(results) == 2
    classes = len(h.TASKS[TASK_NAMES.index(task)].classes)
    for result in results:
        if task.endswith('cls'):
            assert result.pred_score.shape == (classes,)
            assert ((result.pred_score > 0) & (result.pred_score < 1)).all()
        elif task.endswith('loc'):
            found = result.pred_instances
            assert found.bboxes.shape == (min(30, 30 * classes), 4)
            height, width = result.ori_shape
            assert (found.bboxes[:, 0::2] <= width + 1e-3).all()
            assert (found.bboxes[:, 1::2] <= height + 1e-3).all()
            assert (found.scores.diff() <= 0).all()
            assert (found.labels < classes).all()
        else:
            data = result.pred_sem_seg.data
            assert data.shape == (classes, *result.ori_shape)
            assert data.dtype == torch.uint8 and data.max() <= 1
    if task == 'b/cls':
        assert results[0].pred_score.sum().item() == pytest.approx(1)


def test_boxes_are_in_original_pixels(model):
    """The same boxes, twice as high and three times as wide."""
    model.eval()
    inputs, samples = h.batch('a/loc')
    with torch.no_grad():
        scaled = model(inputs, samples, mode='predict')[0].pred_instances
        _, samples = h.batch('a/loc')
        for sample in samples:
            sample.set_metainfo(dict(scale_factor=(1.0, 1.0)))
        plain = model(inputs, samples, mode='predict')[0].pred_instances
    factor = torch.tensor([3.0, 2.0, 3.0, 2.0])
    torch.testing.assert_close(scaled.bboxes, plain.bboxes * factor)


@pytest.fixture(scope='module')
def odd_model():
    # GroupNorm needs two values a group, also in the 1x1 bin of one image
    return h.build(
        noise=0.02, **{'student.segmentation.decoder.pool_channels': 16}
    )


@pytest.mark.parametrize('autocast', [False, True])
@pytest.mark.parametrize('shape', [(84, 84), (100, 133)])
@pytest.mark.parametrize('task', ['a/cls', 'a/loc', 'a/seg'])
def test_one_odd_image(odd_model, task, shape, autocast):
    model = odd_model.train()
    model.zero_grad(set_to_none=True)
    inputs, samples = h.rectangle(task, shape, n=1)
    with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
        losses = model(inputs, samples, mode='loss')
    sum(losses.values()).backward()
    assert all(v.isfinite().all() for v in losses.values())
    assert h.with_gradient(model)
    for parameter in model.student.parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()
    model.eval()
    with torch.no_grad():
        (result,) = model(inputs, samples, mode='predict')
    if task == 'a/seg':
        assert result.pred_sem_seg.data.shape[1:] == result.ori_shape


def test_padding_does_not_enter_localization():
    """Memory of an image does not depend on what is in its padding."""
    options = {'student.localization.neck.norm_cfg': None}
    branch = h.build(
        tasks=h.TASKS[2:3], noise=0.1, **options
    ).student.localization.eval()
    memories = []
    for fill in (0.0, 3.0):
        _, samples = h.batch('a/loc')
        torch.manual_seed(0)
        pyramid = [
            torch.rand(2, 16 * 2**i, 16 // 2**i, 16 // 2**i) for i in range(4)
        ]
        for level in pyramid:
            level[..., level.shape[-1] // 2 :] = fill
        for sample in samples:
            sample.set_metainfo(dict(img_shape=(64, 32)))
        with torch.no_grad():
            state = branch.encode(tuple(pyramid), samples)
        assert state['mask'].float().mean() == 0.5
        memories.append(state['memory'][~state['mask']])
        outputs = branch.decode(state, 'a', samples, denoise=False)
        assert outputs['proposal_boxes'].isfinite().all()
    torch.testing.assert_close(*memories)


def test_unknown_names(model):
    with pytest.raises(ValueError, match='unknown groups'):
        model.student.lock(('head',))
    with pytest.raises(UserError, match='a/cls'):
        model.student.freeze_plan('c/cls', 'lock')
    with pytest.raises(UserError, match='lock_plus'):
        model.student.freeze_plan('a/cls', 'half')
    inputs, samples = h.batch('a/cls')
    samples[0].set_metainfo(dict(task='c/cls'))
    with pytest.raises(ValueError, match='one task'):
        model(inputs, samples, mode='loss')
    with pytest.raises(UserError, match="no task 'c/cls'"):
        model(inputs[:1], samples[:1], mode='loss')


@pytest.mark.parametrize('task', ['a/cls', 'a/loc', 'a/seg'])
def test_autocast_on_cpu(model, task):
    inputs, samples = h.batch(task)
    with torch.autocast('cpu', torch.bfloat16):
        losses = model(inputs, samples, mode='loss')
    for key, value in losses.items():
        assert value.dtype == torch.float32, key
        assert value.isfinite().all(), key
    sum(losses.values()).backward()
    model.eval()
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        result = model(inputs, samples, mode='predict')[0]
    if task == 'a/loc':
        assert result.pred_instances.bboxes.dtype == torch.float32


@pytest.mark.parametrize('task', ['a/cls', 'a/loc', 'a/seg'])
def test_autocast_is_close_to_float32(task):
    model = h.build(student__backbone__drop_path_rate=0.0)
    inputs, samples = h.batch(task)
    torch.manual_seed(1)
    exact = model.student(inputs, samples, mode='loss')
    torch.manual_seed(1)
    with torch.autocast('cpu', torch.bfloat16):
        rough = model.student(inputs, samples, mode='loss')
    for key in exact:
        # untrained proposals are a coin toss, denoising queries are given
        if task != 'a/loc' or 'dn_' in key:
            wanted = pytest.approx(exact[key].item(), rel=0.05)
            assert rough[key].item() == wanted, key


def through_torch(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def flat(output):
    return [output] if isinstance(output, torch.Tensor) else output


@pytest.fixture(scope='module')
def full_model():
    """All that a model can have, in a state that a run may leave it in."""
    options = {
        'student.region_guidance': dict(type='RegionGuidance'),
        'student.localization.share_decoder': True,
        'student.localization.queries': 'per_task',
        'student.segmentation.decoder': dict(
            _delete_=True, type='UPerDecoder', channels=16
        ),
    }
    model = h.build(noise=0.02, **options)
    with torch.no_grad():
        for task in model.student.localization.tasks.values():
            task.head.cls_branch.bias.zero_()
    for task in TASK_NAMES:
        h.backward(model, task)
        model.zero_grad(set_to_none=True)
    model.update_teacher(0.5)
    model.student.lock(model.student.freeze_plan('a/seg', 'lock'))
    return model


@pytest.mark.parametrize(
    'copy_of',
    [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), through_torch],
    ids=['deepcopy', 'pickle', 'torch.save'],
)
def test_copies_answer_the_same_and_are_independent(full_model, copy_of):
    model = full_model.eval()
    twin = copy_of(model)
    with torch.no_grad():
        for task in TASK_NAMES:
            for who in ('student', 'teacher'):
                with model.using(who), twin.using(who):
                    ours = flat(model(*h.batch(task)))
                    theirs = flat(twin(*h.batch(task)))
                assert all(torch.equal(a, b) for a, b in zip(ours, theirs))
    assert twin.student.locked == model.student.locked
    before = [p.clone() for p in model.teacher.parameters()]
    with torch.no_grad():
        next(twin.student.parameters()).add_(1.0)
    twin.update_teacher(0.0)
    assert not torch.equal(next(twin.teacher.parameters()), before[0])
    after = model.teacher.parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after))
    # the copy is whole: it can be released and trained
    twin.student.lock(())
    h.backward(twin.train(), 'a/seg')
    assert h.with_gradient(twin)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize('task', TASK_NAMES)
def test_consistency_reaches_the_student_alone(full_model, task):
    model = copy.deepcopy(full_model).train()
    model.student.lock(())
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.teacher.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    gradients = []
    for weight in (0.0, 0.5):
        model.zero_grad(set_to_none=True)
        model.consistency_weight = weight
        torch.manual_seed(0)
        losses = h.backward(model, task)
        assert ('loss_consistency' in losses) == (weight > 0)
        weights = model.student.backbone.parameters()
        gradients.append(torch.cat([p.grad.flatten() for p in weights]))
    plain, mixed = gradients
    assert (2 * mixed - plain).norm() > 1e-4 * plain.norm()
    assert all(p.grad is None for p in model.teacher.parameters())


def test_state_dict_round_trip(full_model):
    model = full_model.eval()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for tensor in twin.state_dict().values():
            tensor.zero_()
        result = twin.load_state_dict(model.state_dict())
        assert not result.missing_keys and not result.unexpected_keys
        for task in TASK_NAMES:
            ours, theirs = model(*h.batch(task)), twin(*h.batch(task))
            pairs = zip(flat(ours), flat(theirs))
            assert all(torch.equal(a, b) for a, b in pairs)


def test_loss_weight_of_a_task():
    plain = h.build(tasks=h.TASKS[:1]).student.eval()
    tasks = [h.with_options(h.TASKS[0], loss_weight=3.0)]
    heavy = h.build(tasks=tasks).student.eval()
    inputs, samples = h.batch('a/cls')
    ours = heavy.loss(inputs, samples)['loss_cls']
    theirs = plain.loss(inputs, samples)['loss_cls']
    torch.testing.assert_close(ours, 3 * theirs)


def test_only_the_branches_of_the_tasks_are_built():
    student = h.build(tasks=h.TASKS[:2]).student
    assert not hasattr(student, 'localization')
    assert {p.name for p in student.param_groups() if p.task is None} == {
        'backbone',
        'classification/norms',
    }


def test_missing_branch_and_double_task_are_refused():
    cfg = h.model_cfg().student
    cfg.segmentation = None
    with pytest.raises(UserError, match='a/seg needs model.student.segm'):
        MODELS.build(cfg)
    with pytest.raises(UserError, match='listed twice'):
        h.build(tasks=[h.TASKS[0], h.TASKS[0]])


def test_config_is_not_changed_by_building():
    cfg = h.model_cfg()
    before = cfg.to_dict()
    MODELS.build(cfg)
    assert cfg.to_dict() == before


def test_tensor_mode_without_samples_is_the_pyramid(model):
    inputs, _ = h.batch('a/cls')
    maps = model(inputs)
    assert [tuple(m.shape) for m in maps] == [
        (2, 16, 16, 16),
        (2, 32, 8, 8),
        (2, 64, 4, 4),
        (2, 128, 2, 2),
    ]


def test_resnet_backbone():
    tasks = [h.TASKS[0], h.TASKS[2], h.TASKS[4]]
    options = {
        'student.backbone': dict(
            _delete_=True,
            type='mmdet.ResNet',
            depth=18,
            base_channels=16,
            norm_cfg=dict(type='GN', num_groups=4),
        ),
        'student.localization.norm_cfg': None,
        'student.classification.norm_cfg': None,
    }
    model = h.build(tasks=tasks, **options)
    for task in model.student.task_names:
        losses = h.backward(model, task)
        assert all(v.isfinite().all() for v in losses.values())
    names = {part.name for part in model.student.param_groups()}
    assert 'localization/norms' not in names
    assert 'classification/norms' not in names


def test_demo_model_is_small_and_mixes_no_hospitals():
    student = h.build(tiny=False).student
    assert sum(p.numel() for p in student.parameters()) < 3.5e6
    norms = (torch.nn.modules.batchnorm._BatchNorm,)
    mixing = [n for n, m in student.named_modules() if isinstance(m, norms)]
    # A head's own norm sees its own hospital alone.
    assert all(n.startswith('classification.head_norms.') for n in mixing)


def test_paper_config_builds():
    options = {
        'student.backbone.depths': (1, 1, 1, 1),
        'student.backbone.embed_dims': 32,
        'student.localization.encoder.num_layers': 1,
        'student.localization.decoder.num_layers': 1,
    }
    tasks = [h.with_options(task, img_size=224) for task in h.TASKS]
    cfg = h.model_cfg('foundation-x_swin-b', tasks, **options)
    model = MODELS.build(cfg)
    inputs, samples = h.batch('a/loc', size=224, n=1)
    model.eval()
    with torch.no_grad():
        result = model(inputs, samples, mode='predict')[0]
    assert len(result.pred_instances) == 300
