"""Stability reports: planted claims, and the tool with stand-in runs."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up_predictions import meta, metric_of, samples_of
from mmengine.registry import DefaultScope

from fx_mm.analysis.stability.images import (
    Predictions,
    agreement,
    prediction_sets,
)
from fx_mm.analysis.stability.report import check_claim, judge
from fx_mm.analysis.stability.runs import plan_runs
from fx_mm.analysis.stability.study import Case, Claim, read_study
from fx_mm.analysis.stability.trivial import trivial_results
from fx_mm.analysis.stability.verdict import judge_stability, pair_differences
from fx_mm.config import load_config
from fx_mm.evaluation.report.predictions import TaskPredictions
from fx_mm.phantom import ensure_phantom
from fx_mm.tasks import Task, TaskTable
from fx_mm.utils.errors import UserError

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / 'configs' / 'studies').glob('claim_*.py'))
ABLATION = ROOT / 'configs' / 'ablation'
CLAIM = Claim('A is better.', 'x/cls/AUC', 'a', 'b')
BASE = Case('base', '', 'as it was')
POLICIES = [BASE] + [
    Case('label policy', policy, 'unclear', {'policy': policy})
    for policy in ('zeros', 'ignore')
]
FAKE_TRAIN = """
import json, sys
from pathlib import Path
args = sys.argv[1:]
folder = Path(args[args.index('--work-dir') + 1])
with open(folder / 'starts', 'a') as file:
    file.write('x')
if 'without' in str(folder) and not (folder.parents[2] / 'fixed').exists():
    sys.exit('broken on purpose')
(folder / 'iter_7.pth').touch()
content = dict(schema_version=2, predict_on='teacher', tasks={})
content['metrics'] = dict(teacher={})
(folder / 'results.json').write_text(json.dumps(content))
"""
FAKE_TEST = """
import csv, json, sys
import numpy as np
from pathlib import Path
args = sys.argv[1:]
folder = Path(args[args.index('--work-dir') + 1])
arm, seed = Path(args[0]).stem, int(folder.parent.name[5:])
case = folder.parents[2].name
skill = dict(joint=1.0, single=0.5)[arm]
if case == 'gamma__2' and arm == 'joint':
    skill = 0.1
data = Path(sys.argv[0]).parent / 'easy' / 'hospital_a'
for split in ('val', 'test'):
    rows = list(csv.reader(open(data / (split + '.csv'))))
    labels = np.array([row[1:] for row in rows[1:]], float)
    noise = np.random.default_rng(seed).random(labels.shape)
    scores = (skill * labels + noise) / 2
    meta = dict(format='fx_mm predictions', version=1, predict_on='teacher',
        split=split, patients=None, config='', checkpoint='',
        img_ids=[row[0] for row in rows[1:]], task=dict(task='phantom_a/cls',
        dataset='phantom_a', kind='cls', classes=rows[0][1:],
        label_type='multi-label'))
    file = folder / 'predictions' / split / 'teacher' / 'phantom_a_cls.npz'
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, labels=labels, scores=scores,
        meta=np.frombuffer(json.dumps(meta).encode(), np.uint8))
value = 0.9 * skill + seed / 100
content = dict(schema_version=2, predict_on='teacher', tasks={
    'phantom_a/cls': dict(class_groups={})})
content['metrics'] = dict(teacher={'phantom_a/cls': dict(AUC=value)})
(folder / 'results.json').write_text(json.dumps(content))
"""
FAKE_ZERO_SHOT = """
import json, sys
from pathlib import Path
args = sys.argv[1:]
assert args[args.index('--target-task') + 1] == 'phantom_b/cls'
folder = Path(args[args.index('--out') + 1])
heads = {'phantom_a/cls/Mass': dict(value=0.6 + ('joint' in args[0]) / 10)}
content = dict(mean_is='mean of heads', classes=dict(Mass=dict(heads=heads)))
(folder / 'zero_shot.json').write_text(json.dumps(content))
"""
STUDY = """
claim = dict(text='Joint is better.', metric='phantom_a/cls/AUC',
    better='joint', than='single')
arms = dict(joint={joint!r}, single={single!r})
seeds = [0, 1]
options = {{
    'phantom.root': {root!r}, 'phantom.counts.train': 30,
    'phantom.counts.val': 30, 'phantom.counts.test': 30,
    'datasets.phantom_a.data_root': {root!r} + '/easy/hospital_a/',
    'datasets.phantom_b.data_root': {root!r} + '/easy/hospital_b/',
    'datasets.phantom_c.data_root': {root!r} + '/easy/hospital_c/',
}}
perturbations = [
    dict(factor='order', level='reversed', why='no order is natural',
        only=dict(joint={{'tasks': ['phantom_b/cls', 'phantom_a/cls']}})),
    dict(factor='gamma', level='2', why='films differ',
        test=dict(options={{'task_defaults.cls.flip_prob': None}})),
]
unseen = ['phantom_b']
subgroups = dict(
    table={root!r} + '/easy/hospital_a/test.csv', columns=['Mass'])
prediction_sets = dict(level=0.8, repeats=3)
"""


@pytest.fixture(scope='module')
def phantom(tmp_path_factory):
    root = tmp_path_factory.mktemp('phantom')
    counts = dict(train=30, val=30, test=30)
    ensure_phantom(root, counts=counts, size=32, workers=1)
    return root


@pytest.fixture
def study(phantom, tmp_path):
    file = tmp_path / 'study.py'
    file.write_text(
        STUDY.format(
            root=str(phantom),
            joint=str(ABLATION / 'foundation-x.py'),
            single=str(ABLATION / 'single-task_phantom-a-cls.py'),
        )
    )
    return file


def changed(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return file


def results(**differences):
    """Return two seeds of arm b at .5 and of arm a so much above."""
    return {
        case: {
            'a': {0: 0.5 + value, 1: 0.52 + value},
            'b': {0: 0.5, 1: 0.51},
        }
        for case, value in differences.items()
    }


def test_nothing_finished_is_no_agreement():
    found = judge_stability(CLAIM, POLICIES, {})
    assert np.isnan(found.share) and np.isnan(found.pair_share)
    assert [each.holds for each in found.cases] == [None] * 3
    assert not found.unstable


def test_what_is_undefined_is_no_pair():
    arms = dict(a={0: 0.5, 1: np.nan, 2: 0.4}, b={0: 0.25, 1: 0.5, 3: 0.1})
    assert pair_differences(CLAIM, arms) == {0: 0.25}


def test_a_claim_of_one_label_policy_is_flagged():
    cases = {'label policy: zeros': -0.1, 'label policy: ignore': -0.2}
    found = judge_stability(CLAIM, POLICIES, results(base=0.1, **cases))
    assert found.share == 0
    assert found.pair_share == pytest.approx(1 / 3)
    (factor,) = found.unstable
    assert factor.factor == 'label policy'
    assert factor.holds_for == ['base']
    assert factor.fails_for == ['zeros', 'ignore']
    level, seed, rest = factor.components
    assert level.variance > 100 * abs(rest.variance)
    cases['label policy: zeros'] = cases['label policy: ignore'] = 0.1
    found = judge_stability(CLAIM, POLICIES, results(base=0.1, **cases))
    assert found.share == 1 and not found.unstable


def test_what_a_claim_needs():
    passed = dict(holds=True, decided=True)
    content = dict(
        predictability=dict(
            test=passed, unseen={}, subgroups={}, trivial=dict(beaten=True)
        ),
        stability=dict(failing=[], perturbations=2),
    )
    assert judge(check_claim(content)) == 'holds'
    assert judge(check_claim(content), ['a run']) == 'holds so far'
    # what is not known yet does not fail
    predicted = content['predictability']
    predicted['subgroups'] = dict(few=dict(holds=None), many=passed)
    predicted['unseen'] = dict(b=dict(holds=None))
    checks = check_claim(content)
    assert judge(checks) == 'holds'
    assert [c['passed'] for c in checks if 'hospital' in c['what']] == [None]
    content['stability']['failing'] = ['label policy: zeros']
    assert judge(check_claim(content)) == 'holds in part'
    content['predictability']['trivial']['beaten'] = False
    assert judge(check_claim(content)) == 'fails'


@pytest.mark.parametrize('path', SHIPPED, ids=lambda p: p.stem)
def test_shipped_studies(path, tmp_path):
    study = read_study(path)
    study.cases[1:] = study.cases[-1:]
    plan = plan_runs(study, tmp_path)
    assert len({run.folder for run in plan.trainings.values()}) > 2


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ("why='films differ'", "why=' '", 'has no "why"'),
        ("factor='gamma', ", '', 'has no "factor"'),
        ('test=dict(options', 'tset=dict(options', 'tset'),
        ('seeds = [0, 1]', '', 'has no "seeds"'),
        ("better='joint'", "better='both'", 'claim.better'),
        ("than='single'", "than='joint'", 'two arms'),
        ("'phantom_a/cls/AUC'", "'AUC'", 'write DATASET/KIND/METRIC'),
        ("'phantom_a/cls/AUC'", "'phantom_a/cls/Brier'", 'less is better'),
        ("'phantom_a/cls/AUC'", "'phantom_b/cls/AUC'", 'has no task phan'),
        ("unseen = ['phantom_b']", "unseen = ['jsrt']", 'task jsrt/cls'),
        ("columns=['Mass']", '', 'needs a "table"'),
        ('level=0.8', 'level=2', 'level'),
        ("factor='gamma', level='2'", "factor='order', level='reversed'",
         'stands there twice'),
    ],
)  # fmt: skip
def test_wrong_studies_are_refused(study, tmp_path, old, new, message):
    with pytest.raises(UserError, match=message):
        plan_runs(read_study(changed(study, old, new)), tmp_path / 'work')


@pytest.fixture
def run(study, phantom, tmp_path, monkeypatch, capsys):
    """Return a function that runs the tool with stand-ins."""
    path = ROOT / 'tools' / 'analysis_tools' / 'pcs_report.py'
    spec = importlib.util.spec_from_file_location('pcs_report', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, text in (
        ('TRAIN', FAKE_TRAIN),
        ('TEST', FAKE_TEST),
        ('ZERO_SHOT', FAKE_ZERO_SHOT),
    ):
        fake = phantom / f'{name.lower()}.py'
        fake.write_text(text)
        monkeypatch.setattr(module, name, fake)
    monkeypatch.setattr(module, 'write_initial_weights', lambda *_: None)

    def call(*options):
        words = ['x', str(study), '--work-dir', str(tmp_path / 'work')]
        words += options
        monkeypatch.setattr(sys, 'argv', words)
        return module.main(), capsys.readouterr().out

    yield call
    DefaultScope._instance_dict.clear()


def test_report_is_made_up_and_resumed(run, study, tmp_path):
    work = tmp_path / 'work'
    with pytest.raises(UserError, match='No seed of the base is finished'):
        run('--report-only')
    code, out = run()
    assert code == 1 and 'has no results' in out
    content = json.loads((work / 'pcs.json').read_text())
    assert content['predictability']['unseen']['phantom_b']['holds'] is None
    assert 'without phantom_b, joint, seed 0' in content['missing']
    (work / 'fixed').touch()
    code, out = run()
    assert code == 0
    starts = {f.parent: f.read_text() for f in work.rglob('starts')}
    assert starts[work / 'base' / 'joint' / 'seed_0'] == 'x'
    assert starts[work / 'without_phantom_b' / 'joint' / 'seed_0'] == 'xx'
    # base, order and without_phantom_b of joint; base of single
    assert len(starts) == 8
    content = json.loads((work / 'pcs.json').read_text())
    assert content['verdict'] == 'holds in part' and not content['missing']
    predicted, stable = content['predictability'], content['stability']
    assert predicted['test']['difference']['mean'] == pytest.approx(0.45)
    unseen = predicted['unseen']['phantom_b']['difference']
    assert unseen['mean'] == pytest.approx(0.1)
    assert any(g.startswith('Mass = 1 (') for g in predicted['subgroups'])
    assert predicted['trivial']['values']['prevalence'] == 0.5
    assert stable['share'] == 0.5
    (factor,) = stable['depends_on']
    assert factor == dict(factor='gamma', holds_for=['base'], fails_for=['2'])
    assert content['prediction_sets']['pool'] == ['base', 'gamma: 2']
    for sets in content['prediction_sets']['redrawn'].values():
        assert 0.7 < sets['coverage'] <= 1
    joint = content['computability']['arms']['joint']
    assert joint['steps'] == 180 and joint['parameters'] == 1938884
    assert joint['images'] > 8 * joint['steps']
    text = (work / 'pcs.md').read_text()
    assert text in out
    assert '**The claim depends on the gamma**' in text
    assert 'no order is natural' in text
    assert (work / 'pcs.png').stat().st_size > 10_000
    changed(study, "'phantom.counts.train': 30", "'phantom.counts.train': 29")
    with pytest.raises(UserError, match='is another config than'):
        run('--report-only')


def predictions(kind, seed, split):
    metric = metric_of(meta(kind))
    samples = list(samples_of(kind, seed=seed))
    metric.process(None, samples)
    metric.evaluate(len(samples))
    records, values = metric.kept.pop()
    return TaskPredictions(
        meta(kind), 'teacher', split, records, metrics=values
    )


@pytest.mark.parametrize('kind', ['cls', 'loc', 'seg'])
def test_agreement_of_all_kinds(kind):
    task = Task('x', kind, ('a', 'b'))
    runs = [
        Predictions(predictions(kind, s, 'test'), predictions(kind, s, 'val'))
        for s in range(3)
    ]
    assert agreement(task, runs[:1]) is None
    same = agreement(task, [runs[0], runs[0]])
    # boxes without a width overlap nothing, not even themselves
    assert same['value'] == pytest.approx(1, abs=0.1)
    found = agreement(task, runs)
    assert found['value'] < 1 and len(found['images']) == 20
    assert found['runs'] == 3


def test_sets_need_a_validation_split():
    alone = Predictions(predictions('cls', 0, 'test'), None)
    assert prediction_sets({0: [alone]}, 0.9, 2) is None
    assert prediction_sets({}, 0.9, 2) is None


@pytest.mark.parametrize(
    ('name', 'key', 'models'),
    [('phantom_b/loc', 'mAP_40', 2), ('phantom_c/seg', 'Dice_pos', 1)],
)
def test_trivial_models(phantom, name, key, models):
    torch.manual_seed(0)
    cfg = load_config(str(ABLATION / 'foundation-x.py'))
    for entry in cfg.datasets.values():
        entry.data_root = entry.data_root.replace(
            'data/phantom_64', str(phantom)
        )
    task = TaskTable.from_cfg(cfg)[name]
    found = trivial_results(task, key)
    assert len(found) == models
    assert all(0 <= value < 0.6 for value in found.values())
    if name == 'phantom_c/seg':
        with pytest.raises(UserError, match='no metric "AUC"'):
            trivial_results(task, 'AUC')
        assert found['prevalence'] > 0.1
