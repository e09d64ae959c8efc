"""Phantom data on disk: images, label tables, COCO files and masks."""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.logging import print_log

from fx_mm.phantom.hospitals import HOSPITALS
from fx_mm.phantom.render import SPLITS, Phantom, render_phantom
from fx_mm.phantom.tables import (
    MASK_CLASSES,
    Row,
    write_tables,
    write_texts,
)
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import locked, write_whole
from fx_mm.utils.parallel import track_forked
from fx_mm.utils.value_types import check_call

GENERATOR_VERSION = 2
"""Raised with every change that alters pixels or files."""

DIFFICULTIES = dict(easy=0.0, medium=0.5, hard=1.0)
DEFAULT_COUNTS = dict(train=3000, val=200, test=400)
"""Images per hospital."""

_MANIFEST = 'manifest.json'
_CHUNK = 50

Job = tuple[Path | None, str, str, range, Mapping[str, Any]]
"""Folder, if they are stored, hospital, split and numbers of some images; the
arguments."""


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
    texts: bool = False,
) -> Path:
    """Write the phantom data unless they are there.

    Under ``root/difficulty`` each hospital has its folder with
    ``images/SPLIT/*.png`` (8-bit grey) and ``SPLIT.csv`` (labels); B and C
    also ``SPLIT.json`` (COCO boxes); C also ``SPLIT_masks.csv`` and
    ``masks/SPLIT/*.png``, and ``SPLIT_values.csv`` (cardiothoracic ratio). A
    mask file has 16 bits per pixel, one per class; the table has
    ``masks/train/000001.png#3`` for bit 3 of that file, and nothing for a
    class that is not in the image. With texts, B and C also have
    ``SPLIT_reports.csv``, and ``SPLIT_questions.csv`` with several rows per
    image.

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
        texts (bool): Also write reports and questions, beside images that
            are there already if need be; the other files do not depend on
            it. Defaults to False.

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
        found = not force and _is_there(folder, args)
        if not found:
            _write(folder, args, workers, texts)
        elif texts and not _has_texts(folder):
            _add_texts(folder, args, workers)
    said = 'found' if found else 'written'
    print_log(f'Phantom data in {folder}: {said}.', 'current')
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


def _has_texts(folder: Path) -> bool:
    content = json.loads((folder / _MANIFEST).read_text(encoding='utf-8'))
    return any(name.endswith('_reports.csv') for name in content['sha256'])


def _add_texts(
    folder: Path, args: Mapping[str, Any], workers: int | None
) -> None:
    """Write what is said of images that are there."""
    hospitals = [
        key for key, each in HOSPITALS.items() if 'reports' in each.annotations
    ]
    path = folder / _MANIFEST
    manifest = json.loads(path.read_text(encoding='utf-8'))
    for (key, split), entries in _draw(None, hospitals, args, workers).items():
        home = HOSPITALS[key].name
        for name, content in write_texts(split, entries):
            write_whole(folder / home / name, content)
            manifest['sha256'][f'{home}/{name}'] = _sha256(content.encode())
    # until this is written, they are not there
    write_whole(path, json.dumps(manifest, indent=1))


def _write(
    folder: Path, args: Mapping[str, Any], workers: int | None, texts: bool
) -> None:
    partial = folder.with_name(f'.{folder.name}.partial')
    if partial.exists():
        shutil.rmtree(partial)
    sums = {}
    drawn = _draw(partial, list(HOSPITALS), args, workers)
    for (key, split), entries in drawn.items():
        habits = HOSPITALS[key]
        tables = [*write_tables(habits, split, entries, args['size'])]
        if texts and 'reports' in habits.annotations:
            tables += write_texts(split, entries)
        for name, content in tables:
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


def _draw(
    folder: Path | None,
    hospitals: Sequence[str],
    args: Mapping[str, Any],
    workers: int | None,
) -> dict[tuple[str, str], list[Row]]:
    """Return the rows of all images by hospital and split.

    Args:
        folder (Path, optional): Where they are stored, if they are.
        hospitals (Sequence[str]): Keys of the hospitals.
        args (Mapping[str, Any]): The arguments.
        workers (int, optional): Number of processes.
    """
    jobs: list[Job] = []
    for key in hospitals:
        habits = HOSPITALS[key]
        home = None if folder is None else folder / habits.name
        for split, count in args['counts'].items():
            if home is not None:
                (home / 'images' / split).mkdir(parents=True)
                if 'masks' in habits.annotations:
                    (home / 'masks' / split).mkdir(parents=True)
            for start in range(0, count, _CHUNK):
                stop = min(start + _CHUNK, count)
                jobs.append((home, key, split, range(start, stop), args))

    rows: dict[tuple[str, str], list[Row]] = {}
    total = len(hospitals) * sum(args['counts'].values())
    for job, chunk in track_forked(
        f'Drawing {total} phantoms',
        _draw_chunk,
        jobs,
        workers,
        count=lambda job: len(job[3]),
    ):
        rows.setdefault(job[1:3], []).extend(chunk)
    return rows


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
        if home is not None:
            _save(home, name, phantom, 'masks' in HOSPITALS[key].annotations)
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


def _save(home: Path, name: str, phantom: Phantom, masks: bool) -> None:
    """Store an image and, if asked to, its masks."""
    _save_png(home / 'images' / name, phantom.image)
    if masks:
        planes = np.zeros(phantom.image.shape, np.uint16)
        for bit, class_name in enumerate(MASK_CLASSES):
            if class_name in phantom.masks:
                planes |= phantom.masks[class_name].astype(
                    np.uint16
                ) << np.uint16(bit)
        _save_png(home / 'masks' / name, planes)


def _save_png(path: Path, image: np.ndarray) -> None:
    if not cv2.imwrite(str(path), image):
        raise UserError(
            f'{path} cannot be written; is the disk full or the folder '
            'read-only?'
        )
