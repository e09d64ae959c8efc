"""The papers' numbers, and ours beside them."""

from pathlib import Path

import pytest
from mmengine.config import Config

from fx_mm.evaluation import BenchmarkTable
from fx_mm.evaluation.report.published import (
    NOTES,
    PUBLISHED,
    SOURCES,
    beside,
    notes,
)
from fx_mm.evaluation.report.results_file import to_markdown
from fx_mm.tasks import Task

DATASETS = Path(__file__).parents[3] / 'configs/_base_/datasets'


def test_tasks_and_classes_are_those_of_the_configs():
    for row in PUBLISHED:
        dataset, kind = row.task.split('/')
        cfg = Config.fromfile(DATASETS / f'{dataset}.py')[dataset]
        classes = cfg['tasks'][kind]['classes']
        assert not row.label or row.label in classes, row
        assert set(row.values) <= set(SOURCES)
        assert all(10 < value < 100 for value in row.values.values())
    assert set(NOTES) <= {row.task for row in PUBLISHED}


@pytest.mark.parametrize(
    'task, model, value',
    [
        ('nih14/cls', 'single task', 83.05),
        ('siim_acr/loc', 'Foundation X', 34.59),
        ('chestx_det/seg', 'Foundation X+', 84.43),
        ('shenzhen/cls', 'Ark-6, fine-tuned', 98.99),
    ],
)
def test_samples_of_the_figures(task, model, value):
    (row,) = [r for r in PUBLISHED if r.task == task and not r.label]
    assert row.values[model] == value


def test_nothing_is_shown_for_other_datasets():
    table = BenchmarkTable([Task('phantom_a', 'cls', ('a',))], {})
    assert beside(table) == [] and notes(table) == []
    assert 'Beside the papers' not in to_markdown(table)


def test_validation_figures_do_not_stand_beside_test_figures():
    task = Task('nih14', 'cls', ('a',))
    metrics = {'nih14/cls/AUC': 0.8}
    shown = to_markdown(BenchmarkTable([task], metrics))
    assert '## Beside the papers' in shown and '83.05' in shown
    shown = to_markdown(BenchmarkTable([task], metrics, split='val'))
    assert shown.startswith('# Results on the val split')
    assert 'these of the split "val", so they do not stand side' in shown
    assert '83.05' not in shown and 'Beside the papers' not in shown


def test_ours_are_in_percent_and_follow_the_paper_s_definition():
    tasks = [
        Task('rsna', 'cls', ('a', 'b', 'c')),
        Task('siim_acr', 'seg', ('Pneumothorax',)),
        Task('jsrt', 'seg', ('Lung', 'Heart', 'Clavicle')),
        Task('tbx11k', 'loc', ('TB',)),
    ]
    table = BenchmarkTable(
        tasks,
        {
            'rsna/cls/AUC': 0.9,
            'rsna/cls/accuracy': 0.7512,
            'siim_acr/seg/Dice': 0.8,
            'siim_acr/seg/Dice_pos': 0.4,
            'jsrt/seg/Dice/Heart': 0.95,
        },
    )
    rows = {
        (row[0], row[1]): dict(zip(header, row, strict=True))
        for _, header, rows in beside(table)
        for row in rows
    }
    ours = 'ours, teacher'
    assert rows['rsna/cls', 'AUC'][ours] == '90.00'
    assert rows['rsna/cls', 'AUC']['Foundation X'] == '89.88'
    accuracy = rows['rsna/cls', 'accuracy']
    assert (accuracy[ours], accuracy['Ark-6, fine-tuned']) == (
        '75.12',
        '74.76',
    )
    assert accuracy['Foundation X'] == '-'
    assert rows['siim_acr/seg', 'Dice'][ours] == '80.00'
    assert rows['jsrt/seg', 'Dice/Heart'][ours] == '95.00'
    assert rows['tbx11k/loc', 'mAP_40'][ours] == 'n/a'
    text = to_markdown(table)
    assert 'In percent' in text and '+6.72' in text
