"""What the prepared files say of an image: as written, as read back."""

from dataclasses import asdict, dataclass, field
from typing import Any

from fx_mm.image_io.masks import IGNORE

PREPARED = 'prepared'
"""Folder within a dataset's ``data_root`` of all that is written."""


@dataclass
class PreparedImage:
    """What the tables will say of one image.

    Attributes:
        name (str): Relative to the folder of the images.
        width (int): Pixels, as it will be loaded.
        height (int): Pixels, as it will be loaded.
        boxes (list, optional): [class name, x1, y1, x2, y2] in pixels. None:
            nobody looked for boxes.
        masks (dict, optional): Class name to its mask's path relative to
            ``prepared/``, without empty masks; ``ignore`` to that of pixels
            that nobody annotated. None: nobody drew masks.
        cut (int): Boxes that reached out by more than a pixel.
        dropped (int): Boxes dropped for having no area within the image.
        unknown (dict): Names that are no class of the config to their number
            of boxes or mask pieces, which are not used.
        unreadable (str, optional): Why the image is skipped.
    """

    name: str
    width: int = 0
    height: int = 0
    boxes: list[list[Any]] | None = None
    masks: dict[str, str] | None = None
    cut: int = 0
    dropped: int = 0
    unknown: dict[str, int] = field(default_factory=dict)
    unreadable: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what differs from the default, for JSON."""
        return {
            key: value
            for key, value in asdict(self).items()
            if value not in (0, None) and (value != {} or key == 'masks')
        }


@dataclass
class PreparedRecord:
    """What the prepared files say of one image, read back.

    Attributes:
        name (str): Relative to the folder of the images.
        patient (str): Patient ID.
        splits (dict): Form of annotation to the split that the image is in.
        labels (dict, optional): Class to the text of its label.
        size (tuple, optional): (width, height) of the COCO file.
        boxes (list, optional): (class, x, y, width, height).
        masks (dict, optional): Class to its mask's path, of those that have
            one.
    """

    name: str
    patient: str = ''
    splits: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] | None = None
    size: tuple[int, int] | None = None
    boxes: list[tuple[Any, ...]] | None = None
    masks: dict[str, str] | None = None

    def classes(self) -> set[str]:
        """Return the classes that the image has in any form."""
        labels = self.labels or {}
        found = {name for name, text in labels.items() if text == '1'}
        found.update(name for name, *_ in self.boxes or ())
        return found.union(self.masks or ()) - {IGNORE}
