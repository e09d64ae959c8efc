import copy
import pickle

import model_helpers as h
import pytest
import torch

from fx_mm.registry import MODELS
from fx_mm.utils.errors import UserError

TASK_NAMES = [f'{t["dataset"]}/{t["kind"]}' for t in h.TASKS]


@pytest.fixture(scope='module')
def shared_model():
    return h.build(noise=0.02)


@pytest.fixture
def model(shared_model):
    shared_model.student.lock(())
    shared_model.train()
    shared_model.zero_grad(set_to_none=True)
    shared_model.consistency_weight = 0.5
    return shared_model


def backward(model, task, **kwargs):
    inputs, samples = h.batch(task, **kwargs)
    losses = model(inputs, samples, mode='loss')
    sum(v for k, v in losses.items() if 'loss' in k).backward()
    return losses


def with_gradient(model):
    return {
        name
        for name, p in model.student.named_parameters()
        if p.grad is not None and p.grad.abs().sum() > 0
    }


def test_empty_truth_comes_first(model):
    losses = backward(model, 'a/loc', boxes=0)
    for key, value in losses.items():
        assert value.isfinite().all(), key
        if 'bbox' in key or 'iou' in key or 'dn_loss' in key:
            assert value.item() == 0, f'{key} must be 0 without boxes'
        elif 'loss_cls' in key:
            assert value.item() > 0, f'{key} must train the background'
    assert any(n.endswith('cls_branch.weight') for n in with_gradient(model))


def test_one_empty_image_in_a_batch(model):
    inputs, samples = h.batch('a/loc')
    _, empty = h.batch('a/loc', boxes=0)
    samples[0] = empty[0]
    losses = model(inputs, samples, mode='loss')
    assert losses['loss_bbox'] > 0
    assert all(v.isfinite().all() for v in losses.values())


@pytest.mark.parametrize('boxes', [1, 100])
def test_any_number_of_boxes(model, boxes):
    losses = backward(model, 'a/loc', boxes=boxes)
    assert all(v.isfinite().all() for v in losses.values())


def test_all_labels_unknown(model):
    inputs, samples = h.batch('a/cls')
    for sample in samples:
        sample.gt_score = torch.full_like(sample.gt_score, float('nan'))
    losses = model(inputs, samples, mode='loss')
    assert losses['loss_cls'].item() == 0
    losses['loss_cls'].backward()
    gradient = model.student.classification.heads.a.fc.weight.grad
    assert gradient.abs().sum() == 0


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
    losses = backward(model, task)
    assert all('loss' in key for key in losses)
    assert all(v.isfinite().all() for v in losses.values())
    model.eval()
    inputs, samples = h.batch(task)
    with torch.no_grad():
        results = model(inputs, samples, mode='predict')
    assert len(results) == 2
    classes = len(h.TASKS[TASK_NAMES.index(task)]['classes'])
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


@pytest.mark.parametrize('task', ['a/cls', 'a/loc', 'a/seg'])
def test_odd_image_size(model, task):
    losses = backward(model, task, size=84)
    assert all(v.isfinite().all() for v in losses.values())


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
    with pytest.raises(ValueError, match='unknown parts'):
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


def test_deepcopy_and_pickle_answer_the_same(model):
    model.eval()
    inputs, samples = h.batch('a/loc')
    model.update_teacher(0.5)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        with torch.no_grad():
            ours = model(inputs, samples)
            theirs = twin(inputs, samples)
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs))
        before = [p.clone() for p in model.teacher.parameters()]
        with torch.no_grad():
            next(twin.student.parameters()).add_(1.0)
        twin.update_teacher(0.0)
        assert not torch.equal(next(twin.teacher.parameters()), before[0])
        after = model.teacher.parameters()
        assert all(torch.equal(a, b) for a, b in zip(before, after))


def test_loss_weight_of_a_task():
    tasks = [dict(task) for task in h.TASKS[:1]]
    plain = h.build(tasks=tasks).student.eval()
    tasks[0]['loss_weight'] = 3.0
    heavy = h.build(tasks=tasks).student.eval()
    inputs, samples = h.batch('a/cls')
    ours = heavy.loss(inputs, samples)['loss_cls']
    theirs = plain.loss(inputs, samples)['loss_cls']
    torch.testing.assert_close(ours, 3 * theirs)


def test_only_the_branches_of_the_tasks_are_built():
    student = h.build(tasks=h.TASKS[:2]).student
    assert not hasattr(student, 'localization')
    assert {p.name for p in student.parts() if p.task is None} == {
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
        losses = backward(model, task)
        assert all(v.isfinite().all() for v in losses.values())
    names = {part.name for part in model.student.parts()}
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
        'student.localization.encoder_layers': 1,
        'student.localization.decoder_layers': 1,
    }
    tasks = [dict(task, img_size=224) for task in h.TASKS]
    cfg = h.model_cfg('foundation-x_swin-b', tasks, **options)
    model = MODELS.build(cfg)
    inputs, samples = h.batch('a/loc', size=224, n=1)
    model.eval()
    with torch.no_grad():
        result = model(inputs, samples, mode='predict')[0]
    assert len(result.pred_instances) == 300
