"""How phantom images become the raw files of an official dataset."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fx_mm.phantom.raw_cases import RawCase, Stream

RATIOS = dict(train=0.6, val=0.15, test=0.25)


Write = Callable[[Path, list[RawCase]], None]


@dataclass(frozen=True)
class RawLayout:
    """The layout of an official dataset, and the phantoms that fill it.

    Attributes:
        name (str): Name of the dataset, that of its config.
        write (Callable): Takes the folder and the cases; writes the files.
        folder (str): Name of the dataset's folder.
        hospital (str): Hospital of the phantoms.
        splits (tuple[str]): Official splits. Images of others go to its
            training split.
        ratios (dict): Ratios of the splits where one number of images is
            given.
        several_studies (bool): Whether patients have several studies.
        laterals (bool): Whether studies have several images.
        tall (bool): Whether images are higher than wide.
        bones (bool): Whether masks of bones are needed.
        focus (str, optional): See :class:`~.raw_cases.Stream`.
        unlabelled (int): Number of further images that the dataset has
            without annotations (cases of the split ``unlabelled``).
    """

    name: str
    write: Write
    folder: str
    hospital: str
    splits: tuple[str, ...] = ('train',)
    ratios: dict[str, float] = field(default_factory=lambda: RATIOS)
    several_studies: bool = False
    laterals: bool = False
    tall: bool = False
    bones: bool = False
    focus: str | None = None
    unlabelled: int = 0

    def stream(self, size: int, seed: int) -> Stream:
        """Return the source of the images."""
        return Stream(
            self.folder,
            self.hospital,
            seed,
            size,
            self.tall,
            self.bones,
            self.focus,
        )


RAW_LAYOUTS: dict[str, RawLayout] = {}
"""Writers of official layouts by the dataset's name."""


def raw_layout(
    *names: str, hospital: str, **fields: Any
) -> Callable[[Write], Write]:
    """Register a function that writes an official layout.

    Args:
        *names (str): Datasets that share the folder; the first one names it.
        hospital (str): Hospital of the phantoms.
        **fields: Further fields of :class:`RawLayout`.

    Examples:
        >>> @raw_layout('jsrt', hospital='c', bones=True)
        ... def write_jsrt(root: Path, cases: list[RawCase]) -> None: ...
    """

    def register(write: Write) -> Write:
        for name in names:
            RAW_LAYOUTS[name] = RawLayout(
                name, write, names[0], hospital, **fields
            )
        return write

    return register
