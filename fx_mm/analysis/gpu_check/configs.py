"""The shipped configs, as the stages take them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from fx_mm.analysis.gpu_check.job import Job
from fx_mm.config import load_config
from fx_mm.tasks import split_name

DEMO = 'phantom/foundation-x_tiny_phantom.py'
REGRESSION = 'phantom/regression_tiny_phantom.py'
KINDS = ('cls', 'loc', 'seg', 'reg')
TINY_SWIN = {
    'backbone.embed_dims': 16,
    'backbone.depths': (1, 1, 1, 1),
    'backbone.num_heads': (1, 2, 4, 8),
    'localization.neck.out_channels': 32,
    'localization.num_queries': 20,
    'localization.encoder.num_layers': 1,
    'localization.decoder.num_layers': 1,
    'localization.encoder.layer_cfg.ffn_cfg.feedforward_channels': 32,
    'localization.decoder.layer_cfg.ffn_cfg.feedforward_channels': 32,
    'localization.dn_cfg.group_cfg.num_dn_queries': 10,
    'localization.test_cfg.max_per_img': 20,
}
"""Of ``model.student``, for a rehearsal."""
TINY_SIZE = 64


def shipped(job: Job, name: str, **options: Any) -> Config:
    """Load a shipped config.

    Args:
        job (Job): Knows the folder.
        name (str): File below ``configs``.
        **options (Any): ``--cfg-options``.
    """
    return load_config(str(job.home / 'configs' / name), options)


def demo(job: Job) -> Config:
    """The demo's config with one task of each kind."""
    cfg = shipped(job, DEMO)
    number = shipped(job, REGRESSION)
    cfg.tasks = ['phantom_b/cls', 'phantom_b/loc', 'phantom_c/seg']
    cfg.tasks += ['phantom_c/reg']
    cfg.task_defaults.reg = number.task_defaults.reg
    cfg.model.student.regression = number.model.student.regression
    cfg.optim_wrapper.clip_grad.reg = number.optim_wrapper.clip_grad.reg
    if job.tiny:
        cfg.model.student.backbone.depths = (1, 1, 1, 1)
    return cfg


def set_phantoms(
    cfg: Config, folder: Path, size: int, counts: dict[str, int]
) -> None:
    """Draw the phantoms into a folder of their own.

    Args:
        cfg (Config): The experiment's config.
        folder (Path): Where to.
        size (int): Pixels.
        counts (dict[str, int]): Images of each split.
    """
    root = folder.resolve()
    cfg.phantom.update(root=str(root), size=size, counts=counts)
    for name, entry in cfg.datasets.items():
        hospital = name.replace('phantom', 'hospital')
        entry.data_root = f'{root}/easy/{hospital}/'


def set_sizes(cfg: Config, img_size: int, batch_size: int) -> None:
    """Set image and batch size of all kinds."""
    for entry in cfg.task_defaults.values():
        entry.update(img_size=img_size, batch_size=batch_size)


def shrink(cfg: Config, folder: Path) -> None:
    """Cut a training on phantoms to seconds, for a rehearsal.

    Args:
        cfg (Config): The experiment's config.
        folder (Path): Of the phantoms.
    """
    set_phantoms(cfg, folder, TINY_SIZE, dict(train=8, val=8, test=8))
    set_sizes(cfg, TINY_SIZE, 4)
    cfg.cycle.max_batches = dict.fromkeys(cfg.task_defaults, 1)
    cfg.train_cfg.max_cycles = 1
    cfg.loader.num_workers = 0


def swin(
    job: Job,
    name: str = 'foundation_x/foundation-x_swin-b_150c.py',
    img_size: int = 224,
    batch_size: int = 24,
    kinds: Sequence[str] = KINDS,
) -> Config:
    """A config of Foundation X with one task of each kind, in bfloat16.

    Args:
        job (Job): Where it is ``tiny``, so is the model.
        name (str): File below ``configs``.
        img_size (int): Pixels. Defaults to 224.
        batch_size (int): Of all kinds. Defaults to 24.
        kinds (Sequence[str]): Of the tasks. Defaults to all.
    """
    cfg = shipped(job, name)
    tasks: dict[str, str] = {}
    for task in cfg.tasks:
        tasks.setdefault(split_name(task)[1], task)
    if 'reg' in kinds:
        # none of the paper's datasets has numbers
        datasets = job.home / 'configs/_base_/datasets/phantom_c.py'
        cfg.datasets.phantom_c = Config.fromfile(datasets).phantom_c
        cfg.model.student.regression = dict(type='RegressionBranch')
        tasks['reg'] = 'phantom_c/reg'
    cfg.tasks = [tasks[kind] for kind in kinds]
    cfg.optim_wrapper.amp_dtype = 'bfloat16'
    # ours has it by itself on a GPU, the stock models do not
    cfg.optim_wrapper.optimizer.fused = True
    if job.tiny:
        img_size, batch_size = TINY_SIZE, 2
        cfg.merge_from_dict(
            {f'model.student.{key}': v for key, v in TINY_SWIN.items()}
        )
    set_sizes(cfg, img_size, batch_size)
    return cfg


def all_configs(job: Job) -> list[Path]:
    """Files of all shipped configs, bases and studies left out."""
    files = sorted((job.home / 'configs').glob('*/*.py'))
    other = ('_base_', 'studies')
    return [file for file in files if file.parent.name not in other]
