"""A folder of images with tables and COCO files: what is there."""

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from fx_mm.datasets.readers.csv_table import CsvTable
from fx_mm.datasets.readers.masks import split_bit
from fx_mm.datasets.readers.patient_ids import (
    find_patient_name,
    read_patient,
    warn_of_patients,
)
from fx_mm.datasets.readers.value_csv import parse_value
from fx_mm.image_io.xray import IMAGE_SUFFIXES
from fx_mm.tasks import SPLITS
from fx_mm.utils.errors import UserError
from fx_mm.utils.text_files import read_json

HINT = 'it lies beside the images'
SPLIT_WORDS = dict(
    train='train', training='train', val='val', valid='val', validation='val',
    dev='val', test='test', testing='test',
)  # fmt: skip
COUNTER = re.compile(r'(.*[\W_])?(id|index|no|nr|number|#)', re.IGNORECASE)
"""Names of columns of numbers that measure nothing."""


class Place(NamedTuple):
    """Where the images of a file are.

    Attributes:
        folder (str): Relative to the folder that is looked at.
        suffix (str): What the file's names lack.
    """

    folder: str
    suffix: str


@dataclass
class Annotation:
    """One file: the images that it names, and what it says of them.

    Attributes:
        file (Path): The file.
        place (Place): Where its images are.
        names (list[str]): Its images, as it writes them.
        classes (dict[str, list[str]]): Task kind to classes.
        patients (dict[str, str]): Image to patient, where it is known.
        reader (dict): Keys of the reader besides its type.
        unused (list[str]): What of it no task takes.
    """

    file: Path
    place: Place
    names: list[str]
    classes: dict[str, list[str]]
    patients: dict[str, str]
    reader: dict[str, str] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)

    def subset(self, names: set[str]) -> str:
        """Return the file's text for some of its images."""
        raise NotImplementedError


@dataclass
class Table(Annotation):
    """A CSV file; see :class:`Annotation`."""

    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)

    def subset(self, names: set[str]) -> str:
        """Return the header and the rows of some images."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator='\n')
        writer.writerow(self.header)
        writer.writerows(
            row
            for row, name in zip(self.rows, self.names, strict=True)
            if name in names
        )
        return text.getvalue()


@dataclass
class Coco(Annotation):
    """A COCO file; see :class:`Annotation`."""

    content: dict[str, Any] = field(default_factory=dict)

    def subset(self, names: set[str]) -> str:
        """Return the images of some names, with their annotations."""
        images = [
            image
            for image in self.content['images']
            if str(image['file_name']) in names
        ]
        ids = {image['id'] for image in images}
        boxes = [
            each
            for each in self.content['annotations']
            if each['image_id'] in ids
        ]
        return json.dumps(dict(self.content, images=images, annotations=boxes))


@dataclass
class PlainFolder:
    """What is in a folder.

    Attributes:
        root (Path): The folder.
        place (Place): Where the images are.
        groups (list[dict]): Split, or '' for all of them, to annotation; one
            dict per file, or per three files of one name.
        unused (list[str]): What no task takes, for people.
    """

    root: Path
    place: Place
    groups: list[dict[str, Annotation]]
    unused: list[str]

    @property
    def tasks(self) -> dict[str, dict[str, Annotation]]:
        """dict: Task kind to its group.

        Raises:
            UserError: If two files are of one kind.
        """
        found: dict[str, dict[str, Annotation]] = {}
        for group in self.groups:
            (first, *_) = group.values()
            for kind in first.classes:
                if kind in found:
                    (other, *_) = found[kind].values()
                    raise UserError(
                        f'{first.file} and {other.file} both have what '
                        f'trains {kind} tasks; put it into one file, or move '
                        'one of them away.'
                    )
                found[kind] = group
        return found


def look_at(root: Path) -> PlainFolder:
    """Find images and annotation in a folder.

    Tables and COCO files lie in the folder itself, images in it or below. A
    column of a table whose values are 0, 1, -1 or blank is a class of labels,
    of other numbers a target, of mask files a class of masks.

    Args:
        root (Path): The folder.

    Raises:
        UserError: If there is nothing to train on, files contradict each
            other, or images are missing.
    """
    if not root.is_dir():
        raise UserError(f'{root}: is no folder; give that of your data.')
    folders = sorted({path.parent for path in _images(root)})
    if not folders:
        raise UserError(
            f'{root}: has no images ({", ".join(IMAGE_SUFFIXES)}), neither '
            'in itself nor below.'
        )
    places = [str(p.relative_to(root)) for p in [root, *folders]]
    places += [
        str(parent.relative_to(root))
        for folder in folders
        for parent in folder.parents
        if parent.is_relative_to(root)
    ]
    places = list(dict.fromkeys(places))
    found: list[Annotation] = []
    unused: list[str] = []
    for path in sorted(root.iterdir()):
        suffixes = [s for s in path.suffixes if s != '.gz'][-1:]
        if path.name.startswith('.') or not path.is_file():
            continue
        each: Annotation | None = None
        if suffixes in (['.csv'], ['.tsv']):
            each = _read_table(path, root, places)
        elif suffixes == ['.json']:
            each = _read_coco(path, root, places)
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            continue
        if each is None or not each.classes:
            unused.append(f'{path.name} (names no image, or says nothing)')
        else:
            found.append(each)
            unused += [f'{path.name}: {what}' for what in each.unused]
    if not found:
        raise UserError(
            f'{root}: has no table (.csv) and no COCO file (.json) that names '
            'its images; put one beside them, with a header: '
            'image,Nodule,Effusion.'
        )
    first = found[0]
    for each in found[1:]:
        if each.place != first.place:
            raise UserError(
                f'{first.file} names images as in "{first.place.folder}" and '
                f'{each.file} as in "{each.place.folder}"; write the names '
                'alike, relative to one folder.'
            )
    groups = list(_group(found, root, unused))
    return PlainFolder(root, first.place, groups, unused)


def _images(root: Path) -> Iterator[Path]:
    for path in root.rglob('*'):
        hidden = any(p.startswith('.') for p in path.relative_to(root).parts)
        if path.suffix.lower() in IMAGE_SUFFIXES and not hidden:
            yield path


def file_stem(file: Path) -> tuple[str, str]:
    """Return a name without its suffixes; what is written is not packed."""
    suffix = '.json' if '.json' in file.suffixes else '.csv'
    return re.split(r'\.(csv|tsv|json)\b', file.name)[0], suffix


def _read_table(path: Path, root: Path, places: list[str]) -> Table | None:
    table = CsvTable(path, HINT)
    rows = [[cell.strip() for cell in cells] for _, cells in table]
    columns = dict(zip(table.header, zip(*rows, strict=True)))
    place, image = None, ''
    for name, cells in columns.items():
        place = _find(path, cells, root, places)
        if place is not None:
            image = name
            break
    if place is None:
        return None
    patient = find_patient_name(columns)
    if patient is None:
        warn_of_patients(str(path), set(columns) - {image})
    found = Table(
        path, place, list(columns[image]), {}, {}, header=table.header,
        rows=rows,
    )  # fmt: skip
    if patient is not None:
        known = zip(found.names, map(read_patient, columns[patient]))
        found.patients = {name: p for name, p in known if p is not None}
    for name, cells in columns.items():
        if name in (image, patient, ''):
            continue
        kind = _kind_of(cells, path.parent)
        if kind is None or (kind == 'reg' and COUNTER.fullmatch(name)):
            shown = ', '.join(sorted(set(filter(None, cells)))[:3])
            found.unused.append(f'column "{name}" ({shown or "blank"})')
        else:
            found.classes.setdefault(kind, []).append(name)
    if image != (table.header[0] if 'seg' not in found.classes else 'image'):
        found.reader['image_column'] = image
    return found


def _kind_of(cells: Sequence[str], folder: Path) -> str | None:
    """Return which kind of task the cells of a column train."""
    filled = [cell for cell in cells if cell]
    if not filled:
        return None
    values = [parse_value(cell) for cell in filled]
    numbers = [value for value in values if not math.isnan(value)]
    if not numbers:
        return None
    if all(value in (0, 1, -1) for value in numbers):
        return 'cls'
    if all(map(math.isfinite, numbers)):
        return 'reg'
    if all((folder / split_bit(cell)[0]).is_file() for cell in filled):
        return 'seg'
    return None


def _read_coco(path: Path, root: Path, places: list[str]) -> Coco | None:
    content = read_json(path, HINT)
    keys = ('images', 'annotations', 'categories')
    if not isinstance(content, dict) or not all(k in content for k in keys):
        return None
    try:
        names = [str(image['file_name']) for image in content['images']]
        classes = [str(each['name']) for each in content['categories']]
    except (KeyError, TypeError) as error:
        raise UserError(
            f'{path}: has images without "file_name" or categories without '
            '"name"; it is no whole COCO file.'
        ) from error
    place = _find(path, names, root, places)
    if place is None:
        return None
    found = Coco(
        path, place, names, dict(loc=list(dict.fromkeys(classes))), {},
        content=content,
    )  # fmt: skip
    for image in content['images']:
        key = find_patient_name(image)
        patient = read_patient(image[key]) if key else None
        if patient is not None:
            found.patients[str(image['file_name'])] = patient
    return found


def _find(
    path: Path, names: Sequence[str], root: Path, places: list[str]
) -> Place | None:
    """Return where the images of a file are, None if it names none.

    Raises:
        UserError: If some of them are missing.
    """
    best: tuple[tuple[bool, int], Place] | None = None
    sample = [name for name in names if name][:50]
    for folder in places:
        for suffix in ('', *IMAGE_SUFFIXES):
            hits = sum(
                (root / folder / (name + suffix)).is_file() for name in sample
            )
            # masks may have the names of their images
            score = 'mask' not in folder.lower(), hits
            if hits and (best is None or score > best[0]):
                best = score, Place(folder, suffix)
    if best is None:
        return None
    place = best[1]
    missing = [
        name
        for name in names
        if not name
        or not (root / place.folder / (name + place.suffix)).is_file()
    ]
    if missing:
        raise UserError(
            f'{path}: {len(missing)} of its {len(names)} images are not in '
            f'{root / place.folder}, such as "{missing[0]}"; complete the '
            'images, or delete their rows.'
        )
    return place


def _group(
    found: list[Annotation], root: Path, unused: list[str]
) -> Iterator[dict[str, Annotation]]:
    """Put the files of three splits together, by their names.

    Raises:
        UserError: If one of the three is missing, or they differ.
    """
    groups: dict[tuple[str, str], dict[str, Annotation]] = {}
    for each in found:
        stem, suffix = file_stem(each.file)
        words = re.split(r'[\W_]+', stem)
        splits = [
            SPLIT_WORDS[w.lower()] for w in words if w.lower() in SPLIT_WORDS
        ]
        split = splits[0] if len(splits) == 1 else ''
        rest = '_'.join(w for w in words if w.lower() not in SPLIT_WORDS)
        same = groups.setdefault((rest if split else stem, suffix), {})
        if split in same:
            raise UserError(
                f'{same[split].file} and {each.file} are of the same split; '
                'move one of them away.'
            )
        same[split] = each
    for group in groups.values():
        whole = group.pop('', None) if len(group) > 1 else None
        if whole is not None:
            unused.append(f'{whole.file.name} (its three splits are there)')
        if '' in group:
            yield group
            continue
        first = next(iter(group.values()))
        for split in SPLITS:
            if split not in group:
                raise UserError(
                    f'{first.file} is of one split, but there is no file of '
                    f'the split "{split}" beside it; give all three, or one '
                    'file of all images, which is then split.'
                )
            if group[split].classes != first.classes:
                raise UserError(
                    f'{group[split].file} has other columns or classes than '
                    f'{first.file}; make them alike.'
                )
        yield {split: group[split] for split in SPLITS}
