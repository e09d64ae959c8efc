"""The matrix of scores: visits, focused and unfocused, files."""

import json
import math

import pytest

from fx_mm.evaluation.forgetting import ScoreMatrix
from fx_mm.visualization.forgetting_plot import plot_forgetting

A, B = 'a/cls', 'b/seg'


def metrics(a, b, prefix=''):
    return {f'{prefix}a/cls/AUC': a, f'{prefix}b/seg/Dice_pos': b}


@pytest.fixture
def matrix():
    """Passes: a, b locked, b, a, b locked, b."""
    matrix = ScoreMatrix([A, B], ['teacher', 'student'])
    scores = [(0.6, 0.1), (0.5, 0.2), (0.4, 0.3), (0.9, 0.2), (0.8, 0.4)]
    scores.append((0.6, 0.5))
    walked = [(A, 'release'), (B, 'lock'), (B, 'release')] * 2
    for i, ((task, mode), (a, b)) in enumerate(zip(walked, scores)):
        both = metrics(a, b) | metrics(a / 2, math.nan, 'student/')
        matrix.add(i + 1, i // 3 + 1, task, mode, both)
    return matrix


def test_nothing_was_seen_yet():
    empty = ScoreMatrix([A], ['teacher'])
    summary = empty.summary(A, 'teacher')
    assert summary.visits == 0 and math.isnan(summary.forgotten)
    assert json.dumps(empty.to_dict(), allow_nan=False)


def test_focused_and_unfocused(matrix):
    assert matrix.visits(A) == [0, 3] and matrix.visits(B) == [2, 5]
    assert matrix.between(A) == [[1, 2], [4, 5]]
    assert matrix.between(B) == [[3], []]
    a = matrix.summary(A, 'teacher')
    assert a.focused == pytest.approx(0.75)
    assert a.best_focused == 0.9
    assert a.unfocused == pytest.approx((0.5 + 0.4 + 0.8 + 0.6) / 4)
    assert a.best_unfocused == 0.8
    assert a.forgotten == pytest.approx((0.2 + 0.3) / 2)
    b = matrix.summary(B, 'teacher')
    # the row before its first visit does not count, nor the lock pass's
    assert b.focused == pytest.approx(0.4)
    assert b.unfocused == 0.2
    assert b.forgotten == pytest.approx(0.1)
    assert matrix.summary(A, 'student').forgotten == pytest.approx(0.125)
    assert math.isnan(matrix.summary(B, 'student').focused)


def test_a_validation_that_is_repeated_counts_once(matrix):
    matrix.add(6, 2, B, 'release', metrics(0.1, 0.1))
    assert len(matrix.rows) == 6
    assert matrix.column(A, 'teacher')[-1] == 0.1


def test_files_and_picture(matrix, tmp_path):
    json_file, csv_file = matrix.save(tmp_path)
    content = json.loads(json_file.read_text())
    assert content['metrics'] == {A: f'{A}/AUC', B: f'{B}/Dice_pos'}
    assert content['summary']['teacher'][A]['forgotten'] == 0.25
    assert content['rows'][0]['scores']['student'][B] is None
    assert 'visit' in content['definitions']
    lines = csv_file.read_text().splitlines()
    assert lines[0] == f'pass,cycle,task,mode,predict_on,{A},{B}'
    assert lines[1] == f'1,1,{A},release,teacher,0.600000,0.100000'
    assert lines[2].endswith('student,0.300000,')
    assert len(lines) == 13

    again = ScoreMatrix([A, B], ['teacher', 'student'])
    again.read_rows(json_file, until=6)
    assert again.to_dict() == matrix.to_dict()
    again.read_rows(json_file, until=4)
    assert [row.number for row in again.rows] == [1, 2, 3, 4]
    json_file.write_text('{"rows": [{}]}')
    with pytest.raises(ValueError, match='forgetting.json'):
        again.read_rows(json_file, until=4)

    picture = plot_forgetting(matrix, tmp_path / 'sub' / 'f.png')
    assert picture.stat().st_size > 5000
