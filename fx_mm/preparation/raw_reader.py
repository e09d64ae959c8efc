"""Reading a raw dataset: its images, checked."""

import logging
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fx_mm.datasets.readers.images import FileIndex
from fx_mm.preparation.dataset_spec import DatasetSpec
from fx_mm.preparation.raw_dataset import RawDataset, RawError, RawImage
from fx_mm.preparation.raw_folder import RawFolder
from fx_mm.preparation.splits import cut_suffix
from fx_mm.tasks import SPLITS
from fx_mm.utils.checks import check_number, suggest
from fx_mm.utils.errors import UserError
from fx_mm.utils.log import log
from fx_mm.utils.memory import without_garbage_collection


def read_raw(
    spec: DatasetSpec, raw: RawDataset, options: dict[str, Any]
) -> tuple[list[RawImage], RawFolder]:
    """Read a raw dataset.

    Returns:
        tuple[list[RawImage], RawFolder]: The images, sorted by name; the
        folder, which knows the files that were read and what was skipped.

    Raises:
        RawError: If it cannot be read or has no images.
        UserError: If it has an image twice, outside of its folder, or not
            where the config says.
    """
    folder = RawFolder(spec.root, raw.holds)
    with without_garbage_collection():
        try:
            images = list(raw.read(folder, **options))
        except UserError as error:
            raise RawError(str(error)) from error
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise RawError(
                f'{spec.root}: its files are not of the form that raw '
                f'dataset {raw.name} has ({error!r}); are they the '
                "owner's own? FX_MM_DEBUG=1 shows where it stopped."
            ) from error
    if not images:
        raise RawError(
            f'{spec.root}: raw dataset {raw.name} has no images there.'
        )
    _check_images(spec, raw, images)
    return sorted(images, key=lambda image: image.name), folder


def _check_images(
    spec: DatasetSpec, raw: RawDataset, images: Sequence[RawImage]
) -> None:
    """Check names and sources; name the images as they are prepared.

    A source that is written in another way than its file is corrected.
    """
    root = os.path.join(os.path.abspath(spec.root), '')
    img_dir = os.path.join(os.path.abspath(spec.images), '')
    seen: dict[str, Any] = {}
    files = FileIndex()
    renamed: list[str] = []
    in_place = spec.in_place
    for image in images:
        source = str(image.source)
        if source not in files and (found := files.find(source)):
            renamed.append(source)
            source, image.source = found, Path(found)
        if '..' in source or not source.startswith(root):
            source = os.path.abspath(source)
        # links count as where they are: folders may be linked in
        if not source.startswith(root):
            raise UserError(
                f'Raw dataset {raw.name} names the image file '
                f'{image.source}, which leaves {spec.root}; correct the '
                'name, or link the file into the folder.'
            )
        if in_place:
            # Kaggle's copies have the images in other folders
            image.name = (
                source[len(img_dir) :]
                if source.startswith(img_dir)
                else os.path.relpath(source, img_dir)
            )
        elif os.path.isabs(image.name) or '..' in image.name.split('/'):
            raise UserError(
                f'Raw dataset {raw.name} names an image "{image.name}", '
                'which leaves the folder of the images.'
            )
        else:
            image.name = f'{cut_suffix(image.name)}.png'
        if not image.name.isascii() and _is_broken(image.name):
            raise UserError(
                f'Raw dataset {raw.name} has an image named {image.name!r}, '
                'which is no UTF-8; rename the file.'
            )
        if image.name in seen:
            raise UserError(
                f'Raw dataset {raw.name} has image "{image.name}" twice '
                f'({seen[image.name]}, {image.source}); keep one.'
            )
        seen[image.name] = image.source

    if renamed:
        log(
            f'Note: {len(renamed)} of {len(images)} images are written in '
            'another way than their files (case of the suffix or Unicode '
            f'form), such as {renamed[0]}.',
            logging.WARNING,
        )


def _is_broken(name: str) -> bool:
    """Whether a file's name has bytes that are no text."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return True
    return False


def fill_options(raw: RawDataset, options: dict[str, Any]) -> dict[str, Any]:
    """Fill in the defaults of a raw dataset's options.

    Raises:
        UserError: If it has no such option, or its value is no number where
            the default is one.
    """
    for key in options:
        if key not in raw.options:
            raise UserError(
                f'Raw dataset "{raw.name}" has no option "{key}"'
                + (
                    f'; {suggest(key, raw.options)}.'
                    if raw.options
                    else ' nor any other.'
                )
            )
        if isinstance(raw.options[key], float):
            check_number(f'Option {key} of "{raw.name}"', options[key], 0)
    return {**raw.options, **options}


def count_images(images: Sequence[RawImage]) -> dict[str, int]:
    """Count images and patients, and the images of each official split."""
    count = Counter(image.split for image in images)
    official = {split: count[split] for split in SPLITS if count[split]}
    patients = len({image.patient for image in images})
    return dict(images=len(images), patients=patients, **official)
