"""Reading an official release: its entries, checked."""

import os
from collections import Counter
from collections.abc import Sequence

from fx_mm.datasets.readers.tables import without_garbage_collection
from fx_mm.preparation.dataset_spec import Target
from fx_mm.preparation.entries import Entry, Release
from fx_mm.preparation.manifest import files_read
from fx_mm.preparation.splits import cut_suffix
from fx_mm.tasks import SPLITS
from fx_mm.utils.checks import check_number, suggest
from fx_mm.utils.errors import UserError


class ReleaseError(UserError):
    """An official release that is missing, incomplete or damaged."""


def read_entries(
    target: Target, release: Release, options: dict
) -> tuple[list, list]:
    """Read a release.

    Returns:
        tuple: The entries, sorted by name, and the paths of the annotation
        files that were read.

    Raises:
        ReleaseError: If the release cannot be read or has no images.
        UserError: If it has an image twice, outside of its folder, or not
            where the config says.
    """
    with files_read(target.root) as opened, without_garbage_collection():
        try:
            entries = list(release.read(target.root, **options))
        except UserError as error:
            raise ReleaseError(str(error)) from error
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise ReleaseError(
                f'{target.root}: its files are not of the form that the '
                f'release of {release.name} has ({error!r}); are they the '
                "owner's own? FX_MM_DEBUG=1 shows where it stopped."
            ) from error
    if not entries:
        raise ReleaseError(
            f'{target.root}: the release of {release.name} has no images.'
        )
    root = os.path.join(os.path.abspath(target.root), '')
    folder = os.path.join(os.path.abspath(target.images), '')
    seen: dict = {}
    for entry in entries:
        source = str(entry.source)
        if '..' in source or not source.startswith(root):
            source = os.path.abspath(source)
        # links count as where they are: parts of a release may be linked in
        if not source.startswith(root):
            raise UserError(
                f'The release of {release.name} names the image file '
                f'{entry.source}, which leaves {target.root}; correct the '
                'name, or link the file into the folder.'
            )
        if target.in_place:
            if not source.startswith(folder):
                raise UserError(
                    f'{entry.source} does not lie in {target.images}, the '
                    f'images of "{target.name}"; correct img_dir, or let it '
                    'lie in prepared/.'
                )
            entry.name = source[len(folder) :].replace(os.sep, '/')
        elif os.path.isabs(entry.name) or '..' in entry.name.split('/'):
            raise UserError(
                f'The release of {release.name} names an image '
                f'"{entry.name}", which leaves the folder of the images.'
            )
        else:
            entry.name = f'{cut_suffix(entry.name)}.png'
        if not entry.name.isascii() and _is_broken(entry.name):
            raise UserError(
                f'The release of {release.name} has an image named '
                f'{entry.name!r}, which is no UTF-8; rename the file.'
            )
        if entry.name in seen:
            raise UserError(
                f'The release of {release.name} has image "{entry.name}" '
                f'twice ({seen[entry.name]}, {entry.source}); keep one.'
            )
        seen[entry.name] = entry.source
    return sorted(entries, key=lambda entry: entry.name), opened


def _is_broken(name: str) -> bool:
    """Whether a file's name has bytes that are no text."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return True
    return False


def release_options(release: Release, options: dict) -> dict:
    """Fill in the defaults of a release's options.

    Raises:
        UserError: If it has no such option, or its value is no number where
            the default is one.
    """
    for key in options:
        if key not in release.options:
            raise UserError(
                f'Release "{release.name}" has no option "{key}"'
                + (
                    f'; {suggest(key, release.options)}.'
                    if release.options
                    else ' nor any other.'
                )
            )
        if isinstance(release.options[key], float):
            check_number(f'Option {key} of "{release.name}"', options[key], 0)
    return {**release.options, **options}


def count_release(entries: Sequence[Entry]) -> dict:
    """Count the images as the release divides them."""
    count = Counter(entry.split for entry in entries)
    official = {part: count[part] for part in SPLITS if count[part]}
    patients = len({entry.patient for entry in entries})
    return dict(images=len(entries), patients=patients, **official)
