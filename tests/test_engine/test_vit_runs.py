"""The demo on a vision transformer, cut to seconds."""

import os
import signal

import pytest
import torch
from small_run import REPO, Watcher, small_cfg

from fx_mm.apis import build_runner
from fx_mm.utils.checkpoint import find_checkpoint, load_file

pytestmark = pytest.mark.slow
CONFIG = REPO / 'configs/phantom/foundation-x_tiny-vit_phantom.py'
TASKS = ['phantom_a/cls', 'phantom_b/loc', 'phantom_c/seg']
ROTARY = dict(
    _delete_=True,
    type='RotaryViT',
    arch=dict(
        embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=48
    ),
    img_size=64,
    drop_path_rate=0.1,
)
PLAIN = dict(arch=dict(num_layers=2))
POSITIONS = 'backbone.vit.pos_embed'
STOP_AT = 7


@pytest.fixture(scope='module', params=[PLAIN, ROTARY], ids=['plain', 'eva'])
def make(phantom_root, tmp_path_factory, request):
    folder = tmp_path_factory.mktemp('vit')

    def make(work, resume=False):
        options = {'tasks': TASKS, 'test_cfg': None}
        options['model.student.backbone.vit'] = request.param
        cfg = small_cfg(phantom_root, folder / work, CONFIG, **options)
        return build_runner(cfg, resume=resume)

    return make


def final(runner):
    return load_file(find_checkpoint(runner.work_dir))['state_dict']


def test_it_trains_locks_and_goes_on_to_the_bit(make):
    whole = make('whole')
    locked = set()

    def watch(runner):
        _, mode = runner.train_loop.current_pass
        weights = dict(runner.model.student.named_parameters())
        locked.add((mode, weights[POSITIONS].requires_grad))

    def kick(runner):
        if runner.iter + 1 == STOP_AT:
            os.kill(os.getpid(), signal.SIGTERM)

    whole.register_hook(Watcher(watch))
    whole.train()
    assert locked == {('lock', False), ('release', True)}
    state = final(whole)
    student, teacher = (
        state[f'{half}.{POSITIONS}'] for half in ('student', 'teacher')
    )
    assert not torch.equal(student, teacher)

    cut = make('cut')
    cut.register_hook(Watcher(kick))
    cut.train()
    assert cut.iter == STOP_AT
    resumed = make('cut', resume=True)
    resumed.train()
    found = final(resumed)
    assert found.keys() == state.keys()
    assert not [k for k in state if not torch.equal(state[k], found[k])]
