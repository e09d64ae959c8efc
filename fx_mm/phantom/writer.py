"""Phantom data on disk: images, label tables, COCO files and masks."""

import contextlib
import csv
import hashlib
import io
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.logging import print_log

from fx_mm.phantom.draw_findings import FINDINGS
from fx_mm.phantom.hospitals import HOSPITALS, Hospital
from fx_mm.phantom.render import ORGANS, SPLITS, TARGETS, render_phantom
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import locked, write_whole
from fx_mm.utils.parallel import track_forked
from fx_mm.utils.value_types import check_call

GENERATOR_VERSION = 3
"""Raised with every change that alters pixels or files."""

DIFFICULTIES = dict(easy=0.0, medium=0.5, hard=1.0)
DEFAULT_COUNTS = dict(train=3000, val=200, test=400)
"""Images per hospital."""

MASK_CLASSES = (*ORGANS, *FINDINGS)
"""Class of each bit of a mask file."""

_MANIFEST = 'manifest.json'
_CHUNK = 50
_INFO = dict(
    description='Procedurally drawn chest X-rays of fx_mm; no patient data'
)


Row = dict[str, Any]
"""What the tables say of an image: name, labels, boxes, classes."""
Job = tuple[Path, str, str, range, Mapping[str, Any]]
"""Folder, hospital, split and numbers of some images; the arguments."""


def image_name(split: str, index: int) -> str:
    """Return an image's name, relative to the hospital's ``images``."""
    return f'{split}/{index:06d}.png'


def draw_phantoms(cfg: Config) -> None:
    """Draw the phantoms that a config asks for, if they are missing.

    Args:
        cfg (Config): Its ``phantom`` has the arguments of
            :func:`ensure_phantom`; without one, nothing is drawn.

    Raises:
        UserError: If an argument is wrong.
    """
    entry = cfg.get('phantom')
    if entry:
        check_call('phantom', ensure_phantom, entry)
        ensure_phantom(**entry)


def ensure_phantom(
    root: str | Path = 'data/phantom',
    difficulty: str = 'easy',
    counts: Mapping[str, int] | None = None,
    size: int = 128,
    seed: int = 0,
    workers: int | None = None,
    force: bool = False,
) -> Path:
    """Write the phantom data unless they are there.

    Under ``root/difficulty`` each hospital has its folder with
    ``images/SPLIT/*.png`` (8-bit grey) and ``SPLIT.csv`` (labels); B and C
    also ``SPLIT.json`` (COCO boxes); C also ``SPLIT_masks.csv`` and
    ``masks/SPLIT/*.png``, and ``SPLIT_values.csv`` (cardiothoracic ratio). B
    and C have ``SPLIT_reports.csv``, and ``SPLIT_questions.csv`` with several
    rows per image. A mask file has 16 bits per pixel, one per class; the
    table has ``masks/train/000001.png#3`` for bit 3 of that file, and nothing
    for a class that is not in the image.

    The data are written into a temporary folder beside their place and
    renamed at the end, so a kill leaves nothing half-written. Simultaneous
    calls wait for each other.

    Args:
        root (str | Path): Folder of all phantom data. Defaults to
            'data/phantom'.
        difficulty (str): 'easy', 'medium' or 'hard'; also the name of the
            folder. Defaults to 'easy'.
        counts (Mapping, optional): Images per hospital for 'train', 'val' and
            'test'. Defaults to 3000, 200 and 400.
        size (int): Pixels along an edge. Defaults to 128.
        seed (int): Seed of everything drawn. Image i of a split depends on
            the seed, the hospital, the split and i alone. Defaults to 0.
        workers (int, optional): Number of processes; does not change the
            data. Defaults to the number of available cores.
        force (bool): Replace data that were written with other arguments.
            Defaults to False.

    Returns:
        Path: ``root/difficulty``.

    Raises:
        UserError: If an argument is wrong, or the folder holds something
            else and ``force`` is not set.
    """
    counts = dict(DEFAULT_COUNTS if counts is None else counts)
    args = dict(
        generator=GENERATOR_VERSION,
        difficulty=difficulty,
        counts=counts,
        size=size,
        seed=seed,
    )
    _check_arguments(args, workers)
    folder = Path(root) / difficulty
    with lock_folder(folder):
        if not force and _is_there(folder, args):
            print_log(f'Phantom data in {folder}: found.', 'current')
            return folder
        _write(folder, args, workers)
    print_log(f'Phantom data in {folder}: written.', 'current')
    return folder


def _check_arguments(args: Mapping[str, Any], workers: int | None) -> None:
    if args['difficulty'] not in DIFFICULTIES:
        raise UserError(
            f'Unknown difficulty "{args["difficulty"]}" of the phantom '
            f'data; choose one of: {", ".join(DIFFICULTIES)}.'
        )
    counts = args['counts']
    if sorted(counts) != sorted(SPLITS):
        raise UserError(
            f'The phantom counts are for {", ".join(counts) or "nothing"}; '
            f'give one for each of: {", ".join(SPLITS)}.'
        )
    numbers = {f'count of {split}': counts[split] for split in SPLITS}
    least = dict.fromkeys(numbers, 1) | dict(size=32, seed=0)
    numbers |= dict(size=args['size'], seed=args['seed'])
    if workers is not None:
        numbers['workers'], least['workers'] = workers, 1
    for name, value in numbers.items():
        if not isinstance(value, int) or value < least[name]:
            raise UserError(
                f'The phantom {name} is {value!r}; it must be an integer of '
                f'at least {least[name]}.'
            )


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Allow one process at a time to write a folder.

    Raises:
        UserError: If nothing can be written beside it.
    """
    with contextlib.ExitStack() as stack:
        try:
            lock = locked(folder.parent / f'.{folder.name}.lock')
            stack.enter_context(lock)
        except OSError as error:
            raise UserError(
                f'{folder.parent}: {error.strerror}; choose another root for '
                'the phantom data.'
            ) from error
        yield


def _is_there(folder: Path, args: Mapping[str, Any]) -> bool:
    """Return whether the folder holds exactly these data.

    Raises:
        UserError: If it holds something else.
    """
    manifest = folder / _MANIFEST
    if not manifest.exists():
        ours = {habits.name for habits in HOSPITALS.values()}
        others = {path.name for path in folder.glob('*')} - ours
        if others:
            raise UserError(
                f'{folder} holds "{min(others)}", which is not phantom data; '
                'choose another root.'
            )
        return False
    try:
        content = json.loads(manifest.read_text(encoding='utf-8'))
        written, sums = content['args'], content['sha256']
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f'{manifest} is damaged; delete {folder} or write it again with '
            'force (--force of make_phantom.py).'
        ) from error
    differing = [key for key in args if written.get(key) != args[key]]
    if differing:
        was = ', '.join(f'{key}={written.get(key)}' for key in differing)
        now = ', '.join(f'{key}={args[key]}' for key in differing)
        raise UserError(
            f'{folder} holds phantom data with {was} instead of {now}; '
            'choose another root, or replace them with force (--force of '
            'make_phantom.py).'
        )
    for name, checksum in sums.items():
        path = folder / name
        if not path.exists() or _sha256(path.read_bytes()) != checksum:
            raise UserError(
                f'{path} is missing or was changed after it was written; '
                'write the phantom data again with force (--force of '
                'make_phantom.py).'
            )
    return True


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write(folder: Path, args: Mapping[str, Any], workers: int | None) -> None:
    partial = folder.with_name(f'.{folder.name}.partial')
    if partial.exists():
        shutil.rmtree(partial)
    jobs = []
    for key, habits in HOSPITALS.items():
        home = partial / habits.name
        for split, count in args['counts'].items():
            (home / 'images' / split).mkdir(parents=True)
            if 'masks' in habits.annotations:
                (home / 'masks' / split).mkdir(parents=True)
            for start in range(0, count, _CHUNK):
                stop = min(start + _CHUNK, count)
                jobs.append((home, key, split, range(start, stop), args))

    rows: dict[tuple[str, str], list[Row]] = {}
    total = len(HOSPITALS) * sum(args['counts'].values())
    for job, chunk in track_forked(
        f'Drawing {total} phantoms',
        _draw_chunk,
        jobs,
        workers,
        count=lambda job: len(job[3]),
    ):
        rows.setdefault(job[1:3], []).extend(chunk)
    sums = {}
    for (key, split), entries in rows.items():
        habits = HOSPITALS[key]
        for name, content in _tables(habits, split, entries, args['size']):
            path = partial / habits.name / name
            write_whole(path, content)
            sums[f'{habits.name}/{name}'] = _sha256(content.encode())
    manifest = dict(args=args, sha256=sums, mask_bits=list(MASK_CLASSES))
    write_whole(partial / _MANIFEST, json.dumps(manifest, indent=1))

    old = folder.with_name(f'.{folder.name}.old')
    if old.exists():
        shutil.rmtree(old)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    if old.exists():
        shutil.rmtree(old)


def _draw_chunk(job: Job) -> list[Row]:
    """Render and store some images; return their rows of the tables."""
    home, key, split, indices, args = job
    level = DIFFICULTIES[args['difficulty']]
    rows = []
    for index in indices:
        phantom = render_phantom(
            args['seed'], key, split, index, level, args['size']
        )
        name = image_name(split, index)
        _save_png(home / 'images' / name, phantom.image)
        if 'masks' in HOSPITALS[key].annotations:
            planes = np.zeros(phantom.image.shape, np.uint16)
            for bit, class_name in enumerate(MASK_CLASSES):
                if class_name in phantom.masks:
                    planes |= phantom.masks[class_name].astype(
                        np.uint16
                    ) << np.uint16(bit)
            _save_png(home / 'masks' / name, planes)
        rows.append(
            dict(
                name=name,
                labels=phantom.labels.tolist(),
                boxes=phantom.boxes,
                classes=sorted(phantom.masks),
                values=phantom.values,
                report=phantom.report,
                questions=phantom.questions,
            )
        )
    return rows


def _save_png(path: Path, image: np.ndarray) -> None:
    if not cv2.imwrite(str(path), image):
        raise UserError(
            f'{path} cannot be written; is the disk full or the folder '
            'read-only?'
        )


def _tables(
    habits: Hospital, split: str, entries: Sequence[Row], size: int
) -> Iterator[tuple[str, str]]:
    """Yield name and content of the annotation files of a split."""
    rows = [[entry['name'], *entry['labels']] for entry in entries]
    yield f'{split}.csv', _csv(FINDINGS, rows)
    if 'boxes' in habits.annotations:
        yield f'{split}.json', json.dumps(_coco(entries, size))
    if 'masks' in habits.annotations:
        rows = [
            [entry['name']]
            + [
                f'masks/{entry["name"]}#{bit}'
                if name in entry['classes']
                else ''
                for bit, name in enumerate(MASK_CLASSES)
            ]
            for entry in entries
        ]
        yield f'{split}_masks.csv', _csv(MASK_CLASSES, rows)
    if 'numbers' in habits.annotations:
        rows = [
            [entry['name']]
            + [f'{entry["values"][name]:.4f}' for name in TARGETS]
            for entry in entries
        ]
        yield f'{split}_values.csv', _csv(TARGETS, rows)
    if 'reports' in habits.annotations:
        rows = [[entry['name'], entry['report']] for entry in entries]
        yield f'{split}_reports.csv', _csv(('report',), rows)
        rows = [
            [entry['name'], *each]
            for entry in entries
            for each in entry['questions']
        ]
        yield f'{split}_questions.csv', _csv(('question', 'answer'), rows)


def _csv(classes: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['image', *classes])
    writer.writerows(rows)
    return text.getvalue()


def _coco(entries: Sequence[Row], size: int) -> dict[str, Any]:
    images: list[Row] = []
    annotations: list[Row] = []
    for number, entry in enumerate(entries, start=1):
        images.append(
            dict(id=number, file_name=entry['name'], width=size, height=size)
        )
        for name, (x1, y1, x2, y2) in entry['boxes']:
            width, height = x2 - x1, y2 - y1
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=number,
                    category_id=FINDINGS.index(name) + 1,
                    bbox=[x1, y1, width, height],
                    area=width * height,
                    iscrowd=0,
                )
            )
    categories = [
        dict(id=number, name=name)
        for number, name in enumerate(FINDINGS, start=1)
    ]
    return dict(
        info=_INFO,
        images=images,
        annotations=annotations,
        categories=categories,
    )
