"""The teacher's features come from the teacher's view."""

import model_helpers as h
import pytest
import torch
from mmengine.optim import OptimWrapper

from fx_mm.models.data_preprocessor import TaskDataPreprocessor
from fx_mm.models.losses.distillation import consistency_loss


def losses_of(model, inputs, samples, *view):
    torch.manual_seed(0)
    return model.loss(inputs, samples, *view)


@pytest.mark.parametrize('task', ['a/cls', 'a/loc', 'a/seg'])
def test_consistency_is_taken_against_the_view(model, task):
    inputs, samples = h.batch(task)
    view = inputs + 0.3
    losses = losses_of(model, inputs, samples, view)
    torch.manual_seed(0)
    with torch.no_grad():
        _, ours = model.student.loss_and_features(inputs, samples)
        theirs = model.teacher.features(view, samples)
    expected = 0.5 * consistency_loss(ours, theirs)
    torch.testing.assert_close(losses['loss_consistency'], expected)
    plain = losses_of(model, inputs, samples)
    assert losses['loss_consistency'] != plain['loss_consistency']
    # the student's losses do not know of it
    for key in set(plain) - {'loss_consistency'}:
        assert torch.equal(losses[key], plain[key])


def test_no_view_is_the_students(model):
    inputs, samples = h.batch('a/cls')
    plain = losses_of(model, inputs, samples)
    same = losses_of(model, inputs, samples, inputs)
    assert plain.keys() == same.keys()
    assert all(torch.equal(plain[key], same[key]) for key in plain)


def test_the_view_may_have_another_size_for_labels(model):
    inputs, samples = h.batch('a/cls')
    losses = losses_of(model, inputs, samples, inputs[..., :32, :32])
    assert losses['loss_consistency'].isfinite()


def test_a_locked_pass_does_not_look_at_it(model, monkeypatch):
    def refuse(*_):
        raise AssertionError('the teacher ran')

    monkeypatch.setattr(model.teacher, 'features', refuse)
    model.student.lock(model.student.freeze_plan('a/seg', 'lock'))
    inputs, samples = h.batch('a/seg')
    assert 'loss_consistency' not in losses_of(model, inputs, samples, inputs)


def data(task='a/cls', view=True, n=2):
    """A batch as of the loader."""
    _, samples = h.batch(task, n=n)
    generator = torch.Generator().manual_seed(3)
    images = torch.randint(
        256, (2, n, 3, 64, 64), dtype=torch.uint8, generator=generator
    )
    batch = dict(inputs=list(images[0]), data_samples=samples)
    if view:
        batch['teacher_inputs'] = list(images[1])
    return batch


@pytest.mark.parametrize('task', ['a/cls', 'a/seg'])
def test_the_view_is_normalised_like_the_image(task):
    prepare = TaskDataPreprocessor(normalize={'a/seg': dict(mean=9, std=2)})
    batch = data(task)
    swapped = dict(batch, inputs=batch['teacher_inputs'])
    del swapped['teacher_inputs']
    done, other = prepare(batch), prepare(swapped)
    assert torch.equal(done['teacher_inputs'], other['inputs'])
    assert done['teacher_inputs'].dtype == torch.float32
    assert 'teacher_inputs' not in other


def test_another_size_of_view_leaves_the_samples_shape():
    batch = data()
    batch['teacher_inputs'] = [x[:, :32, :48] for x in batch['inputs']]
    done = TaskDataPreprocessor()(batch)
    assert done['teacher_inputs'].shape == (2, 3, 32, 48)
    assert done['data_samples'][0].batch_input_shape == (64, 64)


def test_training_steps_with_and_without(model):
    model.data_preprocessor = TaskDataPreprocessor()
    parameters = [p for p in model.student.parameters() if p.requires_grad]
    wrapper = OptimWrapper(
        torch.optim.SGD(parameters, lr=0.0), accumulative_counts=2
    )
    logs = []
    for view in (True, False, True, False):
        torch.manual_seed(0)
        logs.append(model.train_step(data(view=view), wrapper))
    keys = [log['loss_consistency'].item() for log in logs]
    assert keys[0] == keys[2] != keys[1] == keys[3]


def test_prediction_takes_the_image(model):
    model.data_preprocessor = TaskDataPreprocessor()
    model.eval()
    with torch.no_grad():
        one = model.test_step(data(view=True))
        other = model.test_step(data(view=False))
    for a, b in zip(one, other):
        assert torch.equal(a.pred_score, b.pred_score)
