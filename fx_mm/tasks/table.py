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

from fx_mm.tasks.schema import SIZES, TASK_KEYS, merge_entry
from fx_mm.utils.checks import check_keys, suggest
from fx_mm.utils.errors import UserError

KINDS = ('cls', 'loc', 'seg')
MODES = ('lock', 'lock_plus', 'release')
"""Lock states of a pass."""
MIXED = 'mixed'
"""Stands for the task of a pass that holds several."""
DATASET_KEYS = ('data_root', 'img_dir', 'patient', 'tasks')
METRICS = dict(cls='ClsMetric', loc='LocMetric', seg='SegMetric')
SPLITS = ('train', 'val', 'test')
PIPELINE_KEYS = (*SIZES, 'flip_prob')
"""Written as a transform's value, they stand for the task's own; sizes for
the sides of a square."""


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
        kind = name.rsplit('/', 1)[1]
        config = merge_entry(where, kind, entry, defaults.get(kind, {}))
        config['patient'] = dataset.get('patient')
        return Task(
            dataset=name.rsplit('/', 1)[0],
            kind=kind,
            classes=tuple(config['classes']),
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
