"""Continual runs over seeds: measures, intervals and the tool."""

import json
import math
import runpy
import sys
from pathlib import Path

import pytest
from scipy import stats

from fx_mm.evaluation.report.stage_comparison import StageComparison
from fx_mm.evaluation.stage_scores import StageScores

TOOL = Path(__file__).parents[3] / 'tools/analysis_tools/continual_table.py'
STAGES = [['a/cls'], ['b/loc']]
KEPT = {'sequential': (0.5, 0.6, 0.4), 'rehearsal': (0.7, 0.75, 0.8)}
LEARNED, NEW, ALONE = 0.8, 0.3, 0.25


def write_results(folder, tasks):
    folder.mkdir(parents=True, exist_ok=True)
    names = {'cls': 'AUC', 'loc': 'mAP_40'}
    content = dict(
        schema_version=2,
        predict_on='teacher',
        split='test',
        tasks={task: dict(kind=task[-3:]) for task in tasks},
        metrics=dict(
            teacher={t: {names[t[-3:]]: v} for t, v in tasks.items()}
        ),
    )
    (folder / 'results.json').write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path):
    for name, kept in KEPT.items():
        for seed, final in enumerate(kept):
            run = tmp_path / name / f'seed_{seed}'
            rows = [{'a/cls': LEARNED}, {'a/cls': final, 'b/loc': NEW}]
            StageScores(STAGES, rows).save(run)
            write_results(run, rows[-1])
            alone = tmp_path / 'alone_b' / f'seed_{seed}'
            write_results(alone, {'b/loc': ALONE + seed / 100})
            joint = tmp_path / 'joint' / f'seed_{seed}'
            write_results(joint, {'a/cls': 0.85, 'b/loc': 0.35})
    # not finished: its last stage has no test
    unfinished = tmp_path / 'ewc' / 'seed_0'
    StageScores(STAGES[:1], [{'a/cls': LEARNED}]).save(unfinished)
    return tmp_path


def test_nothing_was_run(tmp_path):
    found = StageComparison.read(tmp_path, 'sequential', 'joint', 'alone')
    assert found.variants == []


def test_measures_and_intervals(folder):
    found = StageComparison.read(folder, 'sequential', 'joint', 'alone')
    assert found.variants == ['sequential', 'rehearsal', 'joint']
    forgetting = [LEARNED - final for final in KEPT['sequential']]
    mean, low, high, n = found.mean('sequential', 'forgetting')
    interval = stats.ttest_1samp(forgetting, 0).confidence_interval()
    assert (mean, n) == (pytest.approx(0.3), 3)
    assert (low, high) == pytest.approx(tuple(interval))
    forward = found.values['rehearsal']['forward_transfer']
    expected = {seed: NEW - ALONE - seed / 100 for seed in range(3)}
    assert forward == pytest.approx(expected)
    removed = found.values['rehearsal']['removed']
    assert removed == pytest.approx(
        {
            seed: 1 - (LEARNED - final) / forgetting[seed]
            for seed, final in enumerate(KEPT['rehearsal'])
        }
    )
    assert found.mean('joint', 'average').mean == pytest.approx(0.6)
    assert 'forgetting' not in found.values['joint']


def test_a_training_alone_that_is_missing_leaves_it_out(folder):
    (folder / 'alone_b/seed_1/results.json').unlink()
    found = StageComparison.read(folder, 'sequential', 'joint', 'alone')
    assert sorted(found.values['sequential']['forward_transfer']) == [0, 2]
    assert found.mean('sequential', 'forgetting').n == 3


def test_tool(folder, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', [str(TOOL), str(folder)])
    with pytest.raises(SystemExit) as status:
        runpy.run_path(str(TOOL), run_name='__main__')
    assert not status.value.code
    text = capsys.readouterr().out
    assert text.strip() == (folder / 'continual_table.md').read_text().strip()
    assert '| sequential | 0.400 [' in text and '0.800 → 0.500' in text
    content = json.loads((folder / 'continual_table.json').read_text())
    found = content['variants']['rehearsal']['forgetting']
    assert found['seeds'] == pytest.approx({'0': 0.1, '1': 0.05, '2': 0.0})
    assert not math.isnan(found['difference']['mean'])
    assert (folder / 'continual_table.png').stat().st_size > 1000


def test_tool_without_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', [str(TOOL), str(tmp_path)])
    with pytest.raises(SystemExit) as status:
        runpy.run_path(str(TOOL), run_name='__main__')
    assert status.value.code
    assert 'run ablation.py with configs' in capsys.readouterr().err
