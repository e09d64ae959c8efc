"""The shipped demo config, cut to seconds."""

import itertools
from pathlib import Path

from mmengine.hooks import Hook

from fx_mm.apis import load_config

REPO = Path(__file__).parents[2]
CONFIG = REPO / 'configs/phantom/foundation-x_tiny_phantom.py'
TINY = {
    'loader.num_workers': 0,
    'cycle.max_batches': None,
    'train_cfg.max_cycles': 2,
    'train_cfg.val_interval': 1,
    'log_level': 'WARNING',
    'model.student.backbone.embed_dims': 16,
    'model.student.localization.neck.out_channels': 32,
    'model.student.segmentation.decoder.channels': 16,
    'model.student.segmentation.decoder.pool_channels': 16,
    'model.student.segmentation.decoder.ppm_channels': 16,
}
ONE_TASK = {'tasks': ['phantom_a/cls'], 'train_cfg.max_cycles': 1}
_names = itertools.count()


def small_cfg(root, work_dir, config=CONFIG, **options):
    """Return the demo config, or one over it, cut to seconds."""
    cfg = load_config(str(config))
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = f'test_{next(_names)}'
    cfg.phantom.update(
        root=str(root), size=64, counts=dict(train=12, val=4, test=4)
    )
    for name, dataset in cfg.datasets.items():
        hospital = name.replace('phantom', 'hospital')
        dataset.data_root = f'{root}/easy/{hospital}/'
    for entry in cfg.task_defaults.values():
        entry.update(img_size=64, batch_size=4)
    tiny = dict(TINY)
    if 'embed_dims' not in cfg.model.student.backbone:
        del tiny['model.student.backbone.embed_dims']
    cfg.merge_from_dict({**tiny, **options})
    return cfg


class Watcher(Hook):
    """Call a function after each iteration."""

    def __init__(self, function):
        self.function = function

    def after_train_iter(self, runner, batch_idx, **kwargs):
        self.function(runner)


def log_of(runner):
    return next(Path(runner.log_dir).glob('*.log')).read_text()
