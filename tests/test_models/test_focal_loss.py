"""Focal loss of classification heads: published values, unknown labels."""

import model_helpers as h
import pytest
import torch
from mmdet.models.losses.focal_loss import py_sigmoid_focal_loss
from torchvision.ops import sigmoid_focal_loss

from fx_mm.models import MaskedBCELoss, MaskedFocalLoss

NAN = float('nan')


def draw(shape=(64, 5)):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(shape, generator=generator) * 4
    target = (torch.rand(shape, generator=generator) < 0.2).float()
    return logits.requires_grad_(), target


def test_nothing_known_is_no_loss():
    logits, target = draw()
    loss = MaskedFocalLoss(alpha=0.25)(logits, target * NAN)
    assert loss.item() == 0
    loss.backward()
    assert logits.grad.abs().sum() == 0


@pytest.mark.parametrize('gamma', [0.0, 0.5, 1.0, 2.0, 3.5])
@pytest.mark.parametrize('alpha', [None, 0.0, 0.25, 1.0])
@pytest.mark.parametrize('soft', [False, True])
def test_equals_torchvision_s_and_mmdet_s(gamma, alpha, soft):
    logits, target = draw()
    if soft:
        target = target * 0.7 + 0.1
    loss = MaskedFocalLoss(gamma, alpha)(logits, target)
    other = logits.detach().clone().requires_grad_()
    expected = sigmoid_focal_loss(
        other, target, -1 if alpha is None else alpha, gamma, 'mean'
    )
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(logits.grad, other.grad)
    if alpha is not None:
        torch.testing.assert_close(
            loss, py_sigmoid_focal_loss(logits, target, None, gamma, alpha)
        )


def test_without_focus_it_is_cross_entropy():
    logits, target = draw()
    target[::3] = NAN
    torch.testing.assert_close(
        MaskedFocalLoss(gamma=0.0)(logits, target),
        MaskedBCELoss()(logits, target),
    )


def test_unknown_labels_carry_no_loss():
    logits, target = draw()
    known = torch.zeros_like(target, dtype=torch.bool)
    known[::2, 1:] = True
    loss = MaskedFocalLoss(2.0, 0.25)(logits, target.where(known, NAN))
    expected = sigmoid_focal_loss(logits[known], target[known], 0.25, 2.0)
    torch.testing.assert_close(loss, expected.mean())
    loss.backward()
    assert (logits.grad[~known] == 0).all()
    assert (logits.grad[known] != 0).all()


def test_alpha_of_each_class():
    logits, target = draw((8, 2))
    loss = MaskedFocalLoss(1.5, (0.25, 0.9))(logits, target)
    each = [
        sigmoid_focal_loss(logits[:, c], target[:, c], alpha, 1.5)
        for c, alpha in enumerate((0.25, 0.9))
    ]
    torch.testing.assert_close(loss, torch.stack(each).mean())


@pytest.mark.parametrize('gamma', [0.3, 1.0, 2.0])
def test_certain_answers_have_finite_gradients(gamma):
    logits = torch.tensor([[200.0, -200.0, 200.0]], requires_grad=True)
    MaskedFocalLoss(gamma)(logits, torch.tensor([[1.0, 0.0, 0.0]])).backward()
    assert logits.grad.isfinite().all()
    assert logits.grad[0, 2] > 0


def test_the_branch_takes_it_from_the_task():
    focal = dict(gamma=3.0, alpha=0.5)
    tasks = [h.with_options(h.TASKS[0], focal=focal), h.TASKS[1]]
    heads = h.build(tasks=tasks).student.classification.heads
    loss = heads[tasks[0].dataset].loss_module
    assert isinstance(loss, MaskedFocalLoss)
    assert (loss.gamma, loss.alpha.item()) == (3.0, 0.5)
    assert not isinstance(heads[tasks[1].dataset].loss_module, MaskedFocalLoss)
