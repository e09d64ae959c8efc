"""A full disk, and memory over many steps."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.hooks import Hook
from small_run import small_cfg

from fx_mm.config import PlainConfig
from fx_mm.utils.checkpoint import find_checkpoint, load_file
from fx_mm.utils.errors import UserError

REPO = Path(__file__).parents[2]


class FullDisk(Hook):
    """From a pass on, let no file grow beyond what a checkpoint needs.

    The system then refuses to write, as it does on a full disk.
    """

    priority = 'HIGHEST'

    def __init__(self, since, size):
        self.since = since
        self.size = size

    def after_train_epoch(self, runner):
        if runner.epoch + 1 >= self.since:
            limit_files(self.size)


def limit_files(size):
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))


@pytest.fixture
def no_limit_afterwards():
    yield
    limit_files(resource.RLIM_INFINITY)


@pytest.mark.parametrize('best', [None, 'phantom_a/cls/n_classes'])
def test_full_disk_leaves_the_previous_checkpoint(
    make_runner, no_limit_afterwards, best
):
    options = {
        'tasks': ['phantom_a/cls'],
        'train_cfg.max_cycles': 3,
        'cycle.max_batches': 1,
        'default_hooks.checkpoint.save_best': best,
        'default_hooks.checkpoint.rule': 'greater',
        'default_hooks.checkpoint.max_keep_ckpts': 1,
    }
    runner = make_runner(**options)
    runner.register_hook(FullDisk(2, 200_000))
    with pytest.raises(UserError) as caught:
        runner.train()
    assert str(caught.value) == (
        f'{runner.work_dir}/iter_2.pth cannot be written (File too large); '
        'the previous checkpoint iter_1.pth is intact: make room and go on '
        'with --resume.'
    )
    limit_files(resource.RLIM_INFINITY)
    folder = Path(runner.work_dir)
    expected = {'iter_1.pth'}
    if best:
        expected.add('best_phantom_a_cls_n_classes_iter_1.pth')
    assert {f.name for f in folder.glob('*.pth')} == expected
    assert not list(folder.glob('.*tmp'))
    assert load_file(find_checkpoint(folder))['meta']['iter'] == 1

    again = make_runner(resume=True, **options)
    again.train()
    assert load_file(find_checkpoint(folder))['meta']['iter'] == 3


def test_full_disk_before_the_first_checkpoint(
    make_runner, no_limit_afterwards
):
    runner = make_runner(
        **{'tasks': ['phantom_a/cls'], 'cycle.max_batches': 1}
    )
    runner.register_hook(FullDisk(1, 200_000))
    with pytest.raises(UserError, match='there is no checkpoint before it'):
        runner.train()


MEMORY = """
import sys
from mmengine.hooks import Hook
from fx_mm.apis import build_runner, load_config

class Memory(Hook):
    def after_train_iter(self, runner, batch_idx, **kwargs):
        if (runner.iter + 1) % 20 == 0:
            pages = int(open('/proc/self/statm').read().split()[1])
            print('resident', runner.iter + 1, pages, flush=True)

runner = build_runner(load_config(sys.argv[1]))
runner.register_hook(Memory())
runner.train()
"""


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_memory_stays(phantom_root, tmp_path):
    config = tmp_path / 'config.py'
    cfg = small_cfg(
        phantom_root,
        tmp_path / 'work',
        **{
            'train_cfg.max_cycles': 30,
            'train_cfg.val_interval': 8,
            'default_hooks.checkpoint.interval': 8,
            'loader.num_workers': 0,
        },
    )
    cfg.pop('experiment_name')
    config.write_text(PlainConfig(cfg.to_dict()).pretty_text)
    done = subprocess.run(
        [sys.executable, '-c', MEMORY, str(config)],
        env=dict(os.environ, PYTHONPATH=str(REPO), OMP_NUM_THREADS='1'),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    resident = {
        int(words[1]): int(words[2])
        for line in done.stdout.splitlines()
        if (words := line.split())[:1] == ['resident']
    }
    print(resident)
    assert max(resident) >= 500
    late = max(pages for step, pages in resident.items() if step > 100)
    assert late < 1.03 * resident[100]
