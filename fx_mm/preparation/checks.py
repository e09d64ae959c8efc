"""Looking at prepared data: counts, boxes, masks, images, a picture."""

import itertools
import os
import zlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress
from rich.table import Table

from fx_mm.datasets.io.xray import ImageReadError, read_mask, read_xray
from fx_mm.datasets.readers.masks import split_bit
from fx_mm.preparation.dataset_spec import Target, read_target
from fx_mm.preparation.entries import find_release
from fx_mm.preparation.manifest import Manifest, describe_arguments
from fx_mm.preparation.prepared_reader import Stored, read_tables
from fx_mm.preparation.splits import shared_patients
from fx_mm.tasks import SPLITS
from fx_mm.utils.errors import UserError
from fx_mm.utils.parallel import map_forked
from fx_mm.visualization.contact_sheet import make_grid
from fx_mm.visualization.dataset_sheet import (
    collect_images,
    draw_sample,
    open_tasks,
)
from fx_mm.visualization.tiles import save_picture

_CHUNK = 8
_TILES = 24
_COLUMNS = 6
_SIZE = 256
_TOLERATED = 0.01
"""Share of a class's images whose label, box and mask may disagree."""


@dataclass
class CheckReport:
    """What a check found.

    Attributes:
        problems (dict): What is wrong to the places where it is.
        notes (list[str]): What is worth knowing.
        counts (Table): Images of each part and class.
        sheet (Path, optional): The contact sheet.
    """

    problems: dict
    notes: list
    counts: Table
    sheet: Path | None = None

    def lines(self) -> list:
        """Give problems and notes as text."""
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
    """Check what :func:`~.conversion.prepare` has written.

    Every image is opened and every mask read; boxes lie in their images;
    labels, boxes and masks of a class agree; drawn parts share no patient.
    Counts stand beside those that the official release should give. The
    contact sheet ``prepared/<dataset>.check.png`` shows images of all
    classes.

    Args:
        config (str | Path): See :func:`~.conversion.prepare`.
        data_root (str | Path, optional): See there. Defaults to None.
        workers (int, optional): Processes. Defaults to the number of
            available cores.

    Raises:
        UserError: If the dataset is not prepared.
    """
    target = read_target(config, data_root)
    file = Manifest(target)
    manifest = file.content
    if not manifest:
        raise UserError(
            f'{target.name} is not prepared: {target.prepared} has no '
            'manifest of it.'
        )
    # what the config says may have changed since
    file.check_arguments(manifest['arguments'] | describe_arguments(target))
    problems: dict = defaultdict(list)
    notes = list(manifest['notes'])
    images = read_tables(target, manifest['tables'], problems)
    _check_images(target, images, problems, workers)
    release = find_release(manifest['arguments']['release'])
    disagreeing = _compare_kinds(target, images)
    _judge_kinds(disagreeing, bool(release.box_shares), problems, notes)
    _check_patients(target, images, manifest, problems, notes)
    counts = _count_table(target, manifest, release.expected, notes)
    sheet = _draw_sheet(target, manifest, images, problems)
    return CheckReport(dict(problems), notes, counts, sheet)


def _check_images(target: Target, images, problems, workers) -> None:
    """Open every image and mask, in parallel."""
    seg = target.tasks.get('seg')
    folders = {
        part: os.path.dirname(target.root / file)
        for part, file in (seg.files if seg else {}).items()
    }

    def work(chunk: Sequence[int]) -> list:
        return [
            found
            for index in chunk
            for found in _check_image(target, images[index], folders)
        ]

    chunks = [
        range(start, min(start + _CHUNK, len(images)))
        for start in range(0, len(images), _CHUNK)
    ]
    with Progress() as progress:
        bar = progress.add_task(f'Checking {target.name}', total=len(images))
        for chunk, found in zip(chunks, map_forked(work, chunks, workers)):
            progress.advance(bar, len(chunk))
            for what, where in found:
                problems[what].append(where)


def _check_image(target: Target, image: Stored, folders: dict) -> list:
    """Give (what is wrong, where) of one image."""
    try:
        shape = read_xray(str(target.images / image.name)).shape
    except ImageReadError as error:
        return [('images cannot be read', str(error))]
    found = []
    height, width = shape
    if image.size not in (None, (width, height)):
        found.append(('images are of another size than their boxes', image))
    for name, x, y, w, h in image.boxes or ():
        # boxes are written to a thousandth of a pixel
        reach = max(-x, -y, x + w - width, y + h - height)
        if reach > 0.002 or min(w, h) <= 0:
            found.append((f'boxes of {name} reach out of their image', image))
    masks: dict = {}
    for name, path in (image.masks or {}).items():
        file, bit = split_bit(os.path.join(folders[image.parts['seg']], path))
        if file not in masks:
            try:
                masks[file] = read_mask(file)
            except ImageReadError as error:
                found.append(('masks cannot be read', str(error)))
                masks[file] = None
        mask = masks[file]
        if mask is None:
            continue
        if mask.shape != shape:
            found.append(('masks are of another size than their image', image))
        elif not (mask if bit is None else mask >> bit & 1).any():
            found.append((f'masks of {name} are empty', image))
    return [
        (what, where.name if isinstance(where, Stored) else where)
        for what, where in found
    ]


def _compare_kinds(target: Target, images: Sequence[Stored]) -> dict:
    """Find where labels, boxes and masks of a class disagree.

    Returns:
        dict: What disagrees to (names of the images, number of images that
        have the class in either kind).
    """
    found: dict = defaultdict(list)
    having: Counter = Counter()
    for image in images:
        has = {}
        if image.labels is not None:
            has['label'] = {
                name: text == '1'
                for name, text in image.labels.items()
                if text in ('0', '1')
            }
        if image.boxes is not None:
            named = {name for name, *_ in image.boxes}
            classes = target.tasks['loc'].classes
            has['box'] = {name: name in named for name in classes}
        if image.masks is not None:
            classes = target.tasks['seg'].classes
            has['mask'] = {name: name in image.masks for name in classes}
        for one, other in itertools.combinations(has, 2):
            for name in has[one].keys() & has[other].keys():
                first, second = has[one][name], has[other][name]
                having[name, one, other] += first or second
                if first != second:
                    words = (one, other) if first else (other, one)
                    key = '{} has a {} but no {}'.format(name, *words)
                    found[key, (name, one, other)].append(image.name)
    return {
        what: (names, having[key])
        for (what, key), names in sorted(found.items())
    }


def _judge_kinds(disagreeing: dict, partial: bool, problems, notes) -> None:
    """Tell the few images that official releases are wrong in from a mistake
    of the preparation.

    Args:
        disagreeing (dict): See :func:`_compare_kinds`.
        partial (bool): Whether the release has boxes for some findings only.
        problems (dict): Takes what is wrong.
        notes (list): Takes the rest.
    """
    for what, (names, having) in disagreeing.items():
        if partial or len(names) <= _TOLERATED * having:
            notes.append(f'{what}: {len(names)} of {having} images')
        else:
            problems[what].extend(names)


def _check_patients(target, images, manifest, problems, notes) -> None:
    """See that no patient is in two parts."""
    official = any(part in manifest['release'] for part in SPLITS)
    for kind in target.tasks:
        shared = shared_patients(images, [i.parts.get(kind) for i in images])
        if shared and not official:
            problems[f'patients are in several parts of {kind}'] += shared


def _count_table(target: Target, manifest: dict, expected, notes) -> Table:
    """Put the counts of parts and classes beside the official ones."""
    table = Table(title=target.name, title_justify='left')
    for name in ('', 'class', *SPLITS, 'all', 'official'):
        right = name not in ('', 'class')
        table.add_column(name, justify='right' if right else 'left')
    counts, totals = manifest['counts'], {}
    for kind in target.tasks:
        parts = [counts[kind].get(part) for part in SPLITS]
        rows = {'(images)': [p and p['images'] for p in parts]}
        if kind == 'loc':
            rows['(boxes)'] = [p and p['boxes'] for p in parts]
        for name in target.tasks[kind].classes:
            rows[name] = [p and p['classes'][name] for p in parts]
        for name, numbers in rows.items():
            total = sum(number or 0 for number in numbers)
            totals.setdefault(name, total)
            cells = ['' if n is None else str(n) for n in (*numbers, total)]
            official = expected.get(name.strip('()'), '')
            table.add_row(kind, name, *cells, str(official))
        table.add_section()
    for key, number in expected.items():
        here = manifest['release'].get(key, totals.get(key))
        if here is not None and here != number:
            notes.append(
                f'{key}: the official release has {number}, this one {here}'
            )
    return table


def _draw_sheet(target: Target, manifest: dict, images, problems) -> Path:
    """Draw images of all classes, and some of none."""
    chosen = {
        os.path.join(str(target.images), image.name)
        for image in _choose(target, images)
    }
    names = list(
        dict.fromkeys(c for t in target.tasks.values() for c in t.classes)
    )
    tiles = []
    for part in SPLITS:
        tasks = {
            kind: target.config['tasks'][kind]
            for kind, task in target.tasks.items()
            if task.files.get(part) in manifest['tables']
        }
        if not tasks:
            continue
        try:
            datasets = open_tasks(
                target.name, dict(target.config, tasks=tasks), part
            )
        except UserError as error:
            problems['files cannot be loaded'].append(str(error))
            continue
        for path, places in collect_images(datasets).items():
            if os.path.normpath(path) not in chosen:
                continue
            try:
                tiles.append(draw_sample(path, places, names, _SIZE)[0])
            except UserError as error:
                problems['images cannot be loaded'].append(str(error))
    if not tiles:
        return None
    title = f'{target.name}: {len(tiles)} of {len(images)} images'
    path = target.prepared / f'{target.name}.check.png'
    return save_picture(make_grid(tiles, _COLUMNS, title), path)


def _choose(target: Target, images: Sequence[Stored]) -> list:
    """Choose images in turn of each class and of none, the same each time."""
    groups: dict = defaultdict(list)
    for image in sorted(images, key=lambda i: zlib.crc32(i.name.encode())):
        for name in image.classes() or {''}:
            groups[name].append(image)
    chosen: dict = {}
    for row in itertools.zip_longest(*(groups[n] for n in sorted(groups))):
        for image in row:
            if image is not None and len(chosen) < _TILES:
                chosen[image.name] = image
        if len(chosen) == _TILES:
            break
    return list(chosen.values())
