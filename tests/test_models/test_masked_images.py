"""Masked images: what is hidden, what is reconstructed, who learns."""

import math

import model_helpers as h
import numpy as np
import pytest
import torch
import vit_peers as peers

from fx_mm.registry import MODELS
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError

PIXELS = ('pixels',)
TASKS = (
    Task('a', 'ssl', PIXELS),
    Task('b', 'ssl', PIXELS),
    Task('a', 'cls', h.FINDINGS),
)
CELL = {'student.self_supervision': dict(cell=16)}


def build(tasks=TASKS, **options):
    return h.build(tasks=tasks, noise=0.02, **{**CELL, **options})


@pytest.fixture(scope='module')
def shared_model():
    return build()


@pytest.fixture
def model(shared_model):
    shared_model.student.lock(())
    shared_model.train()
    shared_model.zero_grad(set_to_none=True)
    return shared_model


@pytest.fixture
def branch(model):
    return model.student.self_supervision


def batch(task='a/ssl', **kwargs):
    return h.batch(task, tasks=TASKS, **kwargs)


def pixels_of(where, size, patch=4):
    """The hidden pixels (B, H, W) of hidden patches."""
    grown = where.numpy().repeat(patch, 1).repeat(patch, 2)
    return torch.from_numpy(grown[:, : size[0], : size[1]])


# ------------------------------------------------------------- what is hidden


@pytest.mark.parametrize('ratio', [0.01, 0.3, 0.6, 0.75, 0.9])
@pytest.mark.parametrize('size', [(64, 64), (128, 96), (224, 224)])
def test_the_share_of_hidden_squares_is_exact(ratio, size):
    cfg = dict(
        type='MaskedImageBranch',
        in_channels=(16, 32, 64, 128),
        strides=(4, 8, 16, 32),
        tasks=TASKS[:1],
        mask_ratio=ratio,
        cell=16,
    )
    branch = MODELS.build(cfg)
    branch.patch, branch.mask_token = 4, torch.nn.Parameter(torch.zeros(16))
    inputs, samples = h.rectangle('a/ssl', size, n=3, tasks=TASKS)
    cells = (size[0] // 16) * (size[1] // 16)
    for mode in (True, False):
        where = branch.train(mode).hide(inputs, samples).where
        assert where.shape == (3, size[0] // 4, size[1] // 4)
        squares = where.unfold(1, 4, 4).unfold(2, 4, 4).flatten(3)
        assert (squares.all(-1) == squares.any(-1)).all(), 'whole squares'
        hidden = squares.all(-1).sum((1, 2))
        assert hidden.tolist() == [math.ceil(ratio * cells - 1e-9)] * 3
        assert not torch.equal(where[0], where[1]) or ratio in (0.01, 0.9)


def test_squares_at_the_border_are_cut_off(branch):
    inputs, samples = h.rectangle('a/ssl', (40, 56), tasks=TASKS)
    where = branch.hide(inputs, samples).where
    assert where.shape == (2, 10, 14)


def test_each_batch_is_drawn_and_an_evaluation_follows_the_names(branch):
    inputs, samples = batch()
    torch.manual_seed(5)
    first, second = (branch.hide(inputs, samples).where for _ in range(2))
    assert not torch.equal(first, second)
    torch.manual_seed(5)
    assert torch.equal(branch.hide(inputs, samples).where, first)
    branch.eval()
    state = torch.get_rng_state()
    one = branch.hide(inputs, samples).where
    other = branch.hide(inputs.flip(0), samples[::-1]).where
    assert torch.equal(one, other.flip(0))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize('value', [7.0, math.nan])
def test_hidden_pixels_leave_no_trace_in_the_maps(model, value):
    student = model.student.eval()
    inputs, samples = batch()
    hidden = student.self_supervision.hide(inputs, samples)
    pixels = pixels_of(hidden.where, (64, 64))[:, None]
    changed = torch.where(pixels, value, inputs)
    with torch.no_grad():
        maps = student.extract_feat(inputs, hidden=hidden)
        others = student.extract_feat(changed, hidden=hidden)
        whole = student.extract_feat(inputs)
        seen = torch.where(pixels, inputs, inputs + 1)
        moved = student.extract_feat(seen, hidden=hidden)
    for ours, theirs in zip(maps, others, strict=True):
        assert torch.equal(ours, theirs)
    assert not any(torch.equal(a, b) for a, b in zip(maps, whole))
    assert not any(torch.equal(a, b) for a, b in zip(maps, moved))


def test_nothing_hidden_is_the_usual_forward(model):
    inputs, samples = batch()
    student = model.student.eval()
    hidden = student.self_supervision.hide(inputs, samples)
    nothing = hidden._replace(where=torch.zeros_like(hidden.where))
    with torch.no_grad():
        pairs = zip(
            student.extract_feat(inputs),
            student.extract_feat(inputs, hidden=nothing),
        )
        assert all(torch.equal(a, b) for a, b in pairs)


# ----------------------------------------------------- what is reconstructed


def test_the_head_puts_a_vector_into_its_square(branch):
    head = branch.heads['a']
    maps = torch.zeros(1, head.conv.in_channels, 2, 2)
    with torch.no_grad():
        quiet = head(maps)
        maps[0, :, 0, 1] = 1
        moved = head(maps) != quiet
    assert moved.shape == (1, 64, 64)
    assert moved[0, :32, 32:].all() and not moved[0, :, :32].any()
    assert not moved[0, 32:].any()


def test_the_loss_is_the_mean_error_of_hidden_pixels(model):
    inputs, samples = h.rectangle('a/ssl', (64, 96), tasks=TASKS)
    # the second image has a padding of 16 rows and 32 columns
    samples[1].set_metainfo(dict(img_shape=(48, 64)))
    student = model.student.eval()
    with torch.no_grad():
        loss = student(inputs, samples, mode='loss')['loss_ssl']
        pixels = student(inputs, samples).numpy()
        where = student.self_supervision.hide(inputs, samples).where
    errors = []
    for image, guess, hidden, sample in zip(
        inputs.numpy(), pixels, pixels_of(where, (64, 96)).numpy(), samples
    ):
        height, width = sample.img_shape
        for row in range(height):
            for column in range(width):
                if hidden[row, column]:
                    truth = image[:, row, column].mean()
                    errors.append(abs(truth - guess[row, column]))
    assert loss.item() == pytest.approx(np.mean(errors), rel=1e-5)


def test_predictions_hold_errors_and_pictures(model):
    inputs, samples = h.rectangle('a/ssl', (64, 96), tasks=TASKS)
    samples[1].set_metainfo(dict(img_shape=(48, 64)))
    student = model.student.eval()
    with torch.no_grad():
        loss = student(inputs, samples, mode='loss')['loss_ssl'].item()
        found = student(inputs, samples, mode='predict')
    assert found[1].gt_pixels.shape == found[1].pred_pixels.shape == (48, 64)
    assert torch.equal(found[0].gt_pixels, inputs[0].mean(0))
    counts = [int(sample.pred_hidden.sum()) for sample in found]
    errors = []
    for sample in found:
        gap = (sample.pred_pixels - sample.gt_pixels).abs()
        wanted = gap[sample.pred_hidden].mean()
        torch.testing.assert_close(sample.pred_error, wanted)
        grey = sample.gt_pixels[~sample.pred_hidden].mean()
        wanted = (grey - sample.gt_pixels)[sample.pred_hidden].abs().mean()
        torch.testing.assert_close(sample.gt_flat_error, wanted)
        errors.append(sample.pred_error.item())
    assert loss == pytest.approx(np.average(errors, weights=counts), rel=1e-5)


def test_low_precision_keeps_a_float32_loss(model):
    inputs, samples = batch(n=3)
    with torch.autocast('cpu', torch.bfloat16):
        losses = model(inputs, samples, mode='loss')
    assert losses['loss_ssl'].dtype == torch.float32
    sum(losses.values()).backward()
    assert model.student.self_supervision.mask_token.grad.isfinite().all()


# ------------------------------------------------------------------ who learns


def test_the_teacher_sees_the_whole_image(model):
    inputs, samples = batch()
    with torch.no_grad():
        maps = model.teacher.extract_feat(inputs)
        branch = model.teacher.self_supervision
        wanted = branch.encode(maps, samples)['pooled']
        ((found,),) = model.teacher.features(inputs, samples)
        last = maps[-1].flatten(2).transpose(1, 2)
        plain = torch.nn.LayerNorm(last.shape[-1], elementwise_affine=False)
        mean = plain(last).mean(1)
    assert torch.equal(found, wanted)
    torch.testing.assert_close(found, mean)
    losses = model(inputs, samples, mode='loss')
    assert losses['loss_consistency'].item() > 0


def test_a_lock_pass_teaches_the_head_alone(model):
    student = model.student
    student.lock(student.freeze_plan('a/ssl', 'lock'))
    model.train()
    losses = model(*batch(), mode='loss')
    assert 'loss_consistency' not in losses
    sum(losses.values()).backward()
    assert h.with_gradient(model) == {
        'self_supervision.heads.a.conv.weight',
        'self_supervision.heads.a.conv.bias',
    }


def test_other_tasks_get_no_gradient(model):
    sum(model(*batch(), mode='loss').values()).backward()
    got = h.with_gradient(model)
    assert 'self_supervision.mask_token' in got
    assert any(name.startswith('backbone') for name in got)
    assert not any('heads.b' in name for name in got)
    assert not any(name.startswith('classification') for name in got)
    assert all(p.grad is None for p in model.teacher.parameters())


def test_other_kinds_see_all_and_leave_it_alone(model):
    sum(model(*batch('a/cls'), mode='loss').values()).backward()
    got = h.with_gradient(model)
    assert got and not any('self_supervision' in name for name in got)


def test_every_parameter_is_in_exactly_one_group(model):
    groups = model.student.param_groups()
    for name, _ in model.student.named_parameters():
        assert sum(group.owns(name) for group in groups) == 1, name
    own = {group.name: group.task for group in groups}
    assert own['self_supervision/mask_token'] is None
    assert own['a/ssl/head'] == 'a/ssl' and own['b/ssl/head'] == 'b/ssl'


# -------------------------------------------------------------------- refusals


def test_a_convolutional_backbone_is_refused():
    backbone = dict(
        _delete_=True, type='mmdet.ResNet', depth=18, base_channels=16
    )
    with pytest.raises(UserError, match='hides patches, which.*ResNet'):
        h.build(False, TASKS, **CELL, **{'student.backbone': backbone})


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(cell=18), 'cell is 18.*patches have 4 pixels'),
        (dict(mask_ratio=1.0), 'mask_ratio is 1.0'),
        (dict(mask_ratio=0), 'mask_ratio is 0'),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        build(**{'student.self_supervision': options})


def test_an_image_of_which_nothing_would_be_seen_is_refused(model):
    inputs, samples = batch(size=16)
    with pytest.raises(UserError, match='1 squares of 16 pixels, all of'):
        model(inputs, samples, mode='loss')


def test_there_is_nothing_to_export(branch):
    with pytest.raises(UserError, match='a/ssl learns from images without'):
        branch.graph({}, 'a', [])


# --------------------------------------------------------- vision transformers

VITS = (
    peers.vit_cfg(patch_size=16, img_size=64, registers=2),
    dict(peers.eva_cfg(), img_size=64),
)


@pytest.fixture(scope='module', params=range(len(VITS)))
def vit_model(request):
    options = {k: v for k, v in h.TINY.items() if 'backbone' not in k}
    cfg = dict(_delete_=True, type='PyramidViT', vit=VITS[request.param])
    options['student.backbone'] = cfg
    return h.build(
        tiny=False, tasks=TASKS[:1], noise=0.02, **{**CELL, **options}
    )


@pytest.mark.parametrize('value', [7.0, math.nan])
def test_hidden_patches_of_a_vit_leave_no_trace(vit_model, value):
    student = vit_model.student.eval()
    inputs, samples = h.rectangle('a/ssl', (72, 64), tasks=TASKS)
    hidden = student.self_supervision.hide(inputs, samples)
    assert hidden.where.shape == (2, 5, 4)
    pixels = pixels_of(hidden.where, (72, 64), 16)[:, None]
    changed = torch.where(pixels, value, inputs)
    with torch.no_grad():
        maps = student.extract_feat(inputs, hidden=hidden)
        others = student.extract_feat(changed, hidden=hidden)
        whole = student.extract_feat(inputs)
        moved = student.extract_feat(
            torch.where(pixels, inputs, inputs + 1), hidden=hidden
        )
    for ours, theirs in zip(maps, others, strict=True):
        assert torch.equal(ours, theirs)
    assert not any(torch.equal(a, b) for a, b in zip(maps, whole))
    assert not any(torch.equal(a, b) for a, b in zip(maps, moved))


def test_a_vit_learns_from_masked_images(vit_model):
    vit_model.train()
    vit_model.zero_grad()
    losses = vit_model.student.loss(*batch())
    assert losses['loss_ssl'] > 0
    losses['loss_ssl'].backward()
    for part in ('backbone.vit', 'self_supervision'):
        module = vit_model.student.get_submodule(part)
        grads = [p.grad for p in module.parameters() if p.grad is not None]
        assert grads and all(g.isfinite().all() for g in grads)
    token = vit_model.student.self_supervision.mask_token
    assert token.grad.abs().max() > 0
