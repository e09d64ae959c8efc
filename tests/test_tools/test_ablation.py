"""The ablation tool: equal beginnings, resuming, statistics and picture."""

import importlib.util
import json
import math
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from scipy import stats

from fx_mm.analysis.sweep import Run, sweep, write_initial_weights
from fx_mm.apis import build_runner, expand_config, load_config
from fx_mm.config import FederatedPlan
from fx_mm.datasets.samplers.pass_schedule import plan_cycle
from fx_mm.evaluation.report.variant_comparison import (
    VariantComparison,
    paired_difference,
    read_headlines,
    spread,
)
from fx_mm.tasks import TaskTable, split_name
from fx_mm.utils.checkpoint import load_file
from fx_mm.utils.errors import UserError
from fx_mm.visualization.variant_plot import plot_variants

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / 'configs' / 'ablation'
BASE = CONFIGS / 'foundation-x.py'
FILES = sorted(CONFIGS.glob('*.py'))
SINGLES = sorted(CONFIGS.glob('single-task_*.py'))
STUDY = ROOT / 'configs/federated/study'
FAKE_TRAIN = """
import json, sys
from pathlib import Path
args = sys.argv[1:]
name, folder = Path(args[0]).stem, Path(args[args.index('--work-dir') + 1])
seed = int(next(a for a in args if a.startswith('randomness.seed'))[-1])
assert '--resume' in args
assert any(a.startswith('load_from=') for a in args)
with open(folder / 'starts', 'a') as file:
    file.write('x')
if name == 'no-lock' and seed == 1 and not (folder / 'fixed').exists():
    sys.exit('broken on purpose')
value = dict(zip(['foundation-x', 'no-lock'], [0.8, 0.7]))[name] + seed / 100
tasks = {'phantom_a/cls': dict(kind='cls', class_groups={})}
metrics = {'teacher': {'phantom_a/cls': dict(AUC=value, n_classes=6.0)}}
content = dict(schema_version=2, tasks=tasks, metrics=metrics)
content = json.dumps(dict(content, predict_on='teacher'))
(folder / 'results.json').write_text(content)
"""


@pytest.fixture
def tool():
    path = ROOT / 'tools' / 'analysis_tools' / 'ablation.py'
    spec = importlib.util.spec_from_file_location('ablation', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(tool, tmp_path, monkeypatch, capsys):
    """Return a function that runs the tool with a stand-in for training."""
    fake = tmp_path / 'train.py'
    fake.write_text(FAKE_TRAIN)
    monkeypatch.setattr(tool, 'TRAIN', fake)

    def call(*args):
        words = ['--configs', BASE, CONFIGS / 'no-lock.py', '--seeds', 0, 1]
        words += ['--work-dir', tmp_path / 'work', *args]
        monkeypatch.setattr(sys, 'argv', ['ablation.py', *map(str, words)])
        return tool.main(), capsys.readouterr().out

    return call


def steps_by_task(path):
    """Count the planned steps of each task, lock passes included."""
    cfg = load_config(str(path))
    caps, share = cfg.cycle.max_batches, cfg.cycle.lock_data_ratio
    steps = dict.fromkeys(cfg.tasks, 0)
    for entry in plan_cycle(TaskTable.from_cfg(cfg), cfg.cycle.lock):
        length = caps[split_name(entry.task)[1]]
        if entry.mode != 'release':
            length = int(length * share)
        steps[entry.task] += cfg.train_cfg.max_cycles * length
    return steps


@pytest.mark.parametrize('path', FILES, ids=lambda f: f.stem)
def test_variants_share_data_and_steps(path):
    base, cfg = (load_config(str(p)) for p in (BASE, path))
    assert cfg.datasets == base.datasets
    assert cfg.phantom == base.phantom
    assert cfg.report == 'test'
    wanted = steps_by_task(BASE)
    assert steps_by_task(path) == {task: wanted[task] for task in cfg.tasks}
    expand_config(cfg)


def test_single_tasks_cover_the_base():
    tasks = [load_config(str(path)).tasks for path in SINGLES]
    assert all(len(each) == 1 for each in tasks)
    assert {each[0] for each in tasks} == set(load_config(str(BASE)).tasks)


def test_federated_study_shares_data_and_steps():
    central = STUDY / 'central.py'
    base, wanted = load_config(str(central)), steps_by_task(central)
    found = set()
    for path in STUDY.glob('*.py'):
        cfg = load_config(str(path))
        assert (cfg.datasets, cfg.phantom) == (base.datasets, base.phantom)
        steps = steps_by_task(path)
        assert steps == {task: wanted[task] for task in cfg.tasks}
        if path.stem.startswith('local_'):
            found |= set(cfg.tasks)
        if cfg.get('federated'):
            assert sum(FederatedPlan(cfg).sites.values(), []) == base.tasks
    assert found == set(base.tasks)


def test_federated_configs_are_simulated(tool, tmp_path, monkeypatch):
    configs = [str(STUDY / f'{name}.py') for name in ('fedavg', 'central')]
    words = ['ablation.py', '--configs', *configs, '--seeds', '3']
    words += ['--work-dir', str(tmp_path)]
    monkeypatch.setattr(sys, 'argv', words)
    fedavg, central = tool.plan(tool.parse_args())
    assert fedavg.command('train.py')[1].endswith('federated/simulate.py')
    assert Path(fedavg.command('train.py')[1]).is_file()
    assert central.command('train.py')[1] == 'train.py'
    monkeypatch.setattr(sys, 'argv', [*words, '--split', 'val'])
    with pytest.raises(UserError, match='fedavg.py is federated'):
        tool.plan(tool.parse_args())


@pytest.mark.slow
def test_variants_start_with_equal_weights(tmp_path):
    options = {
        'phantom.root': str(tmp_path / 'data'),
        'phantom.counts': dict(train=32, val=1, test=1),
        'log_level': 'ERROR',
    }
    for name in 'abc':
        folder = tmp_path / 'data' / 'easy' / f'hospital_{name}'
        options[f'datasets.phantom_{name}.data_root'] = f'{folder}/'
    files = [tmp_path / f'seed_{seed}.pth' for seed in (0, 1)]
    for seed, file in enumerate(files):
        base = load_config(str(BASE), options)
        write_initial_weights(base, seed, file, tmp_path)
    saved = load_file(files[1])['state_dict']
    other = load_file(files[0])['state_dict']
    conv = 'backbone.patch_embed.projection.weight'
    assert not torch.equal(saved[conv], other[conv])

    for name in (
        'foundation-x',
        'no-lock',
        'shared-decoder',
        SINGLES[-1].stem,
    ):
        path = CONFIGS / f'{name}.py'
        cfg = load_config(str(path), options)
        cfg.load_from = str(files[1])
        cfg.randomness.seed = 1
        cfg.work_dir = str(tmp_path / name)
        cfg.experiment_name = f'ablation_{name}'
        runner = build_runner(cfg)
        runner.init_model_weights()
        runner.load_or_resume()
        for owner in (runner.model.student, runner.model.teacher):
            state = owner.state_dict()
            shared = [key for key in state if key in saved]
            assert sum(key.startswith('backbone.') for key in shared) > 50
            assert all(torch.equal(state[key], saved[key]) for key in shared)
            if name in ('foundation-x', 'no-lock'):
                assert len(shared) == len(state) == len(saved)


def test_broken_runs_are_named_and_made_up(run, tmp_path):
    work = tmp_path / 'work'
    code, out = run()
    assert code == 1
    assert 'FAILED, see' in out
    log = work / 'no-lock' / 'seed_1' / 'run.log'
    assert f'no-lock.py seed 1 has no results: see {log}' in out
    assert 'broken on purpose' in log.read_text()
    assert '[1/4] foundation-x seed 0' in out
    assert '[4/4] no-lock seed 1' in out
    assert '| phantom_a/cls/AUC | 0.805 ± 0.007 | 0.700 ± n/a (1) |' in out

    (work / 'no-lock' / 'seed_1' / 'fixed').touch()
    code, out = run('--jobs', 2)
    assert code == 0
    assert '4 runs, 3 of them finished; 2 at a time' in out
    starts = {f.parent: f.read_text() for f in work.glob('*/*/starts')}
    assert starts.pop(log.parent) == 'xx'
    assert set(starts.values()) == {'x'}
    content = json.loads((work / 'ablation.json').read_text())
    entry = content['variants']['no-lock']['phantom_a/cls/AUC']
    assert entry['difference']['mean'] == pytest.approx(-0.1)
    assert entry['difference']['n'] == 2
    assert content['base'] == 'foundation-x'
    assert '-0.100' in (work / 'ablation.md').read_text()
    assert (work / 'ablation.png').stat().st_size > 1000


def test_an_interruption_stops_the_processes(tmp_path, capsys):
    """They may write their checkpoint, and nothing else is started."""
    fake = tmp_path / 'train.py'
    fake.write_text(
        'import signal, sys, time\n'
        'from pathlib import Path\n'
        "folder = Path(sys.argv[sys.argv.index('--work-dir') + 1])\n"
        'def stop(*args):\n'
        "    (folder / 'iter_1.pth').touch()\n"
        '    sys.exit()\n'
        'signal.signal(signal.SIGTERM, stop)\n'
        "(folder / 'started').touch()\n"
        'time.sleep(60)\n'
    )
    runs = [Run(BASE, seed, tmp_path / f'seed_{seed}', 'x') for seed in (0, 1)]

    def interrupt():
        while not (runs[0].folder / 'started').exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        sweep(runs, fake)
    assert 'Stopped; the same command continues.' in capsys.readouterr().out
    assert (runs[0].folder / 'iter_1.pth').exists()
    assert not (runs[1].folder / 'started').exists()
    assert signal.getsignal(signal.SIGTERM) is before


def test_another_config_in_the_same_folder_is_refused(run):
    run()
    with pytest.raises(UserError, match='was run with another config'):
        run('--cfg-options', 'train_cfg.max_cycles=3')


def test_what_the_tool_chooses_is_not_for_options(run):
    with pytest.raises(UserError, match='sets randomness.seed'):
        run('--cfg-options', 'randomness.seed=7')


def test_results_of_another_split_are_refused(run):
    with pytest.raises(UserError, match='has no report="test"'):
        run('--cfg-options', 'report=val')


def test_interval_is_that_of_the_paired_t_test():
    ours = {0: 0.8, 1: 0.7, 2: 0.9, 3: 0.75, 9: 0.1}
    base = {0: 0.7, 1: 0.72, 2: 0.8, 3: 0.7, 8: 0.3}
    test = stats.ttest_rel(
        [ours[s] for s in range(4)], [base[s] for s in range(4)]
    ).confidence_interval(0.95)
    found = paired_difference(ours, base)
    assert found.n == 4
    assert found.low == pytest.approx(test.low)
    assert found.high == pytest.approx(test.high)
    one = paired_difference({0: 1.0}, {0: 0.5})
    assert (one.mean, one.n) == (0.5, 1)
    assert math.isnan(one.low)
    none = paired_difference({}, {0: 0.5})
    assert none.n == 0
    assert math.isnan(none.mean)
    assert spread([]).n == 0


def test_means_and_missing_parts(tmp_path):
    comparison = VariantComparison('base')
    for seed in (0, 1, 2):
        for variant, gain in (('base', 0.0), ('other', 0.1)):
            headlines = {
                'a/cls/AUC': 0.5 + seed / 10 + gain,
                'b/cls/AUC': 0.6,
                'c/seg/Dice_pos': 0.7,
            }
            if variant == 'other':
                headlines.pop('c/seg/Dice_pos')
            if (variant, seed) == ('other', 2):
                headlines.pop('b/cls/AUC')
            comparison.add(variant, seed, headlines)
    assert comparison.metrics == [
        'mean AUC',
        'a/cls/AUC',
        'b/cls/AUC',
        'c/seg/Dice_pos',
    ]
    assert comparison.values('other', 'mean AUC') == {
        0: pytest.approx(0.6),
        1: pytest.approx(0.65),
    }
    change = comparison.difference('other', 'a/cls/AUC')
    assert (change.n, change.mean) == (3, pytest.approx(0.1))
    text = comparison.markdown()
    assert '| c/seg/Dice_pos | n/a |' in text
    assert 'n = 3 seeds' in text
    assert plot_variants(comparison, tmp_path / 'a.png').is_file()
    alone = VariantComparison('base')
    alone.add('base', 0, {'a/cls/AUC': 0.5})
    assert 'Difference' not in alone.markdown()
    assert plot_variants(alone, tmp_path / 'b.png').is_file()


def test_headlines(tmp_path):
    file = tmp_path / 'results.json'
    with pytest.raises(UserError, match='is not a results.json'):
        read_headlines(file)
    seg = {'Dice_pos': 0.5, 'Dice_pos/organs': 0.9, 'Dice': 0.7}
    content = dict(
        schema_version=2,
        tasks={
            'c/seg': dict(class_groups=dict(organs=['Heart'])),
            'c/loc': dict(class_groups={}),
        },
        predict_on='student',
        metrics={
            'teacher': {'c/seg': dict(Dice_pos=0.1)},
            'student': {'c/seg': seg, 'c/loc': dict(mAP_40=None)},
        },
    )
    file.write_text(json.dumps(content))
    assert read_headlines(file) == {
        'c/seg/Dice_pos': 0.5,
        'c/seg/Dice_pos/organs': 0.9,
    }
    del content['metrics']['student']
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match='is not a results.json'):
        read_headlines(file)
