"""Typed reports: drawn, written to JSON and tables."""

import numpy as np

from fx_mm.structures import FXDataSample
from fx_mm.tasks import Task
from fx_mm.visualization.results import ReportResult

TASK = Task('x', 'report', ('Nodule', 'Effusion'))
IMAGE = np.zeros((40, 60), np.uint8)


def sample_of(pred, truth='', question=None):
    sample = FXDataSample(
        metainfo=dict(task=TASK.name, img_id='a.png', question=question)
    )
    sample.pred_report, sample.gt_report = pred, truth
    return sample


def test_an_empty_report():
    result = ReportResult.from_sample(TASK, sample_of(''))
    assert result.to_dict() == dict(kind='report', report='', findings=[])
    assert result.draw(IMAGE, 0.3, 64).shape[1] == 64
    assert not ReportResult.has_finding(sample_of(''))


def test_findings_are_read_out_of_the_text():
    sample = sample_of('A nodule, no effusion.', 'Clear.')
    result = ReportResult.from_sample(TASK, sample)
    assert result.to_dict()['findings'] == ['Nodule']
    assert result.row() == {'x/report': 'A nodule, no effusion.'}
    assert list(result.row()) == ReportResult.columns(TASK)
    assert ReportResult.mark_truth(TASK, sample, ()).lines == ['Clear.']


def test_an_answer_has_its_question():
    sample = sample_of('yes', 'no', 'Is there a nodule?')
    result = ReportResult.from_sample(TASK, sample)
    assert result.to_dict()['question'] == 'Is there a nodule?'
    lines = ReportResult.mark_truth(TASK, sample, ()).lines
    assert lines == ['Is there a nodule?', 'no']


def test_truth_and_prediction_side_by_side():
    sample = sample_of('A long text. ' * 20, 'Clear.')
    tile = ReportResult.draw_beside_truth(TASK, sample, IMAGE, 0.3, 100)
    assert tile.shape[1] >= 200 and tile.dtype == np.uint8
