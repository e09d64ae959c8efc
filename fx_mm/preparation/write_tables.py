"""What comes out of a preparation: tables, counts, notes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from fx_mm.preparation.dataset_spec import DatasetSpec
from fx_mm.preparation.prepared_forms import FORMS, SplitContent
from fx_mm.preparation.prepared_image import PreparedImage
from fx_mm.preparation.raw_dataset import RawDataset, RawImage
from fx_mm.utils.files import hash_file, write_whole


def write_tables(
    spec: DatasetSpec,
    raw: RawDataset,
    images: Sequence[RawImage],
    splits: Mapping[str, Sequence[str | None]],
    results: Mapping[int, PreparedImage],
) -> dict[str, Any]:
    """Write all tables.

    Args:
        spec (DatasetSpec): Says which.
        raw (RawDataset): Where the images are from.
        images (Sequence[RawImage]): The images.
        splits (Mapping): Form of annotation to the split of each image.
        results (Mapping): Index of an image to its :class:`PreparedImage`.

    Returns:
        dict: For the manifest: ``tables`` (file to checksum), ``counts``
        (form, split, class), ``mask_files`` (their number), ``unreadable``
        and ``notes``.
    """
    columns = (key for index in results for key in images[index].metadata)
    metadata = list(dict.fromkeys(columns))
    checksums: dict[str, str] = {}
    counts: dict[str, dict[str, Any]] = {}
    for name, form in spec.forms.items():
        counts[name] = {}
        for split, file in form.files.items():
            chosen = [
                (images[index], image)
                for index, image in results.items()
                if splits[name][index] == split
                and not image.unreadable
                and FORMS[name].has(images[index], raw)
            ]
            if not chosen:
                continue
            content = SplitContent(
                spec.name, file, form.classes, metadata, chosen
            )
            path = write_whole(spec.root / file, FORMS[name].write(content))
            checksums[file] = hash_file(path)
            counts[name][split] = FORMS[name].count(content)
    masks = {
        path.split('#')[0]
        for image in results.values()
        for path in (image.masks or {}).values()
    }
    return dict(
        tables=checksums,
        counts=counts,
        mask_files=len(masks),
        unreadable=[
            dict(image=image.name, reason=image.unreadable)
            for image in results.values()
            if image.unreadable
        ],
        notes=_notes(list(results.values())),
    )


def _notes(images: Sequence[PreparedImage]) -> list[str]:
    """Return notes on what happened to boxes, masks and images."""
    unknown: Counter[str] = Counter()
    for image in images:
        unknown.update(image.unknown)
    cut = sum(image.cut for image in images)
    dropped = sum(image.dropped for image in images)
    unreadable = sum(image.unreadable is not None for image in images)
    notes = [
        f'boxes or masks of "{name}", which is no class of the config: '
        f'{number} skipped'
        for name, number in sorted(unknown.items())
    ]
    if cut:
        notes.append(
            'boxes that reached more than a pixel out of their image: '
            f'{cut} cut at its border'
        )
    if dropped:
        notes.append(f'boxes without area in their image: {dropped} skipped')
    if unreadable:
        notes.append(f'images that cannot be read: {unreadable} skipped')
    return notes
