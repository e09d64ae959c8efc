"""A training by two processes, compared with that by one."""

import os
import subprocess
import sys
from pathlib import Path

import torch

from fx_mm.config import PlainConfig
from fx_mm.utils.checkpoint import find_checkpoint, load_file


def train_in_two(cfg, folder):
    """Train a config by two processes, and return the last weights.

    Args:
        cfg (Config): The config.
        folder (Path): Where it is written.
    """
    config = folder / 'config.py'
    config.write_text(PlainConfig(cfg.to_dict()).pretty_text)
    done = subprocess.run(
        [
            *(sys.executable, '-m', 'torch.distributed.run', '--standalone'),
            *('--nproc_per_node=2', 'tools/train.py', config),
            *('--launcher', 'pytorch'),
        ],
        cwd=Path(__file__).parents[2],
        env=dict(os.environ, OMP_NUM_THREADS='1'),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return load_file(find_checkpoint(cfg.work_dir))['state_dict']


def check_two_equal_one(cfg, one, folder):
    """Train ``cfg``, of ``folder / 'two'``, twice over; ``one`` is the run."""
    found = train_in_two(cfg, folder)
    wanted = load_file(find_checkpoint(one.work_dir))['state_dict']
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(
            found[name], value, atol=1e-5, rtol=1e-4, msg=name
        )
