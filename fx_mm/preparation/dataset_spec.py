"""What a dataset's config asks for: which files, with which classes."""

import os
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fx_mm.config import load_config
from fx_mm.preparation.prepared_forms import FORMS
from fx_mm.preparation.prepared_image import PREPARED
from fx_mm.tasks import SPLITS, Kind, find_kind
from fx_mm.utils.checks import suggest
from fx_mm.utils.errors import UserError

_FOREIGN = ('img_suffix', 'suffix', 'findings_column', 'image_column')
"""Keys of readers for files of other layouts."""


@dataclass(frozen=True)
class FormSpec:
    """The files of one form of annotation.

    Attributes:
        kind (str): Key of the task in the config.
        classes (tuple[str]): Class names.
        files (dict): Split to its file below ``prepared/``, relative to the
            dataset's ``data_root``. Splits with an official file are not in.
        merged (bool): Whether boxes of any class are the task's only class.
    """

    kind: str
    classes: tuple[str, ...]
    files: dict[str, str]
    merged: bool = False

    def takes(self, name: str) -> bool:
        """Return whether a raw class is one of the task's."""
        return self.merged or name in self.classes


@dataclass(frozen=True)
class DatasetSpec:
    """The prepared form of one dataset.

    Attributes:
        name (str): Name of the dataset.
        root (Path): Its ``data_root``.
        img_dir (str): Folder of the images, relative to ``root``.
        labels (FormSpec, optional): Files of image labels, if it has any.
        boxes (FormSpec, optional): Those of boxes.
        masks (FormSpec, optional): Those of masks.
        config (dict): All that the config says of the dataset.
    """

    name: str
    root: Path
    img_dir: str
    labels: FormSpec | None = None
    boxes: FormSpec | None = None
    masks: FormSpec | None = None
    config: Mapping[str, Any] = field(
        default_factory=dict, compare=False, repr=False
    )

    @property
    def forms(self) -> dict[str, FormSpec]:
        """dict: Form of annotation to its files, of those that it has."""
        forms = {name: getattr(self, name) for name in FORMS}
        return {name: form for name, form in forms.items() if form}

    @property
    def in_place(self) -> bool:
        """bool: Whether images stay where the raw dataset has them."""
        return not _is_prepared(self.img_dir)

    @property
    def images(self) -> Path:
        """Path: Folder of the images."""
        return self.root / self.img_dir

    def image_path(self, name: str) -> str:
        """Return the path of an image.

        Args:
            name (str): Relative to :attr:`images`; it may lead to another
                folder below :attr:`root`.
        """
        path = os.path.join(str(self.images), name)
        return os.path.normpath(path) if name.startswith('..') else path

    @property
    def prepared(self) -> Path:
        """Path: Folder of all that is written."""
        return self.root / PREPARED

    @property
    def splits(self) -> set[str]:
        """set[str]: Splits that are written in any form."""
        return {s for form in self.forms.values() for s in form.files}

    def task(self, form: str) -> str:
        """Return the name of the task of a form, for messages."""
        return f'{self.name}/{self.forms[form].kind}'


def read_dataset_spec(
    config: str | Path, data_root: str | Path | None = None
) -> DatasetSpec:
    """Read a dataset's config.

    Args:
        config (str | Path): Name of a dataset that comes with fx_mm, or path
            of a config with one dataset.
        data_root (str | Path, optional): Folder that takes the place of
            ``data/``. Defaults to None.

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
    forms: dict[str, FormSpec] = {}
    for key, task in entry['tasks'].items():
        where, kind = f'{path}: {name}.tasks.{key}', find_kind(key)
        spec = _read_form(where, kind, task)
        if not spec.files:
            continue
        if kind.annotation in forms:
            raise UserError(
                f'{where} wants prepared {kind.annotation}, which '
                f'{forms[kind.annotation].kind} has already; remove its '
                f'splits below {PREPARED}/.'
            )
        forms[kind.annotation] = spec
    if not forms:
        raise UserError(
            f'{path}: dataset "{name}" names no split below {PREPARED}/, so '
            'there is nothing to prepare.'
        )
    seen: dict[str, str] = {}
    for spec in forms.values():
        for split, file in spec.files.items():
            if file in seen:
                raise UserError(
                    f'{path}: {file} stands for {seen[file]} and for '
                    f'{spec.kind}/{split}; give each a file of its own.'
                )
            seen[file] = f'{spec.kind}/{split}'
    return DatasetSpec(
        name,
        Path(entry['data_root']).expanduser(),
        posixpath.normpath(entry.get('img_dir') or '.'),
        **forms,
        config=entry,
    )


def find_config(name: str) -> str:
    """Find a dataset's config by its name or path.

    Raises:
        UserError: If there is none; lists those that come with fx_mm.
    """
    if os.path.isfile(name):
        return name
    package = Path(__file__).parents[1]
    known: dict[str, str] = {}
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


def _only_dataset(
    cfg: Mapping[str, Any], path: str
) -> tuple[str, dict[str, Any]]:
    """Return name and entry of the config's only dataset."""
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


def _read_form(where: str, kind: Kind, task: Mapping[str, Any]) -> FormSpec:
    """Read what a task's entry asks for."""
    files = {
        split: posixpath.normpath(file)
        for split, file in (task.get('splits') or {}).items()
        if split in SPLITS and file and _is_prepared(file)
    }
    classes = tuple(task.get('classes') or ())
    if not files:
        return FormSpec(kind.name, classes, files)
    form = FORMS.get(kind.annotation)
    if form is None:
        raise UserError(
            f'{where} names splits below {PREPARED}/, but only '
            f'{", ".join(FORMS)} can be prepared, not {kind.annotation}.'
        )
    if not classes:
        raise UserError(f'{where} has no "classes".')
    reader = dict(task.get('reader') or dict(type=kind.reader))
    foreign = [key for key in _FOREIGN if key in reader]
    if reader.get('type') != form.reader or foreign:
        what = f'is "{reader.get("type")}"'
        if foreign:
            what = f'with "{foreign[0]}"'
        raise UserError(
            f'{where}.reader {what}, but prepared files are read by '
            f'dict(type="{form.reader}").'
        )
    for split, file in files.items():
        if not file.endswith(form.suffix):
            raise UserError(
                f'{where}.splits.{split} is "{file}"; prepared '
                f'{kind.annotation} end in {form.suffix}.'
            )
    merged = bool(reader.get('merge_classes'))
    if merged and len(classes) != 1:
        raise UserError(f'{where} merges its classes and needs exactly one.')
    return FormSpec(kind.name, classes, files, merged)


def _is_prepared(path: str) -> bool:
    return posixpath.normpath(path).split('/')[0] == PREPARED
