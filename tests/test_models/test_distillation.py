"""What an earlier model said of images, as a loss."""

import model_helpers
import numpy as np
import pytest
import torch
from model_helpers import TASKS

from fx_mm.engine.hooks.lwf import DistillationLoss, check_recomputing
from fx_mm.models.losses.distillation import soft_label_loss
from fx_mm.utils.errors import UserError

OLD = ['a/cls', 'b/cls', 'a/loc', 'a/seg']


def numpy_loss(logits, target, t, exclusive):
    """The divergence of its definition, class by class, in float64."""
    ours, theirs = logits.double().numpy() / t, target.double().numpy() / t
    if exclusive:
        p, q = (
            np.exp(x) / np.exp(x).sum(1, keepdims=True) for x in (theirs, ours)
        )
        return t * t * (p * np.log(p / q)).sum(1).mean()
    p, q = (1 / (1 + np.exp(-x)) for x in (theirs, ours))
    each = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    return t * t * each.mean()


@pytest.mark.parametrize('exclusive', [False, True])
@pytest.mark.parametrize('shape', [(1, 1), (3, 4), (2, 3, 5, 6)])
def test_the_divergence_is_that_of_its_definition(exclusive, shape):
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(shape, generator=generator)
    target = 3 * torch.randn(shape, generator=generator)
    for t in (1.0, 2.0, 5.0):
        loss = soft_label_loss(logits, target, t, exclusive)
        expected = numpy_loss(logits, target, t, exclusive)
        assert loss.item() == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize('exclusive', [False, True])
def test_nothing_pulls_where_both_agree(exclusive):
    logits = torch.randn(3, 4, requires_grad=True)
    loss = soft_label_loss(logits, logits.detach(), 2.0, exclusive)
    assert loss.item() == pytest.approx(0, abs=1e-6)
    loss.backward()
    assert logits.grad.abs().max() < 1e-6


def make_loss(noise=0.0, weight=0.7, **options):
    model = model_helpers.build(noise=0.02, **options)
    earlier = model_helpers.build(noise=0.02, **options).student
    earlier.requires_grad_(False).eval()
    with torch.no_grad():
        for p in model.student.parameters():
            p.add_(noise * torch.randn_like(p))
    tasks = [task for task in OLD if task in model.student.task_names]
    loss = DistillationLoss(model.student, earlier, tasks, weight, 2.0)
    return model, loss


def test_it_is_the_mean_over_the_old_tasks():
    model, loss = make_loss(noise=0.05)
    inputs, samples = model_helpers.batch('b/loc')
    model.student.eval()
    found = loss(inputs, samples)['loss_lwf']
    expected = []
    for name in OLD:
        task = model.student.tasks[name]
        branch = model.student.branch(task.kind)
        outputs = []
        for part in (model.student, loss.earlier):
            state = part.branch(task.kind).encode(
                part.extract_feat(inputs), samples
            )
            own = part.branch(task.kind)
            if task.kind.name == 'loc':
                outputs.append(own.consistency(state))
            elif task.kind.name == 'cls':
                outputs.append(own(state, task.dataset, samples))
            else:
                outputs.append(own.heads[task.dataset](state['fused']))
        if task.kind.name == 'loc':
            maps = zip(*(group[0] for group in outputs))
            errors = [(a - b).square().mean() for a, b in maps]
            memory = (outputs[0][1][0] - outputs[1][1][0]).square().mean()
            expected.append((sum(errors) / len(errors) + memory) / 2)
        else:
            arrays = [o.detach() for o in outputs]
            exclusive = task.label_type == 'multi-class'
            expected.append(numpy_loss(*arrays, 2.0, exclusive))
        assert branch is model.student.branch(task.kind)
    assert found.item() == pytest.approx(
        0.7 * float(sum(expected)) / len(OLD), rel=1e-4
    )


def test_it_teaches_shared_parts_and_old_heads_alone():
    model, loss = make_loss(noise=0.05)
    model.extra_losses.append(loss)
    inputs, samples = model_helpers.batch('b/seg')
    before = {k: v.clone() for k, v in model.student.named_buffers()}
    with model.student.sharing_features():
        loss(inputs, samples)['loss_lwf'].backward()
    moved = {
        group.task
        for group in model.student.param_groups()
        for name, p in model.student.named_parameters()
        if group.owns(name) and p.grad is not None and p.grad.abs().sum() > 0
    }
    assert moved == {None, 'a/cls', 'b/cls', 'a/seg'}
    for name, value in model.student.named_buffers():
        assert torch.equal(value, before[name]), name


def test_old_tasks_and_lock_passes_have_none():
    model, loss = make_loss()
    assert loss(*model_helpers.batch('a/cls')) == {}
    model.student.lock(model.student.freeze_plan('b/loc', 'lock'))
    assert loss(*model_helpers.batch('b/loc')) == {}


def test_the_task_losses_stay_as_they_are():
    model, loss = make_loss(noise=0.05)
    inputs, samples = model_helpers.batch('b/seg')
    torch.manual_seed(0)
    plain = model(inputs, samples, mode='loss')
    model.extra_losses.append(loss)
    torch.manual_seed(0)
    losses = model(inputs, samples, mode='loss')
    assert losses.pop('loss_lwf') > 0
    assert losses.keys() == plain.keys()
    assert all(torch.equal(losses[key], plain[key]) for key in plain)


def test_a_kind_without_outputs_of_its_own_keeps_its_features():
    model, _ = make_loss()
    branch = model.student.localization
    inputs, samples = model_helpers.batch('a/loc')
    one = model.student.distillation_output(inputs, samples, 'a/loc')
    assert branch.distillation_loss(one, one, 'a', 2.0) == 0
    assert {t.name for t in TASKS} > set(OLD)


def test_no_maps_are_recomputed_with_another_tasks_adapter():
    tasks = [task for task in TASKS if task.kind.name == 'cls']
    options = {'student.backbone.with_cp': True}
    check_recomputing(model_helpers.build(tasks=tasks, **options).student)
    options['student.adapter'] = dict(type='KindNorms')
    student = model_helpers.build(tasks=tasks, **options).student
    with pytest.raises(UserError, match='with the KindNorms of the last one'):
        check_recomputing(student)
