"""What a dataset's config asks for: which files, with which classes."""

import os
import posixpath
from dataclasses import dataclass, field
from pathlib import Path

from fx_mm.config import load_config
from fx_mm.tasks import SPLITS
from fx_mm.utils.checks import suggest
from fx_mm.utils.errors import UserError

PREPARED = 'prepared'
"""Folder within a dataset's ``data_root`` of all that is written."""

_READERS = dict(cls='CsvLabelReader', loc='CocoReader', seg='MaskReader')
_SUFFIXES = dict(cls='.csv', loc='.json', seg='.csv')
_FOREIGN = ('img_suffix', 'suffix', 'findings_column', 'image_column')


@dataclass(frozen=True)
class TargetTask:
    """The files of one kind of annotation.

    Attributes:
        classes (tuple[str]): Class names.
        files (dict): Split to its file below ``prepared/``, relative to the
            dataset's ``data_root``. Splits with an official file are not in.
        merged (bool): Whether boxes of any class are the task's only class.
    """

    classes: tuple
    files: dict
    merged: bool = False


@dataclass(frozen=True)
class Target:
    """The prepared form of one dataset.

    Attributes:
        name (str): Name of the dataset.
        root (Path): Its ``data_root``.
        img_dir (str): Folder of the images, relative to ``root``.
        tasks (dict): Kind (cls, loc, seg) to its :class:`TargetTask`.
        config (dict): All that the config says of the dataset.
    """

    name: str
    root: Path
    img_dir: str
    tasks: dict
    config: dict = field(default_factory=dict, compare=False, repr=False)

    @property
    def in_place(self) -> bool:
        """bool: Whether images stay where the release has them."""
        return not _is_prepared(self.img_dir)

    @property
    def images(self) -> Path:
        """Path: Folder of the images."""
        return self.root / self.img_dir

    @property
    def prepared(self) -> Path:
        """Path: Folder of all that is written."""
        return self.root / PREPARED

    @property
    def parts(self) -> set:
        """set[str]: Splits that are written for any kind."""
        return {s for task in self.tasks.values() for s in task.files}


def read_target(config: str | Path, data_root: str | None = None) -> Target:
    """Read a dataset's config.

    Args:
        config (str | Path): Name of a dataset that comes with fx_mm, or path
            of a config with one dataset.
        data_root (str, optional): Folder that takes the place of ``data/``.
            Defaults to None.

    Raises:
        UserError: If there is no such config, it has several datasets or
            asks for files that cannot be written.
    """
    path = find_config(str(config))
    if data_root is not None:
        data_root = str(data_root)
    cfg = load_config(path, data_root=data_root).to_dict()
    name, entry = _only_dataset(cfg, path)
    if not entry.get('data_root'):
        raise UserError(f'{path}: dataset "{name}" has no data_root.')
    tasks = {
        kind: _task(f'{path}: {name}.tasks.{kind}', kind, task)
        for kind, task in entry['tasks'].items()
    }
    tasks = {kind: task for kind, task in tasks.items() if task.files}
    if not tasks:
        raise UserError(
            f'{path}: dataset "{name}" names no split below {PREPARED}/, so '
            'there is nothing to prepare.'
        )
    seen: dict = {}
    for kind, task in tasks.items():
        for split, file in task.files.items():
            if file in seen:
                raise UserError(
                    f'{path}: {file} stands for {seen[file]} and for '
                    f'{kind}/{split}; give each a file of its own.'
                )
            seen[file] = f'{kind}/{split}'
    return Target(
        name,
        Path(entry['data_root']),
        posixpath.normpath(entry.get('img_dir') or '.'),
        tasks,
        entry,
    )


def find_config(name: str) -> str:
    """Find a dataset's config by its name or path.

    Raises:
        UserError: If there is none; lists those that come with fx_mm.
    """
    if os.path.isfile(name):
        return name
    package = Path(__file__).parents[1]
    known: dict = {}
    # the checkout's, or what the installed package has
    for folder in (package.parent / 'configs', package / '.mim' / 'configs'):
        for path in sorted(folder.glob('_base_/datasets/*.py')):
            known.setdefault(path.stem, str(path))
    if name not in known:
        raise UserError(
            f'"{name}" is neither a config file nor a dataset; '
            f'{suggest(name, known)}.'
        )
    return known[name]


def _only_dataset(cfg: dict, path: str) -> tuple:
    """Give name and entry of the config's only dataset."""
    datasets = cfg.get('datasets') or {
        name: entry
        for name, entry in cfg.items()
        if isinstance(entry, dict) and isinstance(entry.get('tasks'), dict)
    }
    if len(datasets) != 1:
        raise UserError(
            f'{path}: has {len(datasets)} datasets'
            + (f' ({", ".join(datasets)})' if datasets else '')
            + '; prepare them one by one, by name.'
        )
    return next(iter(datasets.items()))


def _task(where: str, kind: str, task: dict) -> TargetTask:
    files = {
        split: posixpath.normpath(file)
        for split, file in (task.get('splits') or {}).items()
        if split in SPLITS and file and _is_prepared(file)
    }
    classes = tuple(task.get('classes') or ())
    reader = dict(task.get('reader') or {})
    if not files:
        return TargetTask(classes, files)
    if not classes:
        raise UserError(f'{where} has no "classes".')
    name = reader.get('type')
    foreign = [key for key in _FOREIGN if key in reader]
    if name != _READERS[kind] or foreign:
        what = f'with "{foreign[0]}"' if foreign else f'is "{name}"'
        raise UserError(
            f'{where}.reader {what}, but prepared files are read by '
            f'dict(type="{_READERS[kind]}").'
        )
    for split, file in files.items():
        if not file.endswith(_SUFFIXES[kind]):
            raise UserError(
                f'{where}.splits.{split} is "{file}"; prepared {kind} files '
                f'end in {_SUFFIXES[kind]}.'
            )
    merged = bool(reader.get('merge_classes'))
    if merged and len(classes) != 1:
        raise UserError(f'{where} merges its classes and needs exactly one.')
    return TargetTask(classes, files, merged)


def _is_prepared(path: str) -> bool:
    return posixpath.normpath(path).split('/')[0] == PREPARED
