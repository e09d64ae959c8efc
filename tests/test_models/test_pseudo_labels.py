"""What a teacher finds as the truth of a batch without annotation."""

import math

import model_helpers
import pytest
import torch
from mmengine.structures import InstanceData
from model_helpers import TASKS

from fx_mm.models.pseudo_labels import PseudoLabels
from fx_mm.tasks import Task, TaskTable

NAN = math.nan
REST = tuple(
    Task('rest', kind, source.classes, config=dict(pseudo=source.name))
    for kind, source in (
        ('cls', TASKS[0]),
        ('loc', TASKS[2]),
        ('seg', TASKS[4]),
    )
)


@pytest.fixture(scope='module')
def model():
    model = model_helpers.build(tasks=TaskTable([*TASKS, *REST]), noise=0.02)
    model.pseudo_labels = PseudoLabels()
    return model


def unlabelled(source, n=4):
    """Images of a source's, without truth, as the loader gives them."""
    inputs, samples = model_helpers.batch(source, n=n)
    kind = source.partition('/')[2]
    for sample in samples:
        for key in ('gt_score', 'gt_instances', 'gt_sem_seg'):
            if key in sample:
                delattr(sample, key)
        meta = dict(task=f'rest/{kind}', dataset='rest', pseudo=source)
        sample.set_metainfo(meta)
    return inputs, samples


def losses_of(model, source, thresholds, weight=1.0):
    kind = source.partition('/')[2]
    model.pseudo_labels.thresholds = {source: thresholds}
    model.pseudo_labels.weights = {kind: weight}
    model.zero_grad()
    torch.manual_seed(0)
    return model.loss(*unlabelled(source))


def largest_gradient(model, losses):
    task = [v for k, v in losses.items() if 'loss' in k and 'con' not in k]
    sum(task).backward()
    grads = [p.grad for p in model.student.parameters() if p.grad is not None]
    return max(g.abs().max() for g in grads)


@pytest.mark.parametrize(
    ('source', 'none'),
    [('a/loc', [NAN] * 3), ('a/loc', [1.1] * 3), ('a/seg', [NAN, 1.1])],
)
def test_where_nothing_is_found_nothing_is_learned(model, source, none):
    losses = losses_of(model, source, none)
    assert losses['pseudo_share'] == 0
    assert 'loss_consistency' in losses
    assert largest_gradient(model, losses) == 0


def test_no_threshold_was_chosen_yet(model):
    model.pseudo_labels.thresholds = {}
    losses = model.loss(*unlabelled('a/seg'))
    assert losses['pseudo_share'] == 0
    assert all(v.isfinite().all() for v in losses.values())


@pytest.mark.parametrize(
    ('source', 'low'), [('a/loc', [0.0] * 3), ('a/seg', [0.0] * 2)]
)
def test_what_is_found_is_learned(model, source, low):
    losses = losses_of(model, source, low)
    assert losses['pseudo_share'] == 1
    assert largest_gradient(model, losses) > 0
    # the weight is of the task losses alone
    half = losses_of(model, source, low, 0.5)
    for key, value in losses.items():
        if 'loss' in key and key != 'loss_consistency':
            torch.testing.assert_close(half[key], value / 2)
        else:
            torch.testing.assert_close(half[key], value)


def test_labels_are_soft(model):
    inputs, samples = unlabelled('a/cls')
    with torch.no_grad():
        wanted = torch.stack(
            [
                s.pred_score
                for s in model.teacher.predict(
                    inputs, model_helpers.batch('a/cls', n=4)[1]
                )
            ]
        )
    batch = PseudoLabels()(model.teacher, inputs, samples, inputs)
    found = torch.stack([s.gt_score for s in batch.data_samples])
    assert torch.equal(found, wanted)
    assert batch.weight == 0  # before the hook set one
    assert all(s.task == 'a/cls' for s in batch.data_samples)
    assert all(s.task == 'rest/cls' for s in samples)
    assert 'gt_score' not in samples[0]


def test_the_teacher_labels_its_own_view(model):
    inputs, samples = unlabelled('a/cls')
    seen = PseudoLabels()(model.teacher, inputs * 0, samples, inputs)
    other = PseudoLabels()(model.teacher, inputs, samples, inputs)
    assert torch.equal(seen.inputs, inputs * 0)
    for one, two in zip(seen.data_samples, other.data_samples):
        assert torch.equal(one.gt_score, two.gt_score)


def test_masks_above_thresholds_and_classes_that_are_nowhere(model):
    branch = model.student.segmentation
    _, samples = model_helpers.batch('a/seg', n=2, size=4)
    prob = torch.zeros(2, 2, 4, 4)
    prob[0, 0, 1, 2] = 0.7
    prob[0, 0, 1, 3] = 0.6
    known = branch.take_as_truth(prob, samples, torch.tensor([0.65, 0.5]))
    assert known.tolist() == [True, False]
    truth = samples[0].gt_sem_seg
    assert truth.data[0].nonzero().tolist() == [[1, 2]]
    assert truth.data.sum() == 1 and truth.data.dtype == torch.uint8
    # the second class is unknown, not absent
    assert truth.ignore[0].sum() == 0 and truth.ignore[1].all()
    assert samples[1].gt_sem_seg.ignore.all()


def test_boxes_above_thresholds_in_pixels_of_the_input(model):
    branch = model.student.localization
    _, samples = model_helpers.batch('a/loc', n=2)
    boxes = torch.tensor(
        [
            [30.0, 20.0, 90.0, 80.0],
            [31.0, 20.0, 90.0, 80.0],  # the same finding
            [30.0, 20.0, 90.0, 80.0],  # another class, too low
            [0.0, 0.0, 2.0, 60.0],  # less than a pixel wide
        ]
    )
    found = InstanceData(
        bboxes=boxes,
        scores=torch.tensor([0.9, 0.6, 0.4, 0.9]),
        labels=torch.tensor([0, 0, 1, 0]),
    )
    limits = torch.tensor([0.5, 0.5, NAN])
    known = branch.take_as_truth([found, found[2:3]], samples, limits)
    assert known.tolist() == [True, False]
    truth = samples[0].gt_instances
    assert truth.bboxes.tolist() == [[10, 10, 30, 40]]
    assert truth.labels.tolist() == [0]
    assert len(samples[1].gt_instances) == 0
    assert samples[1].gt_instances.bboxes.shape == (0, 4)


def test_places_of_images_without_a_truth_are_filled(model, monkeypatch):
    known = torch.tensor([False, True, False, True])
    monkeypatch.setattr(model.teacher, 'label', lambda *_: known)
    labels = PseudoLabels()
    labels.weights = dict(seg=0.8)
    inputs, samples = unlabelled('a/seg')
    batch = labels(model.teacher, inputs, samples, inputs + 1)
    names = [s.img_id for s in batch.data_samples]
    assert names == ['1', '3', '1', '3']
    assert torch.equal(batch.inputs, inputs[[1, 3, 1, 3]])
    assert torch.equal(batch.teacher_inputs, inputs[[1, 3, 1, 3]] + 1)
    assert batch.share == 0.5 and batch.weight == pytest.approx(0.4)


def test_it_locks_as_its_source(model):
    student = model.student
    for task in REST:
        for mode in ('lock', 'lock_plus', 'release'):
            assert student.freeze_plan(task.name, mode) == student.freeze_plan(
                task.pseudo, mode
            )


def test_kinds_that_cannot_label(model):
    task = Task('a', 'ssl', ('pixels',))
    other = model_helpers.build(
        tasks=[task],
        student__self_supervision=dict(type='MaskedImageBranch', cell=16),
    )
    assert not other.student.self_supervision.can_label
    assert model.student.localization.can_label
