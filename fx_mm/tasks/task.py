"""One dataset with one kind of annotation."""

import copy
import os.path as osp
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fx_mm.tasks.kinds import Kind, find_kind
from fx_mm.tasks.pseudo import PSEUDO
from fx_mm.tasks.schema import CACHE_FACTOR, SIZES
from fx_mm.utils.errors import UserError

PIPELINE_KEYS = (*SIZES, 'flip_prob')
"""Written as a transform's value, they stand for the task's own; sizes for
the sides of a square."""


LOADING_STEPS = (
    'LoadXray',
    'LoadXrayAnnotations',
    'fx_mm.LoadXray',
    'fx_mm.LoadXrayAnnotations',
)
"""Transforms that can read reduced images."""


def split_name(name: str) -> tuple[str, str]:
    """Split a task's name, or a metric's full key.

    Args:
        name (str): ``phantom_b/loc`` or ``phantom_b/loc/mAP_40``.

    Returns:
        tuple[str, str]: Dataset and the rest: ``('phantom_b', 'loc')``.
    """
    dataset, _, rest = name.partition('/')
    return dataset, rest


def task_of(key: str) -> str:
    """Return the task of a result's full key, ``phantom_b/loc/mAP_40``."""
    dataset, rest = split_name(key)
    return f'{dataset}/{split_name(rest)[0]}'


@dataclass(frozen=True)
class Task:
    """One dataset with one kind of annotation; travels whole through a run.

    Args:
        dataset (str): Name of the dataset, such as ``candid_ptx``.
        kind (str | type[TaskKind]): The kind, or its name.
        classes (tuple[str]): Class names in the order of the head's outputs.
        data_root (str): Folder that annotation files are relative to.
        img_dir (str): Folder of the images, relative to ``data_root``.
        config (dict): The task's entry, merged over the kind's defaults.
    """

    dataset: str
    kind: Kind
    classes: tuple[str, ...]
    data_root: str = ''
    img_dir: str = ''
    config: Mapping[str, Any] = field(
        default_factory=dict, compare=False, repr=False
    )

    def __post_init__(self) -> None:
        kind = self.kind
        if isinstance(kind, str):
            object.__setattr__(self, 'kind', find_kind(kind))
        object.__setattr__(self, 'classes', tuple(self.classes))

    def __deepcopy__(self, memo: dict[Any, Any]) -> 'Task':
        # Frozen: configs that are copied before a build keep the one object.
        return self

    @property
    def name(self) -> str:
        """str: ``dataset/kind``."""
        return f'{self.dataset}/{self.kind.name}'

    @property
    def pseudo(self) -> str | None:
        """str, optional: The task whose head it takes, if it has none."""
        return self.config.get(PSEUDO)

    @property
    def unlabelled(self) -> bool:
        """bool: Whether it trains on images whatever is noted on them."""
        return self.kind.unlabelled or self.pseudo is not None

    @property
    def label_type(self) -> str | None:
        """str, optional: ``multi-label`` or ``multi-class``."""
        kind_default = self.kind.defaults.get('label_type')
        return self.config.get('label_type') or kind_default

    @property
    def meta(self) -> dict[str, Any]:
        """dict: What identifies the task in files: plain values."""
        meta = dict(
            task=self.name,
            dataset=self.dataset,
            kind=self.kind.name,
            classes=list(self.classes),
            label_type=self.label_type,
        )
        return meta if self.pseudo is None else meta | {PSEUDO: self.pseudo}

    def pipeline(self, which: str) -> list[dict[Any, Any]]:
        """Return the transforms, the task's values filled in.

        With a ``cache`` in the config, training loads images reduced to
        ``factor`` times the task's size; validation and test keep the
        originals.

        Args:
            which (str): ``train`` or ``test``.

        Raises:
            UserError: If the task lacks a value that a transform asks for.
        """
        key = f'{which}_pipeline'
        if self.config.get(key) is None:
            raise UserError(
                f'task {self.name} has no "{key}"; add it there or to '
                f'task_defaults.{self.kind.name}.'
            )
        steps = copy.deepcopy(self.config[key])
        steps = [self._filled(step, which) for step in steps]
        cache = self.config.get('cache')
        if cache and which == 'train':
            for step in steps:
                if step.get('type') in LOADING_STEPS:
                    step.setdefault('cache_dir', osp.expanduser(cache['dir']))
                    step.setdefault('cache_size', self.cache_size)
        return steps

    @property
    def cache_size(self) -> int:
        """int: Shorter side of the reduced images that training loads."""
        cache = self.config.get('cache') or {}
        factor = cache.get('factor', CACHE_FACTOR)
        return round(max(self.config.get(key) or 0 for key in SIZES) * factor)

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
                f'task_defaults.{self.kind.name}.'
            )
        own = self.config[value]
        return (own, own) if value in SIZES else own

    def ann_file(self, split: str) -> str:
        """Return the path of a split's annotation file.

        Args:
            split (str): ``train``, ``val`` or ``test``.

        Raises:
            UserError: If the dataset has no such split.
        """
        splits = self.config.get('splits') or {}
        if splits.get(split) is None:
            raise UserError(
                f'Dataset "{self.dataset}" has no "{split}" split for its '
                f'"{self.kind.name}" task; add splits.{split} to its config.'
            )
        return osp.join(self.data_root, splits[split])

    @property
    def image_folder(self) -> str:
        """str: Folder of the images, below ``data_root``."""
        return osp.join(self.data_root, self.img_dir)

    def metric_cfg(self) -> dict[str, Any]:
        """Return the config of the task's metric."""
        metric = dict(type=self.kind.metric)
        metric.update(copy.deepcopy(self.config.get('metric') or {}))
        for key in self.kind.metric_keys:
            if self.config.get(key):
                metric.setdefault(key, self.config[key])
        return metric
