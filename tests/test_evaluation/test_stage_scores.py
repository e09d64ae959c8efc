"""The matrix of stages by tasks, and what is measured on it."""

import csv
import json
import math

import pytest

from fx_mm.evaluation.stage_scores import StageScores
from fx_mm.visualization.stage_plot import plot_stages

STAGES = [['a/cls'], ['b/cls', 'b/loc'], ['c/seg']]
ROWS = [
    {'a/cls': 0.8},
    {'a/cls': 0.9, 'b/cls': 0.7, 'b/loc': 0.3},
    {'a/cls': 0.6, 'b/cls': 0.65, 'b/loc': 0.1, 'c/seg': 0.5},
]


def test_a_single_stage_forgets_nothing():
    measures = StageScores(STAGES[:1], ROWS[:1]).measures()
    assert measures['average'] == 0.8
    assert math.isnan(measures['forgetting'])
    assert math.isnan(measures['backward_transfer'])


def test_measures_by_hand():
    scores = StageScores(STAGES, ROWS)
    assert scores.arrival('b/loc') == 1
    assert scores.of_task('a/cls') == pytest.approx((0.8, 0.6, -0.2, 0.3))
    measures = scores.measures()
    assert measures['average'] == pytest.approx((0.6 + 0.65 + 0.1 + 0.5) / 4)
    backward = (-0.2 - 0.05 - 0.2) / 3
    assert measures['backward_transfer'] == pytest.approx(backward)
    assert measures['forgetting'] == pytest.approx((0.3 + 0.05 + 0.2) / 3)


def test_a_task_that_was_not_evaluated_counts_in_no_mean():
    rows = [ROWS[0], ROWS[1], {'b/cls': 0.65, 'c/seg': 0.5}]
    scores = StageScores(STAGES, rows)
    assert math.isnan(scores.of_task('a/cls').final)
    assert scores.measures()['forgetting'] == pytest.approx(0.05)


def write_results(folder, tasks):
    folder.mkdir(parents=True)
    content = dict(
        schema_version=2,
        predict_on='student',
        split='val',
        tasks={task: dict(kind=task[-3:]) for task in tasks},
        metrics=dict(
            student={
                task: {metric: value, 'other': 0.0}
                for task, (metric, value) in tasks.items()
            }
        ),
    )
    (folder / 'results.json').write_text(json.dumps(content))


def test_read_and_save(tmp_path):
    write_results(tmp_path / 'one', {'a/cls': ('AUC', 0.8)})
    second = {'a/cls': ('AUC', 0.7), 'b/loc': ('mAP_40', None)}
    write_results(tmp_path / 'two', second)
    folders = [tmp_path / 'one', tmp_path / 'two']
    scores = StageScores.read(folders, [['a/cls'], ['b/loc']])
    assert scores.rows == [{'a/cls': 0.8}, {'a/cls': 0.7}]
    assert (scores.predict_on, scores.split) == ('student', 'val')
    scores.save(tmp_path)
    content = json.loads((tmp_path / 'continual.json').read_text())
    assert content['tasks']['b/loc']['final'] is None
    assert content['measures']['forgetting'] == pytest.approx(0.1)
    table = list(csv.reader((tmp_path / 'continual.csv').open()))
    assert table[2] == ['2', 'b/loc', '0.700000', '']
    assert 'forgetting 0.100' in scores.text()
    picture = plot_stages(scores, tmp_path / 'continual.png')
    assert picture.stat().st_size > 1000
    untested = StageScores.read([*folders, tmp_path], [*STAGES])
    assert untested is None
