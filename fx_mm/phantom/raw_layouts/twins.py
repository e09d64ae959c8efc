"""Phantom images written as official releases are."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fx_mm.phantom.raw_layouts.cases import Case, Stream, draw_cases
from fx_mm.phantom.writer import GENERATOR_VERSION, lock_folder
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import write_whole

VERSION = 1
"""Raised with every change that alters a twin's files."""
SHARES = dict(train=0.6, val=0.15, test=0.25)

_MANIFEST = 'phantom_twin.json'


@dataclass(frozen=True)
class Twin:
    """How the phantom images become one official release.

    Attributes:
        name (str): Name of the dataset, that of its config.
        write (Callable): Takes the folder (Path) and the cases; writes the
            release.
        folder (str): Name of the release's folder.
        hospital (str): Hospital of the phantoms.
        parts (tuple[str]): Official parts. Images of parts that a release
            does not have go to its training part.
        shares (dict): Shares of the parts where one number of images is
            given.
        several (bool): Whether patients have several studies.
        laterals (bool): Whether studies have several images.
        tall (bool): Whether images are higher than wide.
        bones (bool): Whether masks of bones are needed.
        focus (str, optional): See :class:`~.cases.Stream`.
        unlabelled (int): Number of further images that the release gives
            without annotations (cases of the part ``unlabelled``).
    """

    name: str
    write: Callable
    folder: str
    hospital: str
    parts: tuple[str, ...] = ('train',)
    shares: dict = field(default_factory=lambda: SHARES)
    several: bool = False
    laterals: bool = False
    tall: bool = False
    bones: bool = False
    focus: str | None = None
    unlabelled: int = 0

    def stream(self, size: int, seed: int) -> Stream:
        """Give the source of this twin's images."""
        return Stream(
            self.folder,
            self.hospital,
            seed,
            size,
            self.tall,
            self.bones,
            self.focus,
        )


TWINS: dict[str, Twin] = {}


def twin(*names: str, hospital: str, **facts) -> Callable:
    """Register a function that writes an official release.

    Args:
        *names (str): Datasets that share the release; the first one names
            its folder.
        hospital (str): Hospital of the phantoms.
        **facts: Further fields of :class:`Twin`.
    """

    def register(write: Callable) -> Callable:
        for name in names:
            TWINS[name] = Twin(name, write, names[0], hospital, **facts)
        return write

    return register


def write_release(
    name: str,
    root: str | os.PathLike,
    counts: int | dict = 60,
    size: int = 128,
    seed: int = 0,
    borrowed: dict | None = None,
    force: bool = False,
) -> Path:
    """Write phantom images in the official layout of a dataset.

    A second call with the same arguments does nothing. Classes, boxes and
    masks follow the drawn findings (see meanings.py).

    Args:
        name (str): Name of the dataset, such as ``siim_acr``. The three
            VinDr-CXR datasets share one folder, ``vindr_cxr``.
        root (str | Path): Folder of all datasets, which are written to
            ``root/NAME``.
        counts (int | dict): Number of images, or of those of ``train``,
            ``val`` and ``test``. Defaults to 60.
        size (int): Width of the images in pixels. Defaults to 128.
        seed (int): Seed of everything drawn; datasets have different images
            all the same. Defaults to 0.
        borrowed (dict, optional): Plants a leak: name of a twin, which may
            be this one, to how many of its first training images, written
            with the same size and seed, take the place of the first images
            of this one's last official part.
        force (bool): Write a twin anew, also with other arguments; what was
            prepared from it is deleted. Defaults to False.

    Returns:
        Path: The folder of the release.

    Raises:
        UserError: If the name is unknown, a number wrong, or the folder
            holds other data.
    """
    entry = _find(name)
    args = dict(
        generator=GENERATOR_VERSION,
        version=VERSION,
        counts=_part_counts(counts, entry.shares),
        size=size,
        seed=seed,
        borrowed=borrowed or {},
    )
    for other in args['borrowed']:
        _find(other)
    if size < 32 or size % 8:
        raise UserError(
            f'The size of phantom images is {size}; it must be a multiple of '
            '8 and at least 32.'
        )
    if seed < 0:
        raise UserError(
            f'The seed of phantom images is {seed}; it must be 0 or more.'
        )
    folder = Path(root) / entry.folder
    with lock_folder(folder):
        if _is_there(folder, args, force):
            return folder
        partial = folder.with_name(f'.{folder.name}.partial')
        if partial.exists():
            shutil.rmtree(partial)
        partial.mkdir(parents=True)
        entry.write(partial, cases_of(name, counts, size, seed, borrowed))
        write_whole(partial / _MANIFEST, json.dumps(args, indent=1))
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    return folder


def _find(name: str) -> Twin:
    if name not in TWINS:
        raise UserError(
            f'There is no phantom twin of "{name}"; choose one of: '
            f'{", ".join(sorted(TWINS))}.'
        )
    return TWINS[name]


def _part_counts(counts: int | dict, shares: dict) -> dict:
    if not isinstance(counts, dict):
        total = counts
        counts = {part: round(share * total) for part, share in shares.items()}
        counts['train'] = total - counts['val'] - counts['test']
    if sorted(counts) != sorted(SHARES) or min(counts.values()) < 0:
        raise UserError(
            f'The phantom counts are {counts}; give a number of images, or '
            f'one for each of: {", ".join(SHARES)}.'
        )
    if sum(counts.values()) < 4:
        raise UserError(
            'A phantom twin needs at least 4 images; ask for more.'
        )
    return dict(counts)


def _is_there(folder: Path, args: dict, force: bool) -> bool:
    if not folder.exists() or not any(folder.iterdir()):
        return False
    written = None
    with contextlib.suppress(OSError, ValueError):
        written = json.loads((folder / _MANIFEST).read_text('utf-8'))
    if written is None:
        raise UserError(
            f'{folder} holds data that are no phantom twin; choose another '
            'root.'
        )
    if written != args and not force:
        raise UserError(
            f'{folder} holds a phantom twin with other arguments; choose '
            'another root, or replace it with force (--force of '
            'make_phantom.py).'
        )
    return not force


def cases_of(
    name: str,
    counts: int | dict = 60,
    size: int = 128,
    seed: int = 0,
    borrowed: dict | None = None,
) -> list[Case]:
    """Draw the images of a twin, as :func:`write_release` does.

    The arguments and errors are the same.

    Returns:
        list[Case]: The images with their patients and findings.
    """
    entry = _find(name)
    parts = dict.fromkeys(entry.parts, 0)
    for part, count in _part_counts(counts, entry.shares).items():
        parts[part if part in parts else 'train'] += count
    stream = entry.stream(size, seed)
    taken = []
    for other, number in (borrowed or {}).items():
        source = _find(other).stream(size, seed)
        taken += [source.draw('train', index) for index in range(number)]
    cases = draw_cases(
        stream, parts, entry.several, entry.laterals, tuple(taken)
    )
    more = draw_cases(stream, dict(unlabelled=entry.unlabelled))
    for case in more:
        case.number += len(cases)
        case.patient += cases[-1].patient
    return cases + more
