"""Tasks: the one place that turns a config's ``datasets`` into work.

A *task* is one dataset with one kind of annotation, written
``candid_ptx/loc``. :class:`TaskTable` reads the ``datasets``, ``tasks`` and
``task_defaults`` of a config and gives the heads, loaders and evaluators that
the stock Runner is built from.
"""

import copy
import os.path as osp
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .utils.checks import (
    check_choice,
    check_inside,
    check_keys,
    check_number,
    check_per_class,
    suggest,
)
from .utils.errors import UserError

KINDS = ('cls', 'loc', 'seg')
MODES = ('lock', 'lock_plus', 'release')
"""Lock states of a pass."""
MIXED = 'mixed'
"""Stands for the task of a pass that holds several."""
DATASET_KEYS = ('data_root', 'img_dir', 'patient', 'tasks')
TASK_KEYS = (
    'classes',
    'labels',
    'reader',
    'splits',
    'class_groups',
    'batch_size',
    'img_size',
    'resize_size',
    'flip_prob',
    'tta',
    'loss_weight',
    'pos_weight',
    'focal',
    'box_free_share',
    'train_pipeline',
    'test_pipeline',
    'only',
    'few_shot',
    'metric',
)
KIND_OF_KEY = dict(
    labels='cls',
    pos_weight='cls',
    focal='cls',
    box_free_share='loc',
    class_groups='seg',
)
LABELS = ('multi-label', 'multi-class')
METRICS = dict(cls='ClsMetric', loc='LocMetric', seg='SegMetric')
SPLITS = ('train', 'val', 'test')
CROPS = ('center_crop', 'ten_crop')
TTA = dict(cls=('flip', *CROPS), loc=('flip',), seg=('flip',))
"""Test-time augmentations, see :class:`fx_mm.models.multi_view.MultiView`."""
SIZES = ('img_size', 'resize_size')
PIPELINE_KEYS = (*SIZES, 'flip_prob')
"""Written as a transform's value, they stand for the task's own; sizes for
the sides of a square."""


def _check_focal(where: str, config: dict) -> None:
    """Refuse a focal loss that makes no sense."""
    focal = config.get('focal')
    if focal is None:
        return
    if not isinstance(focal, dict):
        raise UserError(
            f'{where}.focal is {focal!r}; write dict(gamma=2.0), or '
            'dict(gamma=2.0, alpha=0.25).'
        )
    check_keys(focal, ('gamma', 'alpha'), f'{where}.focal')
    check_number(f'{where}.focal.gamma', focal.get('gamma', 2.0), 0)
    check_per_class(
        f'{where}.focal.alpha', focal.get('alpha'), config['classes'], 1
    )
    if config['labels'] == 'multi-class':
        raise UserError(
            f'{where}.focal is for labels="multi-label"; exclusive classes '
            'take pos_weight, one a class.'
        )
    if config.get('pos_weight') is not None:
        raise UserError(
            f'{where} has both pos_weight and focal; remove one (focal.alpha '
            'is the weight of positives).'
        )


def _check_few_shot(where: str, few_shot) -> None:
    """Refuse a draw of few training images that makes no sense."""
    if few_shot is None:
        return
    where = f'{where}.few_shot'
    if not isinstance(few_shot, dict) or 'n' not in few_shot:
        raise UserError(
            f'{where} is {few_shot!r}; write dict(n=12), or '
            'dict(n=12, seed=1).'
        )
    check_keys(few_shot, ('n', 'seed'), where)
    check_number(f'{where}.n', few_shot['n'], 1, whole=True)
    check_number(f'{where}.seed', few_shot.get('seed', 0), 0, whole=True)


@dataclass(frozen=True)
class Task:
    """One dataset with one kind of annotation.

    Args:
        dataset (str): Name of the dataset, such as ``candid_ptx``.
        kind (str): ``cls``, ``loc`` or ``seg``.
        classes (tuple[str]): Class names in the order of the head's outputs.
        labels (str, optional): ``multi-label`` or ``multi-class`` for ``cls``.
        data_root (str): Folder that annotation files are relative to.
        img_dir (str): Folder of the images, relative to ``data_root``.
        config (dict): The task's entry, merged over the kind's defaults.
    """

    dataset: str
    kind: str
    classes: tuple
    labels: str | None = None
    data_root: str = ''
    img_dir: str = ''
    config: dict = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def from_meta(cls, meta: dict) -> 'Task':
        """Give the task that :attr:`meta` describes."""
        keys = ('dataset', 'kind', 'labels')
        fields = {key: meta[key] for key in keys if key in meta}
        return cls(classes=tuple(meta['classes']), **fields)

    @property
    def name(self) -> str:
        """str: ``dataset/kind``."""
        return f'{self.dataset}/{self.kind}'

    @property
    def meta(self) -> dict:
        """dict: What identifies the task in samples and checkpoints."""
        return dict(
            task=self.name,
            dataset=self.dataset,
            kind=self.kind,
            classes=list(self.classes),
            labels=self.labels,
        )

    def pipeline(self, which: str) -> list:
        """Give the transforms, the task's values filled in.

        Args:
            which (str): ``train`` or ``test``.

        Raises:
            UserError: If the task lacks a value that a transform asks for.
        """
        steps = copy.deepcopy(self.config[f'{which}_pipeline'])
        return [self._filled(step, which) for step in steps]

    def _filled(self, value: Any, which: str) -> Any:
        """Put the task's values for names in :data:`PIPELINE_KEYS`."""
        if isinstance(value, dict):
            return {k: self._filled(v, which) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self._filled(each, which) for each in value)
        if not isinstance(value, str) or value not in PIPELINE_KEYS:
            return value
        if self.config.get(value) is None:
            raise UserError(
                f'The {which}_pipeline of task {self.name} asks for '
                f'"{value}", which the task does not set; add it there or to '
                f'task_defaults.{self.kind}.'
            )
        own = self.config[value]
        return (own, own) if value in SIZES else own

    def dataset_cfg(self, split: str) -> dict:
        """Give the config of the task's ``TaskDataset`` for one split.

        Raises:
            UserError: If the dataset has no such split.
        """
        splits = self.config.get('splits') or {}
        if splits.get(split) is None:
            raise UserError(
                f'Dataset "{self.dataset}" has no "{split}" split for its '
                f'"{self.kind}" task; add splits.{split} to its config.'
            )
        return dict(
            task=self.meta,
            reader=copy.deepcopy(self.config['reader']),
            ann_file=osp.join(self.data_root, splits[split]),
            img_dir=osp.join(self.data_root, self.img_dir),
            pipeline=self.pipeline('train' if split == 'train' else 'test'),
            only=self.config.get('only'),
            few_shot=self.config.get('few_shot') if split == 'train' else None,
            patient=self.config.get('patient'),
            data_root=self.data_root,
        )

    def head_cfg(self) -> dict:
        """Give what the model needs to build the task's own part."""
        keys = ('img_size', 'loss_weight', 'pos_weight', 'focal', 'tta')
        extra = {k: self.config[k] for k in keys if k in self.config}
        return dict(
            dataset=self.dataset,
            kind=self.kind,
            classes=list(self.classes),
            labels=self.labels,
            **extra,
        )

    def metric_cfg(self) -> dict:
        """Give the config of the task's metric."""
        metric = dict(type=METRICS[self.kind])
        metric.update(copy.deepcopy(self.config.get('metric') or {}))
        if self.kind == 'seg' and self.config.get('class_groups'):
            metric.setdefault('class_groups', self.config['class_groups'])
        return metric


class TaskTable:
    """The active tasks of a config, in the order of the cycle.

    Args:
        tasks (list[Task]): The tasks.
    """

    def __init__(self, tasks) -> None:
        self._tasks = {task.name: task for task in tasks}

    @classmethod
    def from_cfg(cls, cfg: dict) -> 'TaskTable':
        """Read ``datasets``, ``tasks`` and ``task_defaults`` of a config.

        Args:
            cfg (dict): The experiment's config.

        Raises:
            UserError: If a task, dataset or key is unknown or incomplete.
        """
        datasets = cfg.get('datasets')
        if not datasets:
            raise UserError(
                'The config has no "datasets"; list at least one, such as '
                'datasets = dict(nih14={{_base_.nih14}}).'
            )
        defaults = cfg.get('task_defaults') or {}
        check_keys(defaults, KINDS, 'task_defaults')
        for kind, entry in defaults.items():
            check_keys(entry, TASK_KEYS, f'task_defaults.{kind}')
        known = {}
        for name, dataset in datasets.items():
            if not isinstance(dataset, dict):
                raise UserError(f'datasets.{name} must be a dict.')
            check_keys(dataset, DATASET_KEYS, f'datasets.{name}')
            check_keys(
                dataset.get('tasks') or {}, KINDS, f'datasets.{name}.tasks'
            )
            for kind, entry in (dataset.get('tasks') or {}).items():
                known[f'{name}/{kind}'] = (dataset, entry)
        names = cfg.get('tasks') or list(known)
        if isinstance(names, str):
            names = [names]
        tasks = []
        for name in names:
            if name not in known:
                raise UserError(
                    f'Unknown task "{name}"; {suggest(name, known)}.'
                )
            tasks.append(cls._task(name, *known[name], defaults))
        if len(set(names)) != len(names):
            twice = next(n for n in names if list(names).count(n) > 1)
            raise UserError(f'Task "{twice}" is listed twice in "tasks".')
        return cls(tasks)

    @staticmethod
    def _task(name: str, dataset: dict, entry: dict, defaults: dict) -> Task:
        where = f'datasets.{name.replace("/", ".tasks.")}'
        check_keys(entry, TASK_KEYS, where)
        kind = name.rsplit('/', 1)[1]
        for key, owner in KIND_OF_KEY.items():
            if key in entry and owner != kind:
                raise UserError(
                    f'{where}.{key} is for {owner} tasks; remove it.'
                )
        config: dict[str, Any] = dict(labels='multi-label')
        config.update(copy.deepcopy(dict(defaults.get(kind, {}))))
        config.update(copy.deepcopy(dict(entry)))
        for key in ('classes', 'reader', 'splits', 'img_size', 'batch_size'):
            if not config.get(key):
                raise UserError(
                    f'{where} has no "{key}"; add it there or to '
                    f'task_defaults.{kind}.'
                )
        for key in (*SIZES, 'batch_size'):
            if key == 'resize_size' and config.get(key) is None:
                continue
            if not isinstance(config[key], int) or config[key] < 1:
                raise UserError(
                    f'{where}.{key} is {config[key]!r}; it must be a '
                    'whole number above 0.'
                )
        tta = config.get('tta')
        check_choice(f'{where}.tta', tta, (None, *TTA[kind]))
        larger = (config.get('resize_size') or 0) > config['img_size']
        if tta in CROPS and not larger:
            raise UserError(
                f'{where}.tta is "{tta}", which cuts images of img_size '
                f'({config["img_size"]}) out of larger ones; give a larger '
                'resize_size, and resize to it in the test_pipeline.'
            )
        if config.get('flip_prob') is not None:
            check_number(f'{where}.flip_prob', config['flip_prob'], 0, 1)
            # mmdet.RandomFlip takes no whole number
            config['flip_prob'] = float(config['flip_prob'])
        classes = config['classes']
        if isinstance(classes, str) or len(set(classes)) != len(classes):
            raise UserError(
                f'{where}.classes must be a list of distinct names, '
                f'not {classes!r}.'
            )
        if kind == 'cls' and config['labels'] not in LABELS:
            raise UserError(
                f'{where}.labels is "{config["labels"]}"; '
                f'it must be one of: {", ".join(LABELS)}.'
            )
        if config['labels'] == 'multi-class' and len(classes) < 2:
            raise UserError(
                f'{where} has one class and exclusive labels, which leaves '
                'nothing to choose; write labels="multi-label".'
            )
        check_per_class(
            f'{where}.pos_weight', config.get('pos_weight'), classes
        )
        _check_focal(where, config)
        _check_few_shot(where, config.get('few_shot'))
        config['patient'] = dataset.get('patient')
        for split, path in config['splits'].items():
            check_inside(f'{where}.splits.{split}', path, 'data_root')
        for group, members in (config.get('class_groups') or {}).items():
            check_keys(
                dict.fromkeys(members),
                classes,
                f'{where}.class_groups.{group}',
            )
        return Task(
            dataset=name.rsplit('/', 1)[0],
            kind=kind,
            classes=tuple(classes),
            labels=config['labels'] if kind == 'cls' else None,
            data_root=dataset.get('data_root', ''),
            img_dir=dataset.get('img_dir', ''),
            config=config,
        )

    def __iter__(self) -> Iterator[Task]:
        return iter(self._tasks.values())

    def __len__(self) -> int:
        return len(self._tasks)

    def __getitem__(self, name: str) -> Task:
        """Give a task by name.

        Raises:
            UserError: If the table has no such task.
        """
        if name not in self._tasks:
            raise UserError(
                f'Unknown task "{name}"; {suggest(name, self._tasks)}.'
            )
        return self._tasks[name]

    @property
    def names(self) -> list:
        """list[str]: Task names in the order of the cycle."""
        return list(self._tasks)

    @property
    def batch_sizes(self) -> dict:
        """dict: Task name to batch size (of one process)."""
        return {t.name: int(t.config['batch_size']) for t in self}

    def dataset_cfg(self, split: str) -> dict:
        """Give the config of the ``MultiTaskDataset`` of one split."""
        return dict(
            type='MultiTaskDataset',
            datasets=[task.dataset_cfg(split) for task in self],
            test_mode=split != 'train',
        )

    def evaluators(self) -> dict:
        """Give one evaluator config a task."""
        return {task.name: task.metric_cfg() for task in self}
