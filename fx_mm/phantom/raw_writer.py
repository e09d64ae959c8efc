"""Phantom images in the raw files of official datasets."""

import contextlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fx_mm.phantom.raw_cases import RawCase, draw_cases
from fx_mm.phantom.raw_layout import RATIOS
from fx_mm.phantom.raw_layouts import find_layout
from fx_mm.phantom.writer import GENERATOR_VERSION, lock_folder
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import write_whole

VERSION = 1
"""Raised with every change that alters the files of a layout."""

_MANIFEST = 'phantom_raw.json'


def write_raw(
    name: str,
    root: str | Path,
    counts: int | Mapping[str, int] = 60,
    size: int = 128,
    seed: int = 0,
    borrowed: Mapping[str, int] | None = None,
    force: bool = False,
) -> Path:
    """Write phantom images as the raw files of an official dataset.

    A second call with the same arguments does nothing. Classes, boxes and
    masks follow the drawn findings (see class_meanings.py).

    Args:
        name (str): Name of the dataset, such as ``siim_acr``. The three
            VinDr-CXR datasets share one folder, ``vindr_cxr``.
        root (str | Path): Folder of all datasets, which are written to
            ``root/NAME``.
        counts (int | Mapping): Number of images, or of those of ``train``,
            ``val`` and ``test``. Defaults to 60.
        size (int): Width of the images in pixels. Defaults to 128.
        seed (int): Seed of everything drawn; datasets have different images
            all the same. Defaults to 0.
        borrowed (Mapping, optional): Plants a leak: name of a dataset, which
            may be this one, to how many of its first training images, drawn
            with the same size and seed, take the place of the first images
            of this one's last official split. Defaults to None.
        force (bool): Write the files again, also with other arguments; what
            was prepared from them is deleted. Defaults to False.

    Returns:
        Path: The folder of the dataset.

    Raises:
        UserError: If the name is unknown, a number wrong, or the folder
            holds other data.
    """
    layout = find_layout(name)
    borrowed = dict(borrowed or {})
    args: dict[str, Any] = dict(
        generator=GENERATOR_VERSION,
        version=VERSION,
        counts=_split_counts(counts, layout.ratios),
        size=size,
        seed=seed,
        borrowed=borrowed,
    )
    for other in borrowed:
        find_layout(other)
    if size < 32 or size % 8:
        raise UserError(
            f'The size of phantom images is {size}; it must be a multiple of '
            '8 and at least 32.'
        )
    if seed < 0:
        raise UserError(
            f'The seed of phantom images is {seed}; it must be 0 or more.'
        )
    folder = Path(root) / layout.folder
    with lock_folder(folder):
        if _is_there(folder, args, force):
            return folder
        partial = folder.with_name(f'.{folder.name}.partial')
        if partial.exists():
            shutil.rmtree(partial)
        partial.mkdir(parents=True)
        layout.write(
            partial, draw_raw_cases(name, counts, size, seed, borrowed)
        )
        write_whole(partial / _MANIFEST, json.dumps(args, indent=1))
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    return folder


def _split_counts(
    counts: int | Mapping[str, int], ratios: Mapping[str, float]
) -> dict[str, int]:
    if isinstance(counts, int):
        total = counts
        counts = {split: round(r * total) for split, r in ratios.items()}
        counts['train'] = total - counts['val'] - counts['test']
    if sorted(counts) != sorted(RATIOS) or min(counts.values()) < 0:
        raise UserError(
            f'The phantom counts are {counts}; give a number of images, or '
            f'one for each of: {", ".join(RATIOS)}.'
        )
    if sum(counts.values()) < 4:
        raise UserError(
            'A raw dataset of phantoms needs at least 4 images; ask for more.'
        )
    return dict(counts)


def _is_there(folder: Path, args: Mapping[str, Any], force: bool) -> bool:
    if not folder.exists() or not any(folder.iterdir()):
        return False
    written = None
    with contextlib.suppress(OSError, ValueError):
        written = json.loads((folder / _MANIFEST).read_text('utf-8'))
    if written is None:
        raise UserError(
            f'{folder} holds data that are not phantoms; choose another root.'
        )
    if written != args and not force:
        raise UserError(
            f'{folder} holds phantoms that were written with other '
            'arguments; choose another root, or replace them with force '
            '(--force of make_phantom.py).'
        )
    return not force


def draw_raw_cases(
    name: str,
    counts: int | Mapping[str, int] = 60,
    size: int = 128,
    seed: int = 0,
    borrowed: Mapping[str, int] | None = None,
) -> list[RawCase]:
    """Draw the images of a raw dataset, as :func:`write_raw` does.

    The arguments and errors are the same.

    Returns:
        list[RawCase]: The images with their patients and findings.
    """
    layout = find_layout(name)
    splits = dict.fromkeys(layout.splits, 0)
    for split, count in _split_counts(counts, layout.ratios).items():
        splits[split if split in splits else 'train'] += count
    stream = layout.stream(size, seed)
    taken = []
    for other, number in (borrowed or {}).items():
        source = find_layout(other).stream(size, seed)
        taken += [source.draw('train', index) for index in range(number)]
    cases = draw_cases(
        stream,
        splits,
        layout.several_studies,
        layout.laterals,
        tuple(taken),
    )
    more = draw_cases(stream, dict(unlabelled=layout.unlabelled))
    for case in more:
        case.number += len(cases)
        case.patient += cases[-1].patient
    return cases + more
