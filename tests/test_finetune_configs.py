"""Fine-tuning configs: complete, and runnable on phantom twins."""

import itertools
import json
import math
from pathlib import Path

import pytest
import torch
import yaml
from dino_options import dino_options

from fx_mm.apis import build_runner, dry_run, load_config
from fx_mm.datasets.samplers.pass_schedule import plan_cycle
from fx_mm.engine.start_summary import start_summary
from fx_mm.phantom import write_raw
from fx_mm.preparation import prepare
from fx_mm.tasks import MEAN, Task, TaskTable, task_of
from fx_mm.utils.checkpoint import find_checkpoint, load_file
from fx_mm.utils.errors import UserError

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / 'configs' / 'finetune'
PREFIX = 'foundation-x_swin-b_'
STUDY = 'foundation-x_tiny_jsrt'
STUDIES = {STUDY, f'{STUDY}_heads', f'{STUDY}_lora', f'{STUDY}_mixture'}
COMPARED = ('datasets', 'tasks', 'task_defaults', 'model', 'cycle')
ADAPTERS = {'jsrt_lora': ['jsrt/seg']}
_names = itertools.count()
TASKS = {
    'vindr-organs': ['vindr_organs/loc', 'vindr_organs/seg'],
    'vindr-findings': ['vindr_findings/loc'],
    'candid-ptx': ['candid_ptx/cls'],
    'jsrt': ['jsrt/seg'],
    'montgomery': ['montgomery/seg'],
    'vindr-ribcxr': ['vindr_ribcxr/seg'],
}
TINY = {
    'model.student.backbone.embed_dims': 16,
    'model.student.backbone.depths': (1, 1, 1, 1),
    'model.student.backbone.num_heads': (1, 2, 4, 8),
    **dino_options('model.student.localization', 32),
    'model.student.segmentation.decoder.channels': 16,
    'model.student.segmentation.decoder.pool_channels': 16,
    'model.student.segmentation.decoder.ppm_channels': 16,
    'task_defaults.cls.img_size': 64,
    'task_defaults.loc.img_size': 64,
    'task_defaults.seg.img_size': 64,
    'task_defaults.cls.batch_size': 2,
    'task_defaults.loc.batch_size': 2,
    'task_defaults.seg.batch_size': 2,
    'cycle.min_batches': 3,
    'cycle.max_batches': 4,
    'train_cfg.max_cycles': 1,
    'loader.num_workers': 0,
    'log_level': 'WARNING',
}


def path_of(target):
    return str(FOLDER / f'{PREFIX}{target}.py')


@pytest.fixture
def make(tmp_path):
    """Return a target's config, tiny, on a data root."""

    def call(target, data_root, **options):
        options = {k.replace('__', '.'): v for k, v in options.items()}
        cfg = load_config(path_of(target), {**TINY, **options}, str(data_root))
        name = f'{target}_{next(_names)}'
        cfg.work_dir = str(tmp_path / name)
        cfg.experiment_name = name
        return cfg

    return call


@pytest.fixture(scope='module')
def twin(tmp_path_factory):
    """Return the data root of prepared phantoms, drawn on demand."""
    root = tmp_path_factory.mktemp('data')

    def call(name, images=30):
        if not any(root.glob(f'*/prepared/{name}.manifest.json')):
            write_raw(name, root, images, 64)
            prepare(name, data_root=str(root), workers=1, seed=2)
        return root

    return call


def test_files_are_those_that_are_documented():
    files = {file.stem for file in FOLDER.glob('*.py')}
    targets = TASKS | ADAPTERS
    assert files == {f'{PREFIX}{name}' for name in targets} | STUDIES
    metafile = yaml.safe_load((FOLDER / 'metafile.yml').read_text())
    named = {model['Config']: model['Name'] for model in metafile['Models']}
    assert named == {f'configs/finetune/{name}.py': name for name in files}
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']
    assert 'configs/finetune/metafile.yml' in index
    readme = (FOLDER / 'README.md').read_text()
    assert all(f'`{name}.py`' in readme for name in STUDIES)
    for name in targets:
        cfg = load_config(path_of(name))
        table = TaskTable.from_cfg(cfg)
        assert table.names == targets[name]
        sizes, cycles = set(table.batch_sizes.values()), cfg.train_cfg
        (row,) = (
            x for x in readme.splitlines() if f'`{PREFIX}{name}.py`' in x
        )
        assert row.endswith(f'| {sizes.pop()}, {cycles.max_cycles} |')
        best = cfg.default_hooks.checkpoint.save_best
        of = targets[name] if best == MEAN else [task_of(best)]
        assert of == targets[name]


def test_modes():
    tasks = [Task('a', 'cls', ('A',)), Task('a', 'loc', ('A',))]
    plan = {
        lock: [tuple(entry) for entry in plan_cycle(tasks, lock)]
        for lock in ('none', 'heads', 'paper')
    }
    assert plan['none'] == [(task.name, 'release') for task in tasks]
    assert plan['heads'] == [(task.name, 'lock') for task in tasks]
    assert plan['paper'][-2:] == [('a/loc', 'lock'), ('a/loc', 'release')]


def test_start_weights_are_asked_for(make, twin):
    cfg = make('jsrt', twin('jsrt'))
    with pytest.raises(UserError, match='load_from is "checkpoints/founda'):
        build_runner(cfg)


@pytest.fixture(scope='module')
def start(tmp_path_factory, twin):
    """A checkpoint that has masks of another dataset and the clavicle's."""
    root = twin('jsrt')
    file = tmp_path_factory.mktemp('start') / 'start.pth'
    cfg = load_config(path_of('jsrt'), TINY, str(root))
    cfg.load_from = None
    cfg.work_dir = str(file.parent)
    cfg.experiment_name = 'start'
    jsrt = cfg.datasets.pop('jsrt')
    cfg.datasets.elsewhere = jsrt
    cfg.default_hooks.checkpoint.save_best = None
    runner = build_runner(cfg)
    runner.init_model_weights()
    torch.save(
        dict(state_dict=runner.model.student.state_dict(), meta={}), file
    )
    return str(file)


@pytest.mark.parametrize('lock', ['none', 'heads', 'paper'])
def test_what_learns(make, twin, start, lock):
    """Few images; the shared parts come from the start, the head is new."""
    cfg = make(
        'jsrt',
        twin('jsrt'),
        load_from=start,
        cycle__lock=lock,
        datasets__jsrt__tasks__seg__few_shot=dict(n=3),
        datasets__jsrt__tasks__seg__classes=['Clavicle'],
        val_cfg=None,
        default_hooks__checkpoint__save_best=None,
    )
    runner = build_runner(cfg)
    assert len(runner.train_dataloader.dataset) == 3
    passes = {'none': [3], 'heads': [3], 'paper': [1, 3]}[lock]
    assert runner.train_loop.schedule.lengths == passes
    runner.train()
    before = load_file(start)['state_dict']
    after = runner.model.student.state_dict()
    assert 'segmentation.heads.elsewhere.weight' in before
    assert not any('elsewhere' in name for name in after)
    shared = [name for name in after if name in before]
    assert len(shared) > 100
    moved = [n for n in shared if not torch.equal(before[n], after[n])]
    assert bool(moved) == (lock != 'heads')
    teacher = runner.model.teacher.state_dict()
    assert all(torch.equal(value, teacher[n]) for n, value in after.items())


def test_an_adapter_learns_beside_the_start(make, twin, start):
    cfg = make(
        'jsrt_lora',
        twin('jsrt'),
        load_from=start,
        val_cfg=None,
        default_hooks__checkpoint__save_best=None,
    )
    runner = build_runner(cfg)
    assert 'adapter of rank 8 on 8 layers' in start_summary(runner)
    runner.train()
    before = load_file(start)['state_dict']
    after = runner.model.student.state_dict()
    kept = [name for name in before if name in after]
    assert all(torch.equal(before[name], after[name]) for name in kept)
    saved = load_file(find_checkpoint(cfg.work_dir))['state_dict']
    owners = {name.split('.')[1] for name in saved}
    assert owners == {'adapter', 'segmentation'}
    assert not any('decoder' in name for name in saved)


def test_dry_run_on_a_twin(make, twin):
    runner = build_runner(
        make('montgomery', twin('montgomery'), load_from=None)
    )
    text = dry_run(runner)
    assert 'montgomery/seg' in text and '4 steps' in text


def test_the_study_compares_equal_runs():
    """The model of the pretraining, and no selection."""
    study = load_config(str(FOLDER / f'{STUDY}.py'))
    for name in STUDIES - {STUDY}:
        other = load_config(str(FOLDER / f'{name}.py'))
        other.model.student.pop('adapter', None)
        other.cycle.lock = study.cycle.lock
        for key in COMPARED:
            assert other[key] == study[key], (name, key)
    base = load_config(str(ROOT / 'configs' / 'ablation' / 'foundation-x.py'))
    assert study.model.student == base.model.student
    assert study.val_cfg is None and study.report == 'test'
    assert study.load_from is None and study.phantom is None
    assert TaskTable.from_cfg(study).names == ['jsrt/seg']


@pytest.mark.slow
@pytest.mark.parametrize('target', TASKS)
@pytest.mark.parametrize('lock', ['none', 'heads', 'paper'])
def test_trains_on_its_twin(make, twin, target, lock):
    (dataset,) = {task.rsplit('/', 1)[0] for task in TASKS[target]}
    # boxes are rare: enough images that each part has some
    root = twin(dataset, 60)
    if lock == 'paper' and target == 'candid-ptx':
        lock = 'plus'
    cfg = make(target, root, load_from=None, cycle__lock=lock)
    runner = build_runner(cfg)
    runner.train()
    results = json.loads((Path(cfg.work_dir) / 'results.json').read_text())
    assert set(TASKS[target]) <= set(results['tasks'])
    assert all(
        math.isfinite(p.abs().sum().item())
        for p in runner.model.student.parameters()
    )
