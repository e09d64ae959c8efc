"""Runs with what differs by task kind: stopped, resumed, in mixed orders."""

import pytest
import torch
from small_run import small_cfg
from two_processes import check_two_equal_one

from fx_mm.apis import build_runner
from fx_mm.models import load_model
from fx_mm.utils.checkpoint import find_checkpoint, load_file
from fx_mm.utils.errors import UserError

TASKS = ['phantom_a/cls', 'phantom_b/loc', 'phantom_c/seg']
BY_KIND = {
    'optim_wrapper.state_by_kind': True,
    'model.consistency_weight': dict(
        _delete_=True, cls=0.5, loc=0.0, seg=0.25
    ),
    'custom_hooks': [
        dict(type='LockReleaseHook'),
        dict(type='MeanTeacherHook', decay=dict(cls=0.5, loc=0.7, seg=0.9)),
    ],
}
CHOICES = {
    'norms': {**BY_KIND, 'model.student.adapter': dict(type='KindNorms')},
    'low rank': {
        **BY_KIND,
        'model.student.adapter': dict(type='KindLoRA', rank=2),
    },
    'surgery': {
        'optim_wrapper.aggregator': 'PCGrad',
        'optim_wrapper.accumulative_counts': 3,
        'cycle.order': 'concurrent',
    },
}


@pytest.fixture
def make(phantom_root, tmp_path):
    def call(name, resume=False, **options):
        cfg = small_cfg(
            phantom_root,
            tmp_path / name,
            **{
                'tasks': TASKS,
                'cycle.max_batches': 2,
                'val_cfg': None,
                'test_cfg': None,
                **options,
            },
        )
        return build_runner(cfg, resume=resume)

    return call


def flatten(value):
    """All tensors of nested dicts and lists, and numbers, in order."""
    if isinstance(value, dict):
        return [
            x for key in sorted(value, key=str) for x in flatten(value[key])
        ]
    if isinstance(value, list | tuple):
        return [x for each in value for x in flatten(each)]
    return [torch.as_tensor(value)] if not isinstance(value, str) else []


def clean(state):
    """Without None, which is no tensor."""
    if isinstance(state, dict):
        return {k: clean(v) for k, v in state.items() if v is not None}
    if isinstance(state, list | tuple):
        return [clean(v) for v in state]
    return state


@pytest.mark.slow
@pytest.mark.parametrize('choice', CHOICES)
def test_a_stopped_run_goes_on_to_the_bit(make, choice):
    options = CHOICES[choice]
    whole = make('whole', **options)
    whole.train()
    make('cut', **options, **{'train_cfg.max_cycles': 1}).train()
    resumed = make('cut', resume=True, **options)
    resumed.train()
    files = [find_checkpoint(r.work_dir) for r in (whole, resumed)]
    ours, theirs = map(load_file, files)
    for part in ('state_dict', 'optimizer'):
        one, other = (flatten(clean(x[part])) for x in (ours, theirs))
        assert len(one) == len(other) > 100
        assert all(map(torch.equal, one, other)), part
    model = load_model(whole.cfg, files[0])
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name


@pytest.mark.slow
def test_an_unlike_config_does_not_go_on(make):
    make('cut', **{'train_cfg.max_cycles': 1}).train()
    with pytest.raises(UserError, match='differ in optim_wrapper.state_by_k'):
        make('cut', True, **{'optim_wrapper.state_by_kind': True}).train()


@pytest.mark.slow
def test_norms_are_not_left_out_in_silence(make):
    norms = {'model.student.adapter': dict(type='KindNorms')}
    run = make('norms', **norms, **{'train_cfg.max_cycles': 1})
    run.train()
    file = find_checkpoint(run.work_dir)
    with pytest.raises(UserError, match='cannot be merged into one backbone'):
        make('plain', load_from=file).load_or_resume()
    adapter = {'model.student.adapter': dict(type='LoRA')}
    with pytest.raises(UserError, match='cannot be merged into one backbone'):
        make('onto', load_from=file, **adapter).load_or_resume()
    make('again', load_from=file, **norms).load_or_resume()


@pytest.mark.slow
@pytest.mark.parametrize('choice', ['norms', 'surgery'])
def test_two_processes_train_what_one_does(
    make, phantom_root, tmp_path, choice
):
    options = {
        **CHOICES[choice],
        'tasks': ['phantom_b/cls', 'phantom_c/seg'],
        'cycle.max_batches': 3,
        'cycle.lock': 'none',
        'val_cfg': None,
        'test_cfg': None,
        'loader.num_workers': 0,
        'model.student.backbone.drop_path_rate': 0.0,
        # a batch norm, of each process's own batch
        'model.student.classification.head_norm': False,
        'optim_wrapper.amp_dtype': None,
        'optim_wrapper.optimizer.type': 'SGD',
        'optim_wrapper.optimizer.fused': False,
    }
    one = make('one', **options)
    one.train()
    cfg = small_cfg(phantom_root, tmp_path / 'two', **options)
    cfg.launcher = 'pytorch'
    for entry in cfg.task_defaults.values():
        entry.batch_size = 2
    check_two_equal_one(cfg, one, tmp_path)
