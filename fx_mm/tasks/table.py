"""The active tasks of a run."""

import os.path as osp
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from fx_mm.tasks.kinds import Kind, all_kinds, find_kind
from fx_mm.tasks.pseudo import PSEUDO, inherit_entry
from fx_mm.tasks.schema import (
    check_cache,
    check_entry_keys,
    entry_keys,
    merge_entry,
)
from fx_mm.tasks.task import Task
from fx_mm.utils.checks import as_list, check_keys, suggest
from fx_mm.utils.errors import UserError
from fx_mm.utils.predictors import PREDICTORS
from fx_mm.utils.value_types import check_entry, check_value

MEAN = 'mean'
"""Stands for the dataset of a mean over tasks, in the name of a result."""
RESERVED = (MEAN, *PREDICTORS)
"""What the name of a result may begin with besides a dataset."""
DATASET_NAME = re.compile(r'[^\W_][\w-]*')
"""Results are called ``dataset/kind/metric``, and modules and files after the
dataset: no slash, dot or blank."""
SECTION_TYPES: dict[str, Any] = dict(
    datasets=dict | None,  # whose names are checked with a reason
    tasks=Sequence[str] | str | None,
    task_defaults=dict[str, Any] | None,
)
Place = tuple[str, str, dict[Any, Any], dict[Any, Any]]
"""Dataset, kind, the dataset's entry and the task's."""
DATASET_KEYS = dict(
    data_root=str | None, img_dir=str | None, patient=str | None, tasks=dict
)


class TaskTable:
    """The active tasks of a config, in the order of the cycle.

    The one place that turns a config's ``datasets``, ``tasks`` and
    ``task_defaults`` into tasks. It is built once per run, and is
    ``runner.tasks``.

    A task without annotation (``pseudo`` in its entry) has no head and is
    only trained, so it is in :meth:`in_cycle` alone: whatever evaluates,
    predicts or exports knows nothing of it.

    Args:
        tasks (Iterable[Task]): The tasks.
        configured (Mapping[str, Sequence[str]], optional): Task name to
            classes of all tasks that the config's datasets have, active or
            not: what is shared must not depend on which are active. Defaults
            to None: those of ``tasks``.

    Raises:
        UserError: If a task is listed twice.
    """

    def __init__(
        self,
        tasks: Iterable[Task],
        configured: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._cycle: dict[str, Task] = {}
        for task in tasks:
            if task.name in self._cycle:
                raise UserError(
                    f'Task "{task.name}" is listed twice in "tasks".'
                )
            self._cycle[task.name] = task
        self._tasks = {
            name: task
            for name, task in self._cycle.items()
            if task.pseudo is None
        }
        if configured is None:
            configured = {task.name: task.classes for task in self}
        self.configured = configured

    @classmethod
    def from_cfg(cls, cfg: Mapping[str, Any]) -> 'TaskTable':
        """Read ``datasets``, ``tasks`` and ``task_defaults`` of a config.

        Args:
            cfg (dict): The experiment's config.

        Raises:
            UserError: If a task, dataset or key is unknown or incomplete.
        """
        for key, hint in SECTION_TYPES.items():
            check_value(key, cfg.get(key), hint)
        datasets = cfg.get('datasets')
        if not datasets:
            raise UserError(
                'The config has no "datasets"; list at least one, such as '
                'datasets = dict(nih14={{_base_.nih14}}).'
            )
        kinds = {kind.name: kind for kind in all_kinds()}
        defaults = cfg.get('task_defaults') or {}
        check_keys(defaults, kinds, 'task_defaults')
        for name, entry in defaults.items():
            keys = entry_keys(kinds[name])
            check_entry(f'task_defaults.{name}', entry, keys)
            if entry.get(PSEUDO) is not None:
                raise UserError(
                    f'task_defaults.{name}.pseudo would leave no task with a '
                    'head; write it in the entries of the tasks that have no '
                    'annotation.'
                )
        known: dict[str, Place] = {}
        for name, dataset in datasets.items():
            if not DATASET_NAME.fullmatch(str(name)):
                raise UserError(
                    f'datasets: "{name}" cannot be the name of a dataset, '
                    'which results, modules and files are named after; use '
                    'letters, digits, "_" and "-" alone.'
                )
            if name in RESERVED:
                raise UserError(
                    f'datasets.{name}: results of a training are called '
                    f'"{name}/..."; give the dataset another name.'
                )
            check_entry(f'datasets.{name}', dataset, DATASET_KEYS)
            entries = dataset.get('tasks') or {}
            check_keys(entries, kinds, f'datasets.{name}.tasks')
            for kind, entry in entries.items():
                # those that no task of the run asks for, too
                check_entry_keys(
                    f'datasets.{name}.tasks.{kind}', kinds[kind], entry
                )
                known[f'{name}/{kind}'] = (name, kind, dataset, entry)
        stages = (cfg.get('continual') or {}).get('stages') or ()
        staged = [name for stage in stages for name in stage]
        names = as_list(cfg.get('tasks')) or staged or list(known)
        tasks = []
        for name in names:
            if name not in known:
                raise UserError(
                    f'Unknown task "{name}"; {suggest(name, known)}.'
                )
            place = known[name]
            if place[-1].get(PSEUDO) is not None:
                for key in ('continual', 'federated'):
                    if cfg.get(key):
                        raise UserError(
                            f'{key} does not go with pseudo-labels (task '
                            f'{name}); leave one of them out.'
                        )
                place = cls._inherit(place, known, names, defaults)
            tasks.append(cls._task(*place, defaults, cfg.get('cache')))
        return cls(
            tasks,
            {
                name: tuple(entry.get('classes') or ())
                for name, (*_, entry) in known.items()
            },
        )

    @staticmethod
    def _inherit(
        place: Place,
        known: Mapping[str, Place],
        names: Sequence[str],
        defaults: Mapping[str, Any],
    ) -> Place:
        """Fill the entry of a task that takes another one's head."""
        dataset, kind, holder, entry = place
        where = f'datasets.{dataset}.tasks.{kind}'
        source = entry[PSEUDO]
        others = [
            name
            for name in names
            if name in known
            and known[name][1] == kind
            and known[name][-1].get(PSEUDO) is None
            and not find_kind(kind).unlabelled
        ]
        if source not in others:
            raise UserError(
                f'{where}.pseudo is "{source}", which is no active {kind} '
                f'task with a head; {suggest(source, others)}.'
                if others
                else f'{where}.pseudo: there is no active {kind} task with a '
                'head that its images could be labelled by; add one to '
                '"tasks".'
            )
        filled = inherit_entry(
            where, entry, known[source][-1], defaults.get(kind, {})
        )
        return dataset, kind, holder, filled

    @staticmethod
    def _task(
        name: str,
        kind: str,
        dataset: dict[Any, Any],
        entry: dict[str, Any],
        defaults: dict[Any, Any],
        cache: Any,
    ) -> Task:
        where = f'datasets.{name}.tasks.{kind}'
        row = find_kind(kind)
        config = merge_entry(where, row, entry, defaults.get(kind, {}))
        config['patient'] = dataset.get('patient')
        check_cache(cache)
        config['cache'] = cache
        return Task(
            dataset=name,
            kind=row,
            classes=tuple(config['classes']),
            data_root=osp.expanduser(dataset.get('data_root') or ''),
            img_dir=dataset.get('img_dir') or '',
            config=config,
        )

    def __deepcopy__(self, memo: dict[Any, Any]) -> 'TaskTable':
        # never changed: a config that is copied keeps the one table
        return self

    def __iter__(self) -> Iterator[Task]:
        return iter(self._tasks.values())

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, name: object) -> bool:
        return name in self._tasks

    def __getitem__(self, name: str) -> Task:
        """Return a task by name.

        Raises:
            UserError: If the table has no such task.
        """
        if name not in self._tasks:
            raise UserError(
                f'Unknown task "{name}"; {suggest(name, self._tasks)}.'
            )
        return self._tasks[name]

    def only(self, names: Iterable[str]) -> 'TaskTable':
        """Return the table of some of the tasks, in the order of names.

        Raises:
            UserError: If the table has no such task.
        """
        return TaskTable([self[name] for name in names], self.configured)

    def in_cycle(self, names: Iterable[str] | None = None) -> list[Task]:
        """Return what a training walks, tasks without a head included.

        Args:
            names (Iterable[str], optional): Some of them, in this order.
                Defaults to None, all in that of the cycle.

        Raises:
            UserError: If the table has no such task.
        """
        names = list(self._cycle if names is None else names)
        for name in names:
            if name not in self._cycle:
                raise UserError(
                    f'Unknown task "{name}"; {suggest(name, self._cycle)}.'
                )
        return [self._cycle[name] for name in names]

    def head_of(self, name: str) -> str:
        """Return the name of the task whose head a task learns with."""
        task = self._cycle.get(name)
        return name if task is None or task.pseudo is None else task.pseudo

    def of_kind(self, kind: Kind) -> 'TaskTable':
        """Return the table of the tasks of one kind, which may be empty."""
        suffix = f'/{kind.name}'
        return TaskTable(
            [task for task in self if task.kind is kind],
            {k: v for k, v in self.configured.items() if k.endswith(suffix)},
        )

    @property
    def names(self) -> list[str]:
        """list[str]: Task names in the order of the cycle."""
        return list(self._tasks)

    @property
    def kinds(self) -> list[str]:
        """list[str]: Names of their kinds, each once."""
        return list(dict.fromkeys(task.kind.name for task in self))

    @property
    def batch_sizes(self) -> dict[str, int]:
        """dict: Task name to batch size (of one process)."""
        return {t.name: int(t.config['batch_size']) for t in self}

    def evaluators(self) -> dict[str, dict[Any, Any]]:
        """Return one evaluator config per task."""
        return {task.name: task.metric_cfg() for task in self}
