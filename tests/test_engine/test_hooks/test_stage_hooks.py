"""EWC's penalty and Fisher information; what a frozen teacher needs."""

import sys
from types import SimpleNamespace

import model_helpers
import pytest
import torch

from fx_mm.datasets.few_shot import draw_few
from fx_mm.engine.hooks import EWC, FrozenTeacher, LwF, MeanTeacherHook
from fx_mm.engine.hooks.ewc import EWCLoss, measure_fisher
from fx_mm.utils.errors import UserError

TASK = 'a/seg'


class Images(SimpleNamespace):
    """Training images of one task, made up."""

    def __len__(self):
        return len(self.names)

    @property
    def data_list(self):
        return SimpleNamespace(column=lambda key: self.names)

    def sample(self, index, seed):
        inputs, samples = model_helpers.batch(TASK, n=1, seed=index)
        pixels = (127 * (inputs[0] + 0.5)).to(torch.uint8)
        return dict(inputs=pixels, data_samples=samples[0])


def test_no_parameter_is_held_by_nothing():
    student = model_helpers.build().student
    assert EWCLoss(student, {}, {}, 100.0)(None, None) == {}


def test_the_penalty_is_that_of_its_definition():
    student = model_helpers.build(noise=0.02).student
    own = dict(student.named_parameters())
    names = [n for n in own if n.startswith('backbone')][:20]
    generator = torch.Generator().manual_seed(0)
    fisher = {n: torch.rand(own[n].shape, generator=generator) for n in names}
    weights = {n: own[n].detach().clone() for n in names}
    loss = EWCLoss(student, fisher, weights, 50.0)
    assert loss(None, None)['loss_ewc'].item() == 0
    with torch.no_grad():
        for name in names:
            noise = torch.randn(own[name].shape, generator=generator)
            own[name].add_(0.1 * noise)
    found = loss(None, None)['loss_ewc']
    expected = 0.0
    for name in names:
        moved = (own[name].detach() - weights[name]).double().flatten()
        for f, d in zip(fisher[name].double().flatten().tolist(), moved):
            expected += 50.0 / 2 * f * float(d) ** 2
    assert found.item() == pytest.approx(expected, rel=1e-5)
    found.backward()
    for name in names:
        gradient = 50.0 * fisher[name] * (own[name] - weights[name])
        assert torch.allclose(own[name].grad, gradient.detach(), atol=1e-6)


def test_what_is_locked_is_not_pulled():
    student = model_helpers.build().student
    own = dict(student.named_parameters())
    name = next(iter(own))
    loss = EWCLoss(student, {name: own[name] * 0 + 1}, {name: own[name]}, 1.0)
    student.lock(student.freeze_plan(TASK, 'lock'))
    assert loss(None, None) == {}


def test_fisher_is_the_mean_squared_gradient_of_single_images():
    model = model_helpers.build(noise=0.02)
    names = [f'{i}.png' for i in range(4)]
    dataset = Images(names=names)
    found = measure_fisher(model, dataset, images=3)
    model.eval()
    expected = {}
    for index in draw_few(names, 3):
        sample = dataset.sample(index, index)
        inputs = sample['inputs'][None].float()
        sample = sample['data_samples']
        mean, std = model.data_preprocessor.statistics_of(sample)
        inputs = (inputs - mean) / std
        model.zero_grad()
        losses = model.student.loss(inputs, [sample])
        sum(v for k, v in losses.items() if 'loss' in k).backward()
        for name, p in model.student.named_parameters():
            if p.grad is not None:
                value = expected.get(name, 0) + p.grad.square() / 3
                expected[name] = value
    shared = {n for n in expected if '.heads.' not in n}
    assert set(found) == shared
    for name in shared:
        assert torch.allclose(found[name], expected[name], rtol=1e-4), name


def test_fisher_leaves_out_what_the_number_of_classes_shapes(monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], 'TASK', 'a/loc')
    model = model_helpers.build(noise=0.02)
    found = measure_fisher(model, Images(names=['a.png']), images=1)
    assert 'localization.label_embedding.weight' not in found
    assert any(name.startswith('localization.encoder') for name in found)


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: EWC(weight=-1), 'method.weight'),
        (lambda: EWC(images=0), 'method.images'),
        (lambda: EWC(decay=1.1), 'method.decay'),
        (lambda: LwF(weight='x'), 'method.weight'),
        (lambda: LwF(temperature=0), 'above 0'),
    ],
)
def test_numbers_that_make_no_sense(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_a_frozen_teacher_needs_one():
    model = model_helpers.build()
    runner = SimpleNamespace(
        model=model, hooks=[], val_loop=None, test_loop=None, iter=0
    )
    with pytest.raises(UserError, match='needs a teacher'):
        FrozenTeacher().before_train(runner)
    mover = MeanTeacherHook()
    runner.hooks = [mover]
    FrozenTeacher().before_train(runner)
    assert not mover.frozen
    loop = SimpleNamespace(predict_on=['student', 'teacher'], stage='val')
    runner.val_loop = loop
    with pytest.raises(UserError, match='val_cfg.predict_on asks for the t'):
        FrozenTeacher().before_train(runner)
    runner.val_loop = None
    with torch.no_grad():
        next(model.student.parameters()).add_(1)
    FrozenTeacher(before='stage_1').before_train(runner)
    assert mover.frozen
    pairs = zip(model.student.parameters(), model.teacher.parameters())
    assert all(torch.equal(a, b) for a, b in pairs)
    with torch.no_grad():
        next(model.student.parameters()).add_(1)
    runner.iter = runner.epoch = runner.max_epochs = 1
    current = SimpleNamespace(task=model.student.task_names[0])
    runner.train_loop = SimpleNamespace(current_pass=current)
    mover.after_train_epoch(runner)
    first = next(model.teacher.parameters())
    assert not torch.equal(first, next(model.student.parameters()))
