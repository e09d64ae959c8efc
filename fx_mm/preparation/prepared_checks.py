"""Checks of prepared data: counts, boxes, masks, images, a picture."""

import itertools
import os
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from fx_mm.image_io.masks import IGNORE, mask_sources
from fx_mm.image_io.xray import ImageReadError, read_xray
from fx_mm.preparation.dataset_spec import DatasetSpec, read_dataset_spec
from fx_mm.preparation.manifest import Manifest, describe_arguments
from fx_mm.preparation.prepared_forms import FORMS
from fx_mm.preparation.prepared_image import PreparedRecord
from fx_mm.preparation.prepared_reader import read_prepared
from fx_mm.preparation.raw import find_raw
from fx_mm.preparation.splits import shared_patients
from fx_mm.tasks import SPLITS
from fx_mm.utils.errors import UserError
from fx_mm.utils.parallel import chunked, track_forked
from fx_mm.utils.turns import take_turns

_CHUNK = 8
_TILES = 24
_COLUMNS = 6
_SIZE = 256
_TOLERATED = 0.01
"""Ratio of a class's images whose label, box and mask may disagree."""

Problems = dict[str, list[str]]
"""What is wrong to the places where it is."""
Pair = tuple[str, str, str]
"""A class, and two forms of annotation."""


@dataclass
class CheckReport:
    """What a check found.

    Attributes:
        problems (dict): What is wrong to the places where it is.
        notes (list[str]): What is worth knowing.
        counts (Table): Images of each split and class.
        sheet (Path, optional): The contact sheet.
    """

    problems: Problems
    notes: list[str]
    counts: Table
    sheet: Path | None = None

    def lines(self) -> list[str]:
        """Return problems and notes as text."""
        lines = [f'Note: {note}.' for note in self.notes]
        for what, places in self.problems.items():
            shown = ', '.join(places[:5])
            more = ', ...' if len(places) > 5 else ''
            lines.append(f'WRONG: {what}: {len(places)} ({shown}{more})')
        return lines


def check_prepared(
    config: str | Path,
    data_root: str | Path | None = None,
    workers: int | None = None,
) -> CheckReport:
    """Check what :func:`~.prepare_dataset.prepare` has written.

    Every image is opened and every mask read; boxes lie in their images;
    labels, boxes and masks of a class agree; drawn splits share no patient.
    Counts stand beside those that the official dataset should have. The
    contact sheet ``prepared/<dataset>.check.png`` shows images of all
    classes.

    Args:
        config (str | Path): See :func:`~.prepare_dataset.prepare`.
        data_root (str | Path, optional): See there. Defaults to None.
        workers (int, optional): Processes. Defaults to the number of
            available cores.

    Raises:
        UserError: If the dataset is not prepared.
    """
    spec = read_dataset_spec(config, data_root)
    file = Manifest(spec)
    manifest = file.content
    if not manifest:
        raise UserError(
            f'{spec.name} is not prepared: {spec.prepared} has no manifest of '
            'it.'
        )
    # what the config says may have changed since
    file.check_arguments(manifest['arguments'] | describe_arguments(spec))
    problems: Problems = defaultdict(list)
    notes = list(manifest['notes'])
    records = read_prepared(spec, manifest['tables'], problems)
    _check_images(spec, records, problems, workers)
    raw = find_raw(manifest['arguments']['raw'])
    disagreeing = _compare_forms(spec, records)
    _judge_forms(disagreeing, bool(raw.box_split_ratios), problems, notes)
    _check_patients(spec, records, manifest, problems)
    counts = _count_table(spec, manifest, raw.official_counts, notes)
    sheet = _draw_sheet(spec, manifest, records, problems)
    return CheckReport(dict(problems), notes, counts, sheet)


def _check_images(
    spec: DatasetSpec,
    records: Sequence[PreparedRecord],
    problems: Problems,
    workers: int | None,
) -> None:
    """Open every image and mask, in parallel."""

    def work(chunk: Sequence[int]) -> list[tuple[str, str]]:
        return [
            found
            for index in chunk
            for found in _check_image(spec, records[index])
        ]

    chunks = chunked(range(len(records)), _CHUNK)
    text = f'Checking {spec.name}'
    for _, found in track_forked(text, work, chunks, workers):
        for what, where in found:
            problems[what].append(where)


def _check_image(
    spec: DatasetSpec, record: PreparedRecord
) -> list[tuple[str, str]]:
    """Return (what is wrong, where) of one image."""
    try:
        shape = read_xray(spec.image_path(record.name)).shape
    except ImageReadError as error:
        return [('images cannot be read', str(error))]
    wrong = []
    height, width = shape
    if record.size not in (None, (width, height)):
        wrong.append('images are of another size than their boxes')
    for name, x, y, w, h in record.boxes or ():
        # boxes are written to a thousandth of a pixel
        reach = max(-x, -y, x + w - width, y + h - height)
        if reach > 0.002 or min(w, h) <= 0:
            wrong.append(f'boxes of {name} reach out of their image')
    found = []
    paths = _mask_paths(spec, record)
    names = [name for name in paths if name != IGNORE]
    for path, code, numbers, _, _ in mask_sources(paths, names):
        try:
            values = code.read(path).values
        except UserError as error:
            found.append(('masks cannot be read', str(error)))
            continue
        for number, own in numbers:
            if values.shape != shape:
                wrong.append('masks are of another size than their image')
            elif not code.inside(values, own).any():
                wrong.append(f'masks of {names[number]} are empty')
    return found + [(what, record.name) for what in wrong]


def _mask_paths(spec: DatasetSpec, record: PreparedRecord) -> dict[str, str]:
    """Return the path of each mask, which its table has relative to itself."""
    if spec.masks is None or record.masks is None:
        return {}
    table = spec.root / spec.masks.files[record.splits['masks']]
    return {
        name: os.path.join(table.parent, path)
        for name, path in record.masks.items()
    }


def _compare_forms(
    spec: DatasetSpec, records: Sequence[PreparedRecord]
) -> dict[str, tuple[list[str], int]]:
    """Find where labels, boxes and masks of a class disagree.

    Returns:
        dict: What disagrees to (names of the images, number of images that
        have the class in either form).
    """
    found: dict[tuple[str, Pair], list[str]] = defaultdict(list)
    having: Counter[Pair] = Counter()
    for record in records:
        has = {}
        for form, files in spec.forms.items():
            presence = FORMS[form].presence(record, files.classes)
            if presence is not None:
                has[FORMS[form].noun] = presence
        for one, other in itertools.combinations(has, 2):
            for name in has[one].keys() & has[other].keys():
                first, second = has[one][name], has[other][name]
                having[name, one, other] += first or second
                if first != second:
                    words = (one, other) if first else (other, one)
                    key = '{} has a {} but no {}'.format(name, *words)
                    found[key, (name, one, other)].append(record.name)
    return {
        what: (names, having[key])
        for (what, key), names in sorted(found.items())
    }


def _judge_forms(
    disagreeing: Mapping[str, tuple[list[str], int]],
    partial: bool,
    problems: Problems,
    notes: list[str],
) -> None:
    """Separate the few mistakes of official files from ours.

    Args:
        disagreeing (Mapping): See :func:`_compare_forms`.
        partial (bool): Whether only some findings have boxes.
        problems (dict): Takes what is wrong.
        notes (list): Takes the rest.
    """
    for what, (names, having) in disagreeing.items():
        if partial or len(names) <= _TOLERATED * having:
            notes.append(f'{what}: {len(names)} of {having} images')
        else:
            problems[what].extend(names)


def _check_patients(
    spec: DatasetSpec,
    records: Sequence[PreparedRecord],
    manifest: Mapping[str, Any],
    problems: Problems,
) -> None:
    """Check that no patient is in two splits."""
    official = any(split in manifest['raw'] for split in SPLITS)
    for form in spec.forms:
        shared = shared_patients(
            records, [record.splits.get(form) for record in records]
        )
        if shared and not official:
            problems[f'patients are in several splits of {form}'] += shared


def _count_table(
    spec: DatasetSpec,
    manifest: Mapping[str, Any],
    official_counts: Mapping[str, int],
    notes: list[str],
) -> Table:
    """Put the counts of splits and classes beside the official ones."""
    table = Table(title=spec.name, title_justify='left')
    for name in ('', 'class', *SPLITS, 'all', 'official'):
        right = name not in ('', 'class')
        table.add_column(name, justify='right' if right else 'left')
    totals: dict[str, int] = {}
    for form, files in spec.forms.items():
        counts = [manifest['counts'][form].get(split) for split in SPLITS]
        rows = {
            f'({key})': [count and count[key] for count in counts]
            for key in ('images', 'boxes')
            if any(count and key in count for count in counts)
        }
        for name in files.classes:
            rows[name] = [count and count['classes'][name] for count in counts]
        for name, numbers in rows.items():
            total = sum(number or 0 for number in numbers)
            totals.setdefault(name.strip('()'), total)
            cells = ['' if n is None else str(n) for n in (*numbers, total)]
            official = official_counts.get(name.strip('()'), '')
            table.add_row(form, name, *cells, str(official))
        table.add_section()
    for key, number in official_counts.items():
        here = manifest['raw'].get(key, totals.get(key))
        if here is not None and here != number:
            notes.append(
                f'{key}: the official dataset has {number}, this one {here}'
            )
    return table


def _draw_sheet(
    spec: DatasetSpec,
    manifest: Mapping[str, Any],
    records: Sequence[PreparedRecord],
    problems: Problems,
) -> Path | None:
    """Draw images of all classes, and some of none."""
    # the picture alone needs torch, for the transforms of a training
    from fx_mm.visualization.contact_sheet import make_grid
    from fx_mm.visualization.dataset_sheet import (
        collect_images,
        draw_sample,
        open_tasks,
    )
    from fx_mm.visualization.tiles import save_picture

    chosen = {spec.image_path(name) for name in _choose(spec, records)}
    names = list(
        dict.fromkeys(c for form in spec.forms.values() for c in form.classes)
    )
    tiles = []
    for split in SPLITS:
        tasks = {
            form.kind: spec.config['tasks'][form.kind]
            for form in spec.forms.values()
            if form.files.get(split) in manifest['tables']
        }
        if not tasks:
            continue
        try:
            datasets = open_tasks(
                spec.name, dict(spec.config, tasks=tasks), split
            )
        except UserError as error:
            problems['files cannot be loaded'].append(str(error))
            continue
        for path, places in collect_images(datasets).items():
            if os.path.normpath(path) not in chosen:
                continue
            try:
                tiles.append(draw_sample(path, places, names, _SIZE))
            except UserError as error:
                problems['images cannot be loaded'].append(str(error))
    if not tiles:
        return None
    title = f'{spec.name}: {len(tiles)} of {len(records)} images'
    out_file = spec.prepared / f'{spec.name}.check.png'
    return save_picture(make_grid(tiles, _COLUMNS, title), out_file)


def _choose(spec: DatasetSpec, records: Iterable[PreparedRecord]) -> list[str]:
    """Choose images in turn of each form and class, and of none."""
    groups: dict[tuple[str, str], list[str]] = {
        (form, name): []
        for form, files in spec.forms.items()
        for name in files.classes
    }
    groups['', ''] = []
    for record in sorted(records, key=lambda r: zlib.crc32(r.name.encode())):
        present = [
            (form, name)
            for form, files in spec.forms.items()
            for name, here in (
                FORMS[form].presence(record, files.classes) or {}
            ).items()
            if here and (form, name) in groups
        ]
        for key in present or [('', '')]:
            groups[key].append(record.name)
    return take_turns(groups, _TILES)
