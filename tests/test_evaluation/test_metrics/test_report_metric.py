"""Metrics of reports against their libraries and scikit-learn."""

import math
import sys

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU
from sklearn.metrics import f1_score, precision_score, recall_score

from fx_mm.evaluation import ReportMetric
from fx_mm.evaluation.metrics.report_metric import _rouge
from fx_mm.evaluation.statistics.bootstrap import unweighted
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError

FINDINGS = ('Nodule', 'Effusion', 'Mass')
TRUTHS = [
    'There is a nodule in the left lung. No effusion is seen.',
    'Small effusion on the right. No nodule.',
    'The lungs are clear.',
    'A nodule and an effusion are seen on the left.',
    'No change since the prior study. The lungs are clear.',
]
PREDS = [
    'There is a nodule in the right lung. No effusion is seen.',
    'The lungs are clear.',
    'The lungs are clear.',
    'A nodule is seen on the left side.',
    'There is a small effusion.',
]


def metric_of(classes=FINDINGS, **options):
    metric = ReportMetric(**options)
    metric.dataset_meta = Task('x', 'report', classes).meta
    metric.kept = []
    return metric


def evaluate(truths, preds, classes=FINDINGS):
    """The metric, its records and all results of texts."""
    metric = metric_of(classes)
    for number, (truth, pred) in enumerate(zip(truths, preds)):
        sample = dict(img_id=f'{number:04}', gt_report=truth, pred_report=pred)
        metric.process(None, [sample])
    metric.evaluate(len(truths))
    ((records, values),) = metric.kept
    return metric, records, {**values, **metric.details(records)}


def test_texts_without_words():
    _, _, values = evaluate(['', 'A nodule.'], ['', ''])
    assert values['F1'] == values['F1/Nodule'] == 0
    assert values['BLEU_4'] == 0 and values['exact'] == 0.5
    assert math.isnan(values['closed']) and math.isnan(values['F1/Mass'])


def test_against_the_libraries():
    _, _, values = evaluate(TRUTHS, PREDS)
    bleu = BLEU().corpus_score(PREDS, [TRUTHS]).score / 100
    assert values['BLEU_4'] == pytest.approx(bleu)
    rouge = RougeScorer(['rougeL'])
    each = [
        rouge.score(truth, pred)['rougeL'].fmeasure
        for truth, pred in zip(TRUTHS, PREDS)
    ]
    assert values['ROUGE_L'] == pytest.approx(np.mean(each))
    assert values['exact'] == pytest.approx(1 / 5)


@pytest.mark.parametrize(
    ('truth', 'pred'),
    [
        ("Heart's size: 3.5 cm (AP_view).", 'heart s size 3 cm, view'),
        ('___ year-old, no change__since', 'Year old; NO change since.'),
        ('-- ', 'Clear.'),
    ],
)
def test_rouge_of_ascii_is_the_librarys(truth, pred):
    wanted = RougeScorer(['rougeL']).score(truth, pred)['rougeL'].fmeasure
    assert _rouge(truth, pred) == wanted


def test_rouge_knows_other_scripts():
    assert _rouge('Лёгкие чистые.', 'лёгкие чистые') == 1
    assert _rouge('Lungenödem links', 'Lungenabszess links') == 0.5
    assert _rouge('心影增大。', '肺野清晰。') == 0


def test_findings_against_scikit_learn():
    metric, _, values = evaluate(TRUTHS, PREDS)
    truth = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0], [1, 1, 0], [0, 0, 0]])
    pred = np.array([[1, 0, 0], [0, 0, 0], [0, 0, 0], [1, 0, 0], [0, 1, 0]])
    wanted = f1_score(truth, pred, average=None, zero_division=0)[:2]
    for name, f1 in zip(FINDINGS, wanted):
        assert values[f'F1/{name}'] == pytest.approx(f1)
    assert values['F1'] == pytest.approx(wanted.mean())
    assert math.isnan(values['F1/Mass'])
    assert values['F1_micro'] == pytest.approx(
        f1_score(truth, pred, average='micro')
    )
    recall = recall_score(truth, pred, average=None, zero_division=0)
    assert values['recall/Nodule'] == recall[0]
    precision = precision_score(truth, pred, average=None, zero_division=0)
    assert values['precision/Effusion'] == precision[1]
    assert values['n_stated/Effusion'] == 2
    assert list(values)[: len(FINDINGS) + 1] == [
        'F1',
        *(f'F1/{name}' for name in FINDINGS),
    ]


def test_perfect_and_constant():
    _, _, values = evaluate(TRUTHS, TRUTHS)
    for key in ('F1', 'BLEU_4', 'ROUGE_L', 'exact'):
        assert values[key] == pytest.approx(1)
    metric, records, values = evaluate(TRUTHS, ['The lungs are clear.'] * 5)
    assert values['F1'] == 0 and values['exact'] == 0.2
    notes = metric.notes(records, values, 'teacher', False)
    assert 'does not depend on the image' in notes[-1]


def test_closed_questions():
    truths = ['yes', 'no', 'No', 'left lung']
    _, _, values = evaluate(truths, ['Yes.', 'yes', 'no', 'left lung'])
    assert values['closed'] == pytest.approx(2 / 3)
    assert values['exact'] == pytest.approx(3 / 4)
    assert values['n_closed'] == 3


def test_weights_are_repetitions():
    """Metrics of weights are those of texts written down as often."""
    metric, records, _ = evaluate(TRUTHS, PREDS)
    compute = metric.statistics(records)
    weights = np.array([[2, 0, 1, 3, 1]], np.uint16)
    again = [i for i, count in enumerate(weights[0]) for _ in range(count)]
    _, _, wanted = evaluate(
        [TRUTHS[i] for i in again], [PREDS[i] for i in again]
    )
    for key, value in compute(weights).items():
        assert value[0] == pytest.approx(wanted[key], nan_ok=True), key
    every = unweighted(compute, len(records))
    assert every['F1'] == pytest.approx(evaluate(TRUTHS, PREDS)[2]['F1'])


def test_packed_records_come_back():
    metric, records, values = evaluate(['Ö', ''], ['ä b', 'x'])
    columns = metric.pack(records)
    assert all(column.dtype.kind == 'U' for column in columns.values())
    other = metric_of()
    other.process(None, metric.unpack(columns, [r.img_id for r in records]))
    other.evaluate(2)
    ((again, found),) = other.kept
    assert again == records
    assert found['ROUGE_L'] == values['ROUGE_L']
    assert metric.same_truth(records[0], again[0])
    assert not metric.same_truth(records[0], again[1])


def test_what_is_refused(monkeypatch):
    with pytest.raises(UserError, match='not a class of the task'):
        metric_of(terms=dict(Other=['x']))
    monkeypatch.setitem(sys.modules, 'sacrebleu', None)
    with pytest.raises(UserError, match=r'"sacrebleu"; run: pip install'):
        evaluate(TRUTHS, PREDS)
