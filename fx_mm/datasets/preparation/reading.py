"""Reading an official release: its entries, checked."""

import os
from collections import Counter
from collections.abc import Sequence

from fx_mm.tasks import SPLITS
from fx_mm.utils.checks import suggest
from fx_mm.utils.errors import UserError

from .entries import Entry, Release
from .manifest import files_read
from .splits import cut_suffix
from .target import Target


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
        UserError: If it has an image twice, or not where the config says.
    """
    with files_read(target.root) as opened:
        try:
            entries = list(release.read(target.root, **options))
        except UserError as error:
            raise ReleaseError(str(error)) from error
    if not entries:
        raise ReleaseError(
            f'{target.root}: the release of {release.name} has no images.'
        )
    folder = os.path.join(os.path.abspath(target.images), '')
    seen: dict = {}
    for entry in entries:
        if target.in_place:
            source = os.path.abspath(entry.source)
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
        if entry.name in seen:
            raise UserError(
                f'The release of {release.name} has image "{entry.name}" '
                f'twice ({seen[entry.name]}, {entry.source}); keep one.'
            )
        seen[entry.name] = entry.source
    return sorted(entries, key=lambda entry: entry.name), opened


def release_options(release: Release, options: dict) -> dict:
    """Fill in the defaults of a release's options.

    Raises:
        UserError: If it has no such option.
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
    return {**release.options, **options}


def count_release(entries: Sequence[Entry]) -> dict:
    """Count the images as the release divides them."""
    count = Counter(entry.split for entry in entries)
    official = {part: count[part] for part in SPLITS if count[part]}
    patients = len({entry.patient for entry in entries})
    return dict(images=len(entries), patients=patients, **official)
