"""Figures of a test that stand beside predictions."""

import json

import pytest

from fx_mm.app.figures import TestFigures
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError

TASK = Task('a', 'cls', ('Nodule', 'Mass'))
OTHER = Task('b', 'loc', ('Nodule',))


def write(folder, **changes):
    content = dict(
        schema_version=2,
        checkpoint='iter_7.pth',
        split='val',
        predict_on='teacher',
        tasks={'a/cls': dict(n_images=40)},
        metrics=dict(
            teacher={
                'a/cls': {'AUC': 0.8, 'AUC/Nodule': 0.75, 'AUC/Mass': None}
            }
        ),
        intervals=dict(teacher={'a/cls': {'AUC/Nodule': [0.7, 0.81]}}),
        normal_intervals={},
    )
    path = folder / 'results.json'
    path.write_text(json.dumps(content | changes))
    return path


def test_without_a_test_there_are_none(tmp_path):
    for checkpoint in (f'{tmp_path}/iter_7.pth', 'https://a.example/iter.pth'):
        figures = TestFigures(checkpoint, 'teacher')
        assert 'tools/test.py' in figures.reason
        assert figures.all(TASK) == [] and figures.headline(TASK) is None
        assert figures.of_class(TASK, 'Nodule') is None
        assert figures.n_images(TASK) is None


def test_values_and_intervals(tmp_path):
    write(tmp_path)
    figures = TestFigures(f'{tmp_path}/iter_7.pth', 'teacher')
    assert figures.reason == '' and figures.n_images(TASK) == 40
    assert figures.headline(TASK)['value'] == 0.8
    assert figures.of_class(TASK, 'Nodule') == dict(
        name='AUC/Nodule', value=0.75, low=0.7, high=0.81, split='val'
    )
    assert figures.of_class(TASK, 'Mass')['value'] is None
    assert [each['name'] for each in figures.all(TASK)] == [
        *('AUC', 'AUC/Nodule', 'AUC/Mass')
    ]
    assert figures.all(OTHER) == [] and figures.headline(OTHER) is None


def test_results_of_others_are_not_used(tmp_path):
    path = write(tmp_path)
    for checkpoint, who in (('iter_8.pth', 'teacher'), ('iter_7.pth', 'x')):
        figures = TestFigures(f'{tmp_path}/{checkpoint}', who)
        assert 'was not used' in figures.reason and not figures.all(TASK)
        with pytest.raises(UserError, match=r'results\.json'):
            TestFigures(f'{tmp_path}/{checkpoint}', who, path)
    path.write_text('{')
    assert TestFigures(f'{tmp_path}/iter_7.pth', 'teacher').reason
