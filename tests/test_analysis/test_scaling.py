"""Scaling studies, with stand-ins for training and embedding."""

import csv
import functools
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config

from fx_mm.analysis.embeddings import Embeddings
from fx_mm.analysis.reports import write_scores
from fx_mm.analysis.scaling.runs import FineTuneRun, ProbeRun, plan_runs
from fx_mm.analysis.scaling.study import read_study
from fx_mm.config import load_config
from fx_mm.datasets import TaskDataset
from fx_mm.evaluation.metrics.cls_metric import ClsMetric, ClsRecord
from fx_mm.evaluation.report.predictions import TaskPredictions
from fx_mm.phantom import ensure_phantom
from fx_mm.tasks import TaskTable
from fx_mm.utils.errors import UserError

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / 'configs' / 'studies').glob('scaling_*.py'))
ABLATION = ROOT / 'configs' / 'ablation'
STUDY = """
pretraining = dict(joint={ablation!r} + '/no-lock.py')
sizes = dict(
    small={{'model.student.backbone.embed_dims': 8}},
    large={{'model.student.backbone.embed_dims': 16}},
)
shares = [1.0, 0.2, 0.5]
seeds = [0, 1]
options = {{
    'phantom.root': {root!r}, 'phantom.size': 32,
    'phantom.counts': dict(train=30, val=30, test=30),
    'datasets.phantom_a.data_root': {root!r} + '/easy/hospital_a/',
    'datasets.phantom_b.data_root': {root!r} + '/easy/hospital_b/',
    'datasets.phantom_c.data_root': {root!r} + '/easy/hospital_c/',
}}
downstream = dict(
    lines=dict(
        config={ablation!r} + '/single-task_phantom-b-cls.py',
        how='linear probe',
    ),
    tuned=dict(
        config={ablation!r} + '/single-task_phantom-a-cls.py',
        how='fine-tune',
        images=12,
    ),
)
diversity = dict(datasets=['phantom_a', 'phantom_b'], images=20, size='large')
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
    text = STUDY.format(root=str(phantom), ablation=str(ABLATION))
    file.write_text(text)
    return file


def changed(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return file


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('seeds = [0, 1]', '', 'has no "seeds"'),
        ('seeds = [0, 1]', 'seeds = [0.5]', 'seeds of .* whole number'),
        ('[1.0, 0.2, 0.5]', '[1.0, 0.5, 1.0]', '2 shares and 2 sizes; a'),
        ('[1.0, 0.2, 0.5]', '[1.0, 0.2, 1.5]', 'shares of .* is 1.5'),
        ('seeds =', 'sedes = 1\nseeds =', 'did you mean "seeds"'),
        ('dict(joint=', 'dict(nothing=', 'choose another name'),
        ("'linear probe'", "'probe'", 'use one of linear probe, fine-tune'),
        ('images=12', 'images=0', 'downstream.tuned of .*images is 0'),
        ('images=20', 'images=21', '2 datasets cannot share equally'),
        ("size='large'", "size='huge'", 'use one of small, large'),
        ("['phantom_a', 'phantom_b']", "['phantom_a']", 'at least two'),
        ("'large')", "'large', pretraining=['a'])", 'use one of joint'),
    ],
)
def test_studies_that_make_no_sense(study, old, new, message):
    with pytest.raises(UserError, match=message):
        read_study(changed(study, old, new))


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('single-task_phantom-a-cls', 'no-lock', 'has 4 tasks; a target'),
        ('phantom-b-cls', 'phantom-b-loc', 'a linear probe needs them'),
        ("'phantom_a', 'phantom_b'", "'phantom_a', 'nih14'", 'names "nih14"'),
    ],
)
def test_configs_that_do_not_fit(study, tmp_path, old, new, message):
    with pytest.raises(UserError, match=message):
        plan_runs(read_study(changed(study, old, new)), tmp_path)


def names_of(run):
    """Return the names of a run's training images, by task."""
    return {
        task.name: set(TaskDataset(task, 'train').data_list.column('img_id'))
        for task in TaskTable.from_cfg(load_config(str(run.config)))
    }


def test_data_are_nested_and_shared_by_the_sizes(study, tmp_path):
    plan = plan_runs(read_study(study), tmp_path)
    runs = {tuple(cell): run for cell, run in plan.pretraining.items()}
    assert len(runs) == 2 * 2 * 3 + 3 * 2
    of_seed = []
    for seed in (0, 1):
        shares = [
            names_of(runs['joint', 'small', f'share {share}', seed])
            for share in (0.2, 0.5, 1)
        ]
        of_seed.append(shares[0])
        for task in shares[0]:
            few, more, every = (share[task] for share in shares)
            assert few < more < every and len(few) == 6
        # boxes and labels of the same patients
        assert shares[0]['phantom_b/cls'] == shares[0]['phantom_b/loc']
    assert of_seed[0] != of_seed[1]
    large = runs['joint', 'large', 'share 0.2', 0]
    assert names_of(large) == of_seed[0]
    for name, each in (('phantom_a alone', 20), ('together', 10)):
        found = names_of(runs['joint', 'large', name, 0])
        assert {len(names) for names in found.values()} == {each}
    assert found.keys() == {'phantom_a/cls', 'phantom_b/cls', 'phantom_b/loc'}
    tuned = [run for run in plan.tests.values() if type(run) is FineTuneRun]
    assert len(tuned) == len(runs) + 4
    assert len(names_of(tuned[0])['phantom_a/cls']) == 12


def test_diversity_is_of_the_pretrainings_that_it_names(study, tmp_path):
    other = "other={ablation!r} + '/single-task_phantom-b-cls.py'"
    other = other.format(ablation=str(ABLATION))
    changed(study, "/no-lock.py')", f"/no-lock.py', {other})")
    changed(study, "'large')", "'large', pretraining=['joint'])")
    plan = plan_runs(read_study(study), tmp_path)
    data = {method: set() for method in ('joint', 'other')}
    for method, _, name in plan.configs:
        data[method].add(name)
    shares = {'share 0.2', 'share 0.5', 'share 1'}
    assert data['other'] == shares
    mixtures = {'phantom_a alone', 'phantom_b alone', 'together'}
    assert data['joint'] == shares | mixtures


def skill(run):
    """Return how much better the answers of a run's model are than chance."""
    folder = str(run.folder)
    value = 0.2 + 0.05 * ('/large/' in folder) + 0.01 * run.seed
    if '/untrained/' not in folder:
        value += 0.1 + 0.2 * ('share-0.5' in folder)
        value += 0.4 * ('share-1' in folder) + 0.3 * ('together' in folder)
    return value


def answer(task, run):
    """Return names, labels and scores of the test images of a task."""
    with open(task.ann_file('test')) as file:
        rows = list(csv.reader(file))
    names = [row[0] for row in rows[1:]]
    labels = np.array([row[1:] for row in rows[1:]], float)
    noise = np.random.default_rng(run.seed).random(labels.shape)
    return names, labels, (skill(run) * labels + noise) / 2


@functools.cache
def config_of(file):
    return load_config(str(file))


def pretend(run, tool, initial):
    """Do what a tool would do for a run."""
    words = run.command(tool)
    assert Path(words[1]).name == tool.name and str(run.config) in words
    cfg = config_of(run.config)
    (task, *_) = TaskTable.from_cfg(cfg)
    run.folder.mkdir(parents=True, exist_ok=True)
    # as the Runner does
    (run.folder / run.config.name).write_text('expanded = True')
    if tool.name == 'embed.py':
        trained = 'untrained' not in str(run.folder)
        assert words[3].endswith('iter_7.pth' if trained else '_weights.pth')
        assert trained or Path(words[3]) in initial
        return None
    content = dict(schema_version=2, predict_on='student', tasks={})
    content['metrics'] = dict(student={})
    if isinstance(run, FineTuneRun):
        assert cfg.report == 'test' and cfg.save_predictions
        start = 'None' if 'untrained' in str(run.folder) else 'iter_7.pth'
        assert words[-1].startswith('load_from=')
        assert words[-1].endswith(start)
        metric = ClsMetric()
        metric.dataset_meta = task.meta
        records = [
            ClsRecord(n, truth.astype(np.float32), s.astype(np.float32))
            for n, truth, s in zip(*answer(task, run))
        ]
        TaskPredictions(task.meta, 'student', 'test', records).save(
            run.folder / 'predictions', metric
        )
    else:
        (run.folder / 'iter_7.pth').touch()
        (run.folder / 'last_checkpoint').write_text('iter_7.pth')
    return content


@pytest.fixture
def run_tool(tmp_path, monkeypatch, capsys):
    """Return a function that runs the tool on stand-ins."""
    path = ROOT / 'tools' / 'analysis_tools' / 'scaling_study.py'
    spec = importlib.util.spec_from_file_location('scaling_study', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    initial, broken = [], []

    def sweep(runs, tool, jobs, threads):
        for run in [run for run in runs if not run.finished]:
            if 'together/seed_1/tuned' in str(run.folder) and not broken:
                broken.append(run)
                continue
            if isinstance(run, ProbeRun):
                probe(run)
                continue
            content = pretend(run, tool, initial)
            if content is None:
                embedded(run)
            else:
                run.results.write_text(json.dumps(content))
        return [run for run in runs if not run.finished]

    def embedded(run):
        (task,) = TaskTable.from_cfg(config_of(run.config))
        names, labels, scores = answer(task, run)
        parts = (names, np.full(len(names), 'test'))
        Embeddings(
            *(scores.astype(np.float32), labels, list(task.classes)),
            *(np.array(parts[0]), parts[1], np.full(len(names), task.dataset)),
            *(np.array(names), dict(datasets={task.dataset: task.classes})),
        ).save(run.results)

    def probe(run):
        words = run.command(Path('linear_probe.py'))
        assert words[2] == str(run.training.results)
        found = Embeddings.load(run.training.results)
        write_scores(
            run.folder / 'phantom_b_scores.csv',
            found.names,
            dict(zip(found.classes, found.vectors.T)),
            dict(zip(found.classes, found.labels.T)),
        )
        run.results.write_text('{}')

    def weights(cfg, seed, file, runs):
        initial.append(file)

    monkeypatch.setattr(module, 'sweep', sweep)
    monkeypatch.setattr(module, 'write_initial_weights', weights)

    def call(study, *options):
        work = tmp_path / 'work'
        words = [study, '--work-dir', work, '--resamples', 100, *options]
        monkeypatch.setattr(sys, 'argv', ['x', *map(str, words)])
        code = module.main()
        return code, capsys.readouterr().out, work

    return call


def test_a_study_is_made_up_and_resumed(run_tool, study):
    with pytest.raises(UserError, match='No run of the study is finished'):
        run_tool(study, '--report-only')
    code, out, _ = run_tool(study)
    assert code == 1 and 'together/seed_1/tuned has no results' in out
    code, out, work = run_tool(study)
    assert code == 0 and (work / 'scaling.png').stat().st_size > 20000
    assert out.startswith((work / 'scaling.md').read_text())
    content = json.loads((work / 'scaling.json').read_text())
    assert content['images']['joint'] == {
        **{'share 0.2': 18, 'share 0.5': 45, 'share 1': 90},
        **{'phantom_a alone': 20, 'phantom_b alone': 20, 'together': 20},
    }
    small, large = content['parameters'].values()
    assert 3 * small < large < 5 * small
    results = {
        (each['target'], each['size'], each['data'], each['method']): each
        for each in content['results']
    }
    for target in ('lines', 'tuned'):
        fits = [e for e in content['fits'] if e['target'] == target]
        # two sizes are no curve
        assert [(e['along'], e['at']) for e in fits] == [
            ('images', 'small'),
            ('images', 'large'),
        ]
        own = [
            results[target, 'large', f'share {share}', 'joint']
            for share in ('0.2', '0.5', '1')
        ]
        errors = np.array([[1 - v for v in e['seeds'].values()] for e in own])
        slope, _ = np.polyfit(
            np.log([18, 45, 90]), np.log(errors).mean(axis=1), 1
        )
        exponent = fits[1]['exponent']
        assert exponent['value'] == pytest.approx(-slope)
        assert slope < 0
        assert exponent['low'] < exponent['value'] < exponent['high']
        nothing = results[target, 'large', '', 'nothing']
        assert nothing['gain'] is None
        gain = own[-1]['gain']
        pairs = [own[-1]['seeds'][s] - nothing['seeds'][s] for s in ('0', '1')]
        assert gain['value'] == pytest.approx(np.mean(pairs))
        assert np.mean(pairs) > 0
        (extra,) = [e for e in content['diversity'] if e['target'] == target]
        alone = [
            results[target, 'large', f'{name} alone', 'joint']['metric']
            for name in ('phantom_a', 'phantom_b')
        ]
        mixed = results[target, 'large', 'together', 'joint']['metric']
        assert extra['difference']['value'] == pytest.approx(
            mixed['value'] - np.mean([each['value'] for each in alone])
        )
    # a config that is not what the runs had
    changed(study, "'phantom.size': 32", "'log_level': 'ERROR'")
    with pytest.raises(UserError, match='is another config than'):
        run_tool(study)


@pytest.mark.parametrize('file', SHIPPED, ids=lambda file: file.stem)
def test_shipped_study(file, tmp_path):
    study = read_study(file)
    assert len(study.sizes) == 3 and len(study.seeds) >= 3
    del study.seeds[1:]
    plan = plan_runs(study, tmp_path)
    hows = [t.how for t in study.downstream.values()]
    assert 'linear probe' in hows and 'fine-tune' in hows
    # as many steps whatever the share
    for (_, _, data), cfg in plan.configs.items():
        assert isinstance(cfg, Config)
        if data.startswith('share'):
            assert cfg.cycle.min_batches >= 20
        # what a mixture does not train it does not test
        assert {*(cfg.test_cfg.get('tasks') or ())} <= {*cfg.tasks}
