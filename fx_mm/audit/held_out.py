"""Images that tasks without annotation must not train on.

They take any image, so none may be held out anywhere: neither by another task
of the config, active or not, nor as a copy under another name.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mmengine.config import Config

from fx_mm.audit.duplicates import Pair
from fx_mm.audit.findings import Finding
from fx_mm.audit.leaks import find_duplicates
from fx_mm.audit.patients import find_shared
from fx_mm.audit.task_splits import TaskSplit, open_names
from fx_mm.datasets.readers.images import FileIndex
from fx_mm.tasks import Task, TaskTable, all_kinds
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import read_chunks

HELD_OUT = ('val', 'test')
HEAD = 4096
"""First bytes of a file that are compared before all of it."""


def open_held_out(
    cfg: Config, table: TaskTable
) -> tuple[list[TaskSplit], list[Finding]]:
    """Open what tasks hold out that the run leaves alone.

    Args:
        cfg (Config): The config.
        table (TaskTable): Its active tasks.

    Returns:
        tuple: The splits, with the names of their images alone, of those that
        are on the disk; a warning for each that cannot be read. None where no
        active task is without annotation.
    """
    splits: list[TaskSplit] = []
    findings: list[Finding] = []
    if not any(task.unlabelled for task in table.in_cycle()):
        return splits, findings
    for name, task in _other_tasks(cfg, table):
        for split in HELD_OUT:
            place = f'{name}/{split}'
            if task is None:
                findings.append(_unread(place, name))
                continue
            if task.config['splits'].get(split) is None:
                continue
            found = open_names(task, split)
            if not found:
                findings.append(_unread(place, task.ann_file(split)))
            splits += map(_existing, found)
    return splits, findings


def _unread(place: str, what: str) -> Finding:
    return Finding(
        'unread-split',
        (place,),
        'warning',
        f'{what} cannot be read, so nothing tells whether its images are '
        'trained on.',
    )


def _other_tasks(
    cfg: Config, table: TaskTable
) -> Iterator[tuple[str, Task | None]]:
    """Yield the tasks of the config's datasets that are not active.

    An entry that could not run, since something is missing, gives None.
    """
    plain = cfg.to_dict()
    names = [
        f'{name}/{kind}'
        for name, entry in (plain.get('datasets') or {}).items()
        for kind, task in (entry.get('tasks') or {}).items()
        if task.get('pseudo') is None  # which is never evaluated
    ]
    # what only a task that runs needs
    given = plain.get('task_defaults') or {}
    plain['task_defaults'] = {
        kind.name: dict(img_size=1, batch_size=1)
        | (given.get(kind.name) or {})
        for kind in all_kinds()
    }
    for name in names:
        if name not in table:
            try:
                yield name, TaskTable.from_cfg(dict(plain, tasks=[name]))[name]
            except UserError:
                yield name, None


def _existing(split: TaskSplit) -> TaskSplit:
    """Keep the images that are there: others leak nothing."""
    files = FileIndex()
    kept = [i for i, path in enumerate(split.paths) if path in files]
    for key in ('names', 'paths', 'patients'):
        setattr(split, key, [getattr(split, key)[i] for i in kept])
    return split


def find_equal_files(splits: Sequence[TaskSplit]) -> list[Finding]:
    """Find training images without annotation that are copies, byte by byte.

    A few bytes are read of files of equal size, all only of those that agree
    there. Copies that were changed are found by the whole audit.

    Args:
        splits (Sequence[TaskSplit]): The splits.

    Returns:
        list[Finding]: ``same-content``, as of the whole audit.
    """
    mine = {p for s in splits if _is_strict(s) for p in s.paths}
    others = {p for s in splits if s.split in HELD_OUT for p in s.paths}
    if not mine or not others - mine:
        return []
    sizes: dict[int, tuple[list[str], list[str]]] = defaultdict(
        lambda: ([], [])
    )
    for number, paths in enumerate((mine, others - mine)):
        for path in paths:
            try:
                sizes[os.stat(path).st_size][number].append(path)
            except OSError:
                continue  # missing images are another finding
    pairs = [
        Pair(min(first, second), max(first, second), 1.0, exact=True)
        for ours, theirs in sizes.values()
        if ours and theirs
        for first, second in _equal(ours, theirs)
    ]
    involved = [s for s in splits if _is_strict(s) or s.split in HELD_OUT]
    return find_duplicates(involved, pairs)[0]


def _equal(
    ours: Iterable[str], theirs: Iterable[str]
) -> Iterator[tuple[str, str]]:
    """Yield the pairs of files with equal content."""
    heads: dict[bytes, list[str]] = defaultdict(list)
    for path in theirs:
        heads[_head(path)].append(path)
    for path in ours:
        for other in heads.get(_head(path), ()):
            if _same_content(path, other):
                yield path, other


def _head(path: str) -> bytes:
    try:
        with open(path, 'rb') as file:
            return file.read(HEAD)
    except OSError:
        return path.encode()


def _same_content(one: str, other: str) -> bool:
    try:
        return all(
            a == b for a, b in zip(read_chunks(one), read_chunks(other))
        )
    except OSError:
        return False


def strict_leaks(splits: Sequence[TaskSplit]) -> set[str]:
    """Name the leaks into the training of tasks without annotation.

    Args:
        splits (Sequence[TaskSplit]): The splits.

    Returns:
        set[str]: Names of findings, a training with which is refused.
    """
    involved = [s for s in splits if _is_strict(s) or s.split in HELD_OUT]
    found: list[Any] = [*find_shared(involved), *find_equal_files(involved)]
    return {
        finding.name
        for finding in found
        if finding.level == 'leak'
        and any(place.endswith('/train') for place in finding.places)
    }


def _is_strict(split: TaskSplit) -> bool:
    return split.task.unlabelled and split.split == 'train'
