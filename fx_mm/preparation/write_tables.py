"""What comes out of a preparation: tables, counts, notes."""

from collections import Counter
from collections.abc import Callable, Sequence

from fx_mm.preparation.dataset_spec import Target
from fx_mm.preparation.entries import Entry
from fx_mm.preparation.images import PreparedImage
from fx_mm.preparation.manifest import hash_file
from fx_mm.preparation.tables import write_boxes, write_labels, write_masks
from fx_mm.utils.files import write_whole


def write_tables(
    target: Target, entries: Sequence[Entry], parts: dict, results: dict
) -> dict:
    """Write all tables.

    Args:
        target (Target): Says which.
        entries (Sequence[Entry]): The release.
        parts (dict): Kind to the part of each entry.
        results (dict): Index of an entry to its :class:`PreparedImage`.

    Returns:
        dict: For the manifest: ``tables`` (file to checksum), ``counts``
        (kind, part, class), ``mask_files`` (their number), ``left_out`` and
        ``notes``.
    """
    facts = list(
        dict.fromkeys(f for index in results for f in entries[index].facts)
    )
    sums, counts = {}, {}
    for kind, task in target.tasks.items():
        has = dict(
            cls=lambda entry, image: entry.labels is not None,
            loc=lambda entry, image: image.boxes is not None,
            seg=lambda entry, image: image.masks is not None,
        )[kind]
        counts[kind] = {}
        for part, file in task.files.items():
            rows = [
                (entries[index], image)
                for index, image in results.items()
                if parts[kind][index] == part
                and not image.bad
                and has(entries[index], image)
            ]
            if not rows:
                continue
            if kind == 'cls':
                text = write_labels(rows, task, facts)
            elif kind == 'loc':
                text = write_boxes(rows, task, target.name)
            else:
                text = write_masks(rows, task, file)
            path = write_whole(target.root / file, text)
            sums[file] = hash_file(path)
            counts[kind][part] = _count(kind, task.classes, rows)
    masks = {
        path.split('#')[0]
        for image in results.values()
        for path in (image.masks or {}).values()
    }
    return dict(
        tables=sums,
        counts=counts,
        mask_files=len(masks),
        left_out=[
            dict(image=image.name, reason=image.bad)
            for image in results.values()
            if image.bad
        ],
        notes=_notes(list(results.values())),
    )


def _count(kind: str, classes: Sequence[str], rows) -> dict:
    """Count a part's images, and those of each class."""
    of: dict[str, Callable] = dict(
        cls=lambda entry, image: [
            c for c, v in entry.labels.items() if v == 1
        ],
        loc=lambda entry, image: {box[0] for box in image.boxes},
        seg=lambda entry, image: image.masks,
    )
    number = Counter(c for row in rows for c in of[kind](*row))
    count = dict(images=len(rows))
    if kind == 'loc':
        count['boxes'] = sum(len(image.boxes) for _, image in rows)
    return dict(count, classes={name: number[name] for name in classes})


def _notes(images: Sequence[PreparedImage]) -> list:
    """Say what happened to boxes, masks and images."""
    unknown: Counter = Counter()
    for image in images:
        unknown.update(image.unknown)
    cut = sum(image.cut for image in images)
    dropped = sum(image.dropped for image in images)
    bad = sum(image.bad is not None for image in images)
    notes = [
        f'{number} boxes or masks of "{name}", which is no class of the '
        'config, are left out'
        for name, number in sorted(unknown.items())
    ]
    if cut:
        notes.append(
            f'{cut} boxes reached more than a pixel out of their image and '
            'are cut at its border'
        )
    if dropped:
        notes.append(
            f'{dropped} boxes without area within their image are left out'
        )
    if bad:
        notes.append(f'{bad} images cannot be read and are left out')
    return notes
