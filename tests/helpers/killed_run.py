"""A training that tells where it is: ``killed_run.py CONFIG WORK WORKERS``.

Appends a word to ``WORK/phases`` whenever it begins an iteration (``lock`` or
``release``), a batch of the validation (``val``), or has written a checkpoint
that is not in its place yet (``save``).
"""

import os
import sys
import time
from pathlib import Path

from mmengine.hooks import Hook

from fx_mm.apis import build_runner, load_config
from fx_mm.utils import files


class Phases(Hook):
    """Write down where the run is."""

    def __init__(self, file):
        self.file = file

    def tell(self, phase):
        with self.file.open('a') as out:
            out.write(f'{phase}\n')

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.tell(runner.train_loop.current_pass.mode)

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        self.tell('val')


def main():
    config, work, workers = sys.argv[1:]
    options = {'loader.num_workers': int(workers), 'work_dir': work}
    runner = build_runner(load_config(config, options), resume=True)
    phases = Phases(Path(work) / 'phases')
    fsync = os.fsync

    def slow_fsync(descriptor):
        phases.tell('save')
        time.sleep(0.02)  # time for a kill
        fsync(descriptor)

    files.os.fsync = slow_fsync
    runner.register_hook(phases)
    runner.train()


if __name__ == '__main__':
    main()
