"""Details, notes, intervals and comparisons of a whole test."""

import math

import numpy as np
import pytest
from made_up_predictions import CLASSES, metric_of, predict
from made_up_predictions import meta as meta_of

from fx_mm.evaluation import BenchmarkTable
from fx_mm.evaluation.report.assessment import Assessment, Bootstrap
from fx_mm.evaluation.statistics.multiplicity import adjust
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError
from fx_mm.visualization.task_plots import plot_task

KINDS = ('cls', 'loc', 'seg')
SHORT = Bootstrap(40)


def assess(predictions, other=None, validation=(), bootstrap=SHORT):
    kinds = dict.fromkeys(p.task['kind'] for p in predictions)
    table = BenchmarkTable(
        [Task('x', kind, CLASSES) for kind in kinds],
        {
            f'{p.predict_on}/{p.name}/{key}': value
            for p in predictions
            for key, value in p.metrics.items()
        },
    )
    metrics = {f'x/{kind}': metric_of(meta_of(kind)) for kind in KINDS}
    if other is not None:
        other = Assessment(other, metrics)
    Assessment(predictions, metrics, validation).fill(table, bootstrap, other)
    return table


def test_no_images():
    table = assess([predict(kind, n=0) for kind in KINDS])
    for kind in KINDS:
        assert table.notes[f'x/{kind}'][0] == 'There are no images.'
        assert table.n_images[f'x/{kind}'] == 0
        for ends in table.intervals['teacher'][f'x/{kind}'].values():
            assert all(map(math.isnan, ends))
    table.text()


def test_intervals_hold_their_value_and_narrow_with_images():
    few, many = (
        assess(
            [predict(kind, n=n) for kind in KINDS], None, (), Bootstrap(200)
        )
        for n in (20, 160)
    )
    for task, key in (
        ('x/cls', 'AUC'),
        ('x/loc', 'mAP_40'),
        ('x/loc', 'FROC'),
        ('x/seg', 'Dice_pos'),
        ('x/seg', 'HD95/a'),
    ):
        widths = []
        for table in (few, many):
            low, high = table.interval('teacher', task, key)
            assert low < table.value('teacher', task, key) < high
            widths.append(high - low)
        assert widths[1] < widths[0]


def test_the_seed_makes_the_interval():
    def ends(seed):
        table = assess([predict('cls')], None, (), Bootstrap(40, seed))
        return table.interval('teacher', 'x/cls', 'AUC')

    assert ends(0) == ends(0) != ends(1)


def test_patients_are_drawn_where_they_are_known():
    alone = assess([predict('cls')])
    patients = [str(i // 5) for i in range(20)]
    table = assess([predict('cls', patients=patients)])
    assert alone.bootstrap['units'] == {'x/cls': 'images'}
    assert table.bootstrap['units'] == {'x/cls': 'patients'}
    key = ('teacher', 'x/cls', 'AUC')
    assert table.interval(*key) != alone.interval(*key)
    assert table.value(*key) == alone.value(*key)


def test_without_thresholds_f1_is_undefined_and_a_note_says_why():
    table = assess([predict('cls')], None, (), None)
    assert math.isnan(table.value('teacher', 'x/cls', 'F1'))
    assert any('--thresholds-from val' in n for n in table.notes['x/cls'])
    assert not table.intervals and table.bootstrap is None


def test_thresholds_come_from_the_same_model_on_the_validation_split():
    val = [
        predict('cls', 'teacher', 'val', seed=7),
        predict('cls', 'student', 'val', seed=8),
    ]
    table = assess([predict('cls'), predict('cls', 'student')], None, val)
    chosen = [
        table.value(predict_on, 'x/cls', 'threshold_F1/a')
        for predict_on in ('teacher', 'student')
    ]
    scores = [[record.scores[0] for record in each.records] for each in val]
    assert chosen[0] in scores[0] and chosen[1] in scores[1]
    assert 0 < table.value('teacher', 'x/cls', 'F1') <= 1
    assert 'F1/a' in table.intervals['student']['x/cls']
    assert not any('thresholds' in note for note in table.notes['x/cls'])


def test_scores_of_a_broken_model_are_not_called_missing_truth():
    broken = predict('cls')
    for record in broken.records:
        record.scores[0] = math.nan
    broken.metrics['AUC/a'] = math.nan
    table = assess([broken])
    notes = ' '.join(table.notes['x/cls'])
    assert 'The teacher gives scores that are not finite for a,' in notes
    assert 'lack a positive' not in notes


def test_a_class_without_positives_is_named():
    empty = predict('cls')
    records = [r._replace(labels=r.labels * [1, 0]) for r in empty.records]
    metric = metric_of(meta_of('cls'))
    empty.records, empty.metrics = records, metric.compute_unique(records)
    (first, *_) = assess([empty]).notes['x/cls']
    assert first == (
        'AUC is the mean of 1 classes; 1 lack a positive or a negative '
        'image: b.'
    )


def test_a_better_model_is_told_from_a_worse_one():
    better = [predict(kind, n=80, skill=4) for kind in KINDS]
    worse = [predict(kind, n=80, skill=0.7) for kind in KINDS]
    table = assess(better, worse, (), Bootstrap(200))
    for task, key in (
        ('x/cls', 'AUC'),
        ('x/loc', 'mAP_40'),
        ('x/seg', 'Dice_pos'),
    ):
        found = table.differences['teacher'][task][key]
        assert 0 < found.low < found.difference < found.high
    itself = assess(better, better).differences['teacher']
    for of_task in itself.values():
        for found in of_task.values():
            assert found[:4] == (0, 0, 0, 1) or all(map(math.isnan, found))


@pytest.mark.parametrize('correction', ['holm', 'bh'])
@pytest.mark.parametrize('bca', [False, True])
def test_p_values_of_all_tasks_are_adjusted_together(bca, correction):
    ours = [predict(kind, n=40, skill=1.5) for kind in KINDS]
    theirs = [predict(kind, n=40, seed=3) for kind in KINDS]
    options = Bootstrap(60, bca=bca, correction=correction)
    table = assess(ours, theirs, (), options)
    found = table.differences['teacher']
    headlines = [
        found[task.name][column.metric]
        for task in table.tasks
        for column in task.kind.columns
    ]
    classes = [
        found[task.name][f'{task.kind.class_metric}/{name}']
        for task in table.tasks
        for name in CLASSES
    ]
    assert len(headlines) == 4 and len(classes) == 6
    for family in (headlines, classes):
        expected = adjust([each.p for each in family], correction)
        assert [each.p_adjusted for each in family] == expected.tolist()
        assert (expected >= [each.p for each in family]).all()
    assert math.isnan(found['x/cls']['AP'].p_adjusted)
    assert found['x/cls']['AP'].p <= 1
    assert table.bootstrap['method'] == ('BCa' if bca else 'percentile')
    assert ('Holm' in table.difference_text) == (correction == 'holm')
    assert 'at least 160' in table.difference_text or correction == 'bh'


def test_delong_stands_beside_the_bootstrap():
    patients = [str(i // 2) for i in range(60)]
    ours = predict('cls', n=60, skill=2, patients=patients)
    table = assess([ours, predict('seg')], [predict('cls', n=60, seed=4)])
    assert table.normal_intervals['teacher']['x/seg'] == {}
    for key in ('AUC', 'AUC/a'):
        low, high = table.normal_intervals['teacher']['x/cls'][key]
        assert low < table.value('teacher', 'x/cls', key) <= high
        drawn = table.differences['teacher']['x/cls'][key]
        normal = table.normal_differences['teacher']['x/cls'][key]
        assert normal.difference == pytest.approx(drawn.difference)
        width = normal.high - normal.low
        assert normal.low == pytest.approx(drawn.low, abs=0.4 * width)
        assert normal.p < 0.05
    header, rows = table.normal_rows()
    assert header[2:] == ['teacher', 'teacher, difference', 'p']
    assert [row[1] for row in rows] == ['AUC', 'AUC/a', 'AUC/b']


def test_other_images_truth_or_tasks_are_refused():
    for kind in KINDS:
        with pytest.raises(UserError, match='1 are in one of both.*im_019'):
            assess([predict(kind)], [predict(kind, n=19)])
        theirs = predict(kind)
        record = theirs.records[3]
        if kind == 'cls':
            record = record._replace(labels=1 - record.labels)
        elif kind == 'loc':
            record = record._replace(truth=record.truth[:-1] + 1)
        else:
            record = record._replace(pixels=record.pixels + 1)
        theirs.records[3] = record
        with pytest.raises(UserError, match='truth of image "im_003_é.png"'):
            assess([predict(kind)], [theirs])
    with pytest.raises(UserError, match='no task in common.*student/x/cls'):
        assess([predict('cls')], [predict('cls', 'student')])


@pytest.mark.parametrize('n', [0, 1, 30])
@pytest.mark.parametrize('kind', KINDS)
def test_pictures(kind, n, tmp_path):
    found = predict(kind, n=n)
    values = assess([found], None, (), None).values['teacher'][f'x/{kind}']
    file = plot_task(
        metric_of(meta_of(kind)),
        found.records,
        values,
        'title',
        tmp_path / 'new' / f'{kind}.png',
    )
    assert file.stat().st_size > 5000


def test_a_picture_of_exclusive_classes_and_broken_scores(tmp_path):
    metric = metric_of(dict(meta_of('cls'), label_type='multi-class'))
    records = predict('cls').records
    records = [r for r in records if not np.isnan(r.labels).any()]
    records[0] = records[0]._replace(scores=np.full(2, np.nan))
    values = {**metric.compute_unique(records), **metric.details(records)}
    assert math.isnan(values['ECE/a'])
    plot_task(metric, records, values, 'title', tmp_path / 'a.png')
