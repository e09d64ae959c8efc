"""The regression branch: unknown targets, their scale, losses, locking."""

import model_helpers as h
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fx_mm.datasets import Records
from fx_mm.models import MaskedGaussianLoss, MaskedSmoothL1Loss
from fx_mm.registry import MODELS
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError

NAN = float('nan')
TASKS = (
    Task('a', 'reg', ('age', 'ratio')),
    Task('b', 'reg', ('age',)),
    Task('a', 'cls', h.FINDINGS),
)
GAUSSIAN = {'student.regression.loss': dict(type='MaskedGaussianLoss')}
LOSSES = [MaskedSmoothL1Loss(), MaskedGaussianLoss()]
VALUES = np.array([[40.0, 0.4], [60.0, NAN], [80.0, 0.6], [NAN, 0.5]])


def records(values=VALUES):
    return Records.of_columns(
        img_id=[str(i) for i in range(len(values))],
        gt_value=np.asarray(values, np.float32),
    )


def build(tasks=TASKS, **options):
    regression = {'student.regression': dict(head_norm=True)}
    model = h.build(tasks=tasks, noise=0.02, **{**regression, **options})
    for part in (model.student, model.teacher):
        for task in tasks:
            if task.kind.name == 'reg':
                values = VALUES[:, : len(task.classes)]
                part.regression.take_statistics(task, records(values))
    return model


@pytest.fixture(scope='module', params=[{}, GAUSSIAN], ids=['l1', 'gauss'])
def shared_model(request):
    return build(**request.param)


@pytest.fixture
def model(shared_model):
    shared_model.student.lock(())
    shared_model.train()
    shared_model.zero_grad(set_to_none=True)
    return shared_model


def batch(task='a/reg', **kwargs):
    return h.batch(task, tasks=TASKS, **kwargs)


# ------------------------------------------------------------ unknown targets


def test_without_known_targets_the_loss_is_zero_and_goes_back(model):
    inputs, samples = batch()
    for sample in samples:
        sample.gt_value[:] = NAN
    losses = model.student(inputs, samples, mode='loss')
    assert losses['loss_reg'].item() == 0
    losses['loss_reg'].backward()
    gradients = [p.grad for p in model.student.regression.heads.a.parameters()]
    assert all(grad.abs().sum() == 0 for grad in gradients)


@pytest.mark.parametrize('loss', LOSSES)
def test_unknown_targets_carry_no_loss(loss):
    outputs = torch.randn(3, 2, loss.outputs, requires_grad=True)
    target = torch.tensor([[0.3, NAN], [NAN, NAN], [-1.0, 2.0]])
    value = loss(outputs, target)
    known = [(0, 0), (2, 0), (2, 1)]
    alone = torch.stack(
        [loss(outputs[i, j][None, None], target[i, j][None, None])
         for i, j in known]
    )  # fmt: skip
    torch.testing.assert_close(value, alone.mean())
    value.backward()
    assert outputs.grad[0, 1].abs().sum() == 0
    assert outputs.grad[1].abs().sum() == 0
    assert (outputs.grad[2].abs().sum(-1) > 0).all()


# --------------------------------------------------------------------- losses


@pytest.mark.parametrize('beta', [0.5, 1.0])
def test_smooth_l1(beta):
    outputs = torch.tensor([0.1, -3.0, 0.7]).reshape(3, 1, 1)
    target = torch.tensor([[0.0], [0.0], [1.0]])
    gaps = [0.1, 3.0, 0.3]
    wanted = [
        0.5 * gap**2 / beta if gap < beta else gap - 0.5 * beta for gap in gaps
    ]
    loss = MaskedSmoothL1Loss(beta)(outputs, target)
    assert loss.item() == pytest.approx(np.mean(wanted), rel=1e-6)


def test_gaussian_is_the_negative_log_likelihood():
    outputs, target = torch.randn(5, 2, 2), torch.randn(5, 2)
    loss = MaskedGaussianLoss(min_var=0.01)
    var = 0.01 + torch.log1p(outputs[..., 1].exp())
    normal = torch.distributions.Normal(outputs[..., 0], var.sqrt())
    wanted = -normal.log_prob(target) - 0.5 * np.log(2 * np.pi)
    torch.testing.assert_close(loss(outputs, target), wanted.mean())
    torch.testing.assert_close(loss.std(outputs), var.sqrt())


@pytest.mark.parametrize(
    'build_loss', [MaskedSmoothL1Loss, MaskedGaussianLoss]
)
def test_wrong_options_are_refused(build_loss):
    with pytest.raises(UserError, match='must be|at least|below'):
        build_loss(-1.0)


# -------------------------------------------------------------- standardising


def test_targets_are_standardised_with_those_that_are_known(model):
    head = model.student.regression.heads.a
    torch.testing.assert_close(head.mean, torch.tensor([60.0, 0.5]))
    wanted = torch.tensor([np.std([40, 60, 80]), np.std([0.4, 0.5, 0.6])])
    torch.testing.assert_close(head.std, wanted.float())
    inputs, samples = batch()
    samples[0].gt_value = torch.tensor([70.0, NAN])
    samples[1].gt_value = torch.tensor([NAN, 0.45])
    outputs = model.student(inputs, samples)
    target = torch.tensor([[10.0 / wanted[0], NAN], [NAN, -0.05 / wanted[1]]])
    loss = model.student(inputs, samples, mode='loss')['loss_reg']
    expected = model.student.regression.loss_module(outputs, target)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)


def test_predictions_are_in_the_unit_of_the_target(model):
    model.eval()
    inputs, samples = batch()
    with torch.no_grad():
        outputs = model.student(inputs, samples)
        found = model.student(inputs, samples, mode='predict')
    head = model.student.regression.heads.a
    for output, sample in zip(outputs, found):
        wanted = output[:, 0] * head.std + head.mean
        torch.testing.assert_close(sample.pred_value, wanted)
        assert ('pred_std' in sample) == (head.outputs == 2)
        if head.outputs == 2:
            std = model.student.regression.loss_module.std(output) * head.std
            torch.testing.assert_close(sample.pred_std, std)


def test_a_unit_changes_neither_loss_nor_gradient():
    losses, gradients = [], []
    for scale, shift in ((1.0, 0.0), (1000.0, -7.0)):
        model = build(tasks=TASKS[:1])
        values = VALUES * scale + shift
        model.student.regression.take_statistics(TASKS[0], records(values))
        inputs, samples = batch()
        for sample in samples:
            sample.gt_value = sample.gt_value * scale + shift
        loss = model.student(inputs, samples, mode='loss')['loss_reg']
        loss.backward()
        losses.append(loss)
        gradients.append(model.student.backbone.patch_embed.projection.weight)
    torch.testing.assert_close(*losses, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        *(weight.grad for weight in gradients), rtol=1e-3, atol=1e-5
    )


def test_a_checkpoint_carries_the_scale(model):
    state = model.state_dict()
    fresh = h.build(
        tasks=TASKS,
        **{'student.regression': dict(head_norm=True)},
        **(GAUSSIAN if model.student.regression.loss_module.outputs == 2
           else {}),
    )  # fmt: skip
    assert fresh.student.regression.heads.a.mean.tolist() == [0, 0]
    fresh.load_state_dict(state)
    for part in (fresh.student, fresh.teacher):
        assert part.regression.heads.a.mean.tolist() == [60.0, 0.5]
    fresh.init_weights()
    assert fresh.student.regression.heads.a.mean.tolist() == [60.0, 0.5]


@pytest.mark.parametrize(
    ('column', 'message'),
    [
        ([0.5, 0.5, NAN, 0.5], 'a/reg: target "ratio" is always 0.5'),
        ([NAN, NAN, NAN, NAN], 'a/reg: target "ratio" is never known'),
    ],
)
def test_a_target_of_one_value_is_refused(model, column, message):
    values = VALUES.copy()
    values[:, 1] = column
    with pytest.raises(UserError, match=message):
        model.student.regression.take_statistics(TASKS[0], records(values))


def test_numbers_keep_their_digits_under_autocast(model):
    model.eval()
    inputs, samples = batch(n=4)
    with torch.no_grad(), torch.autocast('cpu', dtype=torch.bfloat16):
        outputs = model.student(inputs, samples)
        found = model.student(inputs, samples, mode='predict')
    assert outputs.dtype == torch.float32
    values = torch.stack([sample.pred_value for sample in found])
    assert (values.to(torch.bfloat16).float() != values).any()


# -------------------------------------------------------- locks, flips, groups


def test_a_lock_pass_teaches_the_head_alone(model):
    student = model.student
    student.lock(student.freeze_plan('a/reg', 'lock'))
    model.train()
    losses = model(*batch(), mode='loss')
    assert 'loss_consistency' not in losses
    sum(losses.values()).backward()
    assert h.with_gradient(model) == {
        'regression.heads.a.fc.weight',
        'regression.heads.a.fc.bias',
    }


def test_other_tasks_get_no_gradient(model):
    losses = model(*batch(), mode='loss')
    sum(losses.values()).backward()
    got = h.with_gradient(model)
    assert 'regression.norms.0.weight' in got
    assert any(name.startswith('backbone') for name in got)
    assert not any('heads.b' in name for name in got)
    assert not any(name.startswith('classification') for name in got)


def test_every_parameter_is_in_exactly_one_group(model):
    groups = model.student.param_groups()
    for name, _ in model.student.named_parameters():
        assert sum(group.owns(name) for group in groups) == 1, name
    own = {group.name: group.task for group in groups}
    assert own['regression/norms'] is None
    assert own['a/reg/head'] == 'a/reg' and own['b/reg/head'] == 'b/reg'


def test_flips_are_averaged(model):
    task = h.with_options(TASKS[0], tta='flip', img_size=64)
    options = {'student.regression': dict(head_norm=True)}
    flipped = h.build(tasks=(task,), **options).eval()
    inputs, samples = batch()
    with torch.no_grad():
        both = flipped.student(inputs, samples, mode='predict')
        both = torch.stack([sample.pred_value for sample in both])
        views = [
            flipped.student._infer(view, samples)[..., 0]
            for view in (inputs, inputs.flip(-1))
        ]
    torch.testing.assert_close(both, (views[0] + views[1]) / 2)


def test_the_exported_graph_returns_the_numbers(model):
    model.eval()
    branch = model.student.regression
    inputs, samples = batch()
    with torch.no_grad():
        state = branch.encode(model.student.extract_feat(inputs), samples)
        (values,) = branch.graph(state, 'a', samples)
        wanted = branch.infer(state, 'a', samples)[..., 0]
    assert values.shape == (2, 2)
    torch.testing.assert_close(values, wanted)


def test_an_unknown_loss_option_is_refused():
    with pytest.raises(TypeError, match='unexpected'):
        MODELS.build(dict(type='MaskedSmoothL1Loss', gamma=1.0))


def test_smooth_l1_is_that_of_torch():
    outputs, target = torch.randn(6, 3, 1), torch.randn(6, 3)
    wanted = F.smooth_l1_loss(outputs[..., 0], target)
    torch.testing.assert_close(MaskedSmoothL1Loss()(outputs, target), wanted)
