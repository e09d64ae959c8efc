"""From an official release to the files that a dataset's config names."""

import hashlib
import math
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mmengine.logging import print_log
from rich.progress import Progress

from fx_mm.datasets.readers.images import FileIndex
from fx_mm.preparation.dataset_spec import Target, read_target
from fx_mm.preparation.entries import Entry, Release, find_release
from fx_mm.preparation.images import ImagePreparer
from fx_mm.preparation.journal import Journal
from fx_mm.preparation.manifest import (
    Manifest,
    describe_arguments,
    entry_key,
    hash_file,
    sign_files,
)
from fx_mm.preparation.reading import (
    ReleaseError,
    count_release,
    read_entries,
    release_options,
)
from fx_mm.preparation.skipped import collect_left_out
from fx_mm.preparation.splits import shared_patients, split_entries
from fx_mm.preparation.write_tables import write_tables
from fx_mm.tasks import SPLITS
from fx_mm.utils.checks import check_number, suggest
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import locked, remove_leftovers
from fx_mm.utils.parallel import map_forked
from fx_mm.version import __version__

_CHUNK = 8
"""Images a job; their results are noted together."""


def prepare(
    config: str | Path,
    data_root: str | Path | None = None,
    release: str | None = None,
    options: dict | None = None,
    seed: int = 0,
    max_size: int | None = None,
    split_from: dict | None = None,
    drop_bad_boxes: bool = False,
    max_bad: float = 0.001,
    workers: int | None = None,
    force: bool = False,
) -> dict:
    """Prepare a dataset for training from its official release.

    Writes the files below ``prepared/`` that the dataset's config names:
    tables of labels, COCO files, tables of masks with their PNG files, and
    the images as 8-bit grey PNG where the config's ``img_dir`` lies in
    ``prepared/``. A call on prepared data does nothing; one after a kill does
    the rest; one on a release that has grown adds to it.

    Args:
        config (str | Path): Name of a dataset that comes with fx_mm, or path
            of a config with one dataset.
        data_root (str | Path, optional): Folder that takes the place of
            ``data/``. Defaults to None.
        release (str, optional): Name of the release, where it is not the
            dataset's. Defaults to None.
        options (dict, optional): Options of the release. Defaults to None.
        seed (int): Of the parts that are drawn by patient. Defaults to 0.
        max_size (int, optional): Longer side, in pixels, that images are
            reduced to; boxes and masks follow. Defaults to None.
        split_from (dict, optional): Part (train, val, test) to the path of a
            published list of its images. Defaults to None: official parts,
            or drawn ones.
        drop_bad_boxes (bool): Whether boxes without area within their image
            are left out instead of refused. Defaults to False.
        max_bad (float): Share of the images that may be unreadable; they are
            left out. Defaults to 0.001.
        workers (int, optional): Processes; they do not change what is
            written. Defaults to the number of available cores.
        force (bool): Write all anew, also with other arguments. Defaults to
            False.

    Returns:
        dict: The manifest.

    Raises:
        UserError: If the release, the config or an argument cannot be used.
    """
    target = read_target(config, data_root)
    found = find_release(release or target.name)
    _check_numbers(target, seed, max_size, max_bad, workers)
    lists = dict(split_from or {})
    _check_lists(lists)
    options = release_options(found, options or {})
    arguments = describe_arguments(
        target,
        release=found.name,
        options=options,
        seed=seed,
        max_size=max_size,
        lists={part: hash_file(path) for part, path in lists.items()},
        drop_bad_boxes=drop_bad_boxes,
    )
    if not target.root.is_dir():
        raise UserError(
            f'{target.root} does not exist; put the official release of '
            f'{found.name} there (see docs/datasets.md), or name the folder '
            'of all datasets with --data-root.'
        )
    try:
        # datasets that share a folder share images: one at a time
        with locked(target.prepared / '.prepare.lock'):
            run = _Run(target, found, arguments, force)
            return run(options, lists, seed, max_bad, workers)
    except OSError as error:
        raise UserError(
            f'{error.filename or target.prepared}: {error.strerror}; is the '
            'disk full or the folder read-only?'
        ) from error


class _Run:
    """One call of :func:`prepare`, while it has the lock."""

    def __init__(
        self, target: Target, release: Release, arguments: dict, force: bool
    ) -> None:
        self.target = target
        self.release = release
        self.arguments = arguments
        self.force = force
        self.manifest = Manifest(target)
        if not force:
            self.manifest.check_arguments(arguments)
        self.stale = self.manifest.check_neighbours(arguments, force)

    def __call__(
        self,
        options: dict,
        lists: dict,
        seed: int,
        max_bad: float,
        workers: int | None,
    ) -> dict:
        target = self.target
        with collect_left_out() as left_out:
            entries, opened = read_entries(target, self.release, options)
            parts = split_entries(
                entries, self.release, target.parts, seed, lists
            )
        keys = [entry_key(entry, target.root) for entry in entries]
        state = dict(
            arguments=self.arguments,
            entries=_digest(keys),
            files=sign_files(opened, target.root),
        )
        chosen = [
            index
            for index, entry in enumerate(entries)
            if any(
                parts[kind][index] in target.tasks[kind].files
                for kind in self._kinds(entry)
            )
        ]
        if not chosen:
            raise ReleaseError(
                f'{target.root}: the release of {self.release.name} has '
                f'nothing for {" or ".join(target.tasks)}, which the config '
                f'of "{target.name}" asks for.'
            )
        names = (entries[index].name for index in chosen)
        if not self.force and self.manifest.is_complete(
            state, names, FileIndex()
        ):
            _say(f'{target.name} is prepared already: nothing to do.')
            return self.manifest.content
        notes = self._check_parts(entries, parts, lists)
        notes += [
            f'dataset "{name}" has the same images and must be prepared again'
            for name in self.stale
        ]
        if self.force:
            self.manifest.remove()
        journal = Journal(
            target.prepared / f'.{target.name}.journal', state, self.force
        )
        if journal.resumed:
            remove_leftovers(target.prepared)
        results = self._convert(
            entries, keys, chosen, journal, max_bad, workers
        )
        content = dict(
            dataset=target.name,
            fx_mm=__version__,
            **state,
            release=count_release(entries),
            **write_tables(target, entries, parts, results),
        )
        notes += content['notes']
        for note in notes:
            _say(f'Note: {note}.')
        content['notes'] = left_out + notes  # the first were said already
        self.manifest.write(content)
        journal.remove()
        _say(
            f'{target.name} is prepared: {len(results)} images, '
            f'{len(content["tables"])} tables in {target.prepared}.'
        )
        return content

    def _kinds(self, entry: Entry) -> list:
        """List the kinds of files that an image is in."""
        has = dict(
            cls=entry.labels is not None,
            loc=entry.boxes is not None
            or bool(self.release.boxes_of and entry.masks is not None),
            seg=entry.masks is not None,
        )
        return [kind for kind in self.target.tasks if has[kind]]

    def _check_parts(self, entries, parts: dict, lists: dict) -> list:
        """See that every file gets images; give what is worth a note.

        Raises:
            UserError: If a file of drawn images would be empty, or a class
                of the labels is none of the release's.
        """
        notes = []
        kinds = [self._kinds(entry) for entry in entries]
        for kind, task in self.target.tasks.items():
            having = [i for i, k in enumerate(kinds) if kind in k]
            if not having:
                notes.append(
                    f'the release has nothing for {self.target.name}/{kind}, '
                    'whose files are not written'
                )
                continue
            if kind == 'cls':
                self._check_classes(task, [entries[i] for i in having])
            count = Counter(parts[kind][index] for index in having)
            for part, file in task.files.items():
                if count[part]:
                    continue
                if self._is_drawn(part, kind, entries, lists):
                    patients = len({entries[i].patient for i in having})
                    raise UserError(
                        f'No image of {self.target.name}/{kind} was drawn '
                        f'for "{part}": its {patients} patients are too few; '
                        'take another --seed.'
                    )
                notes.append(f'{file} is not written: no image is in {part}')
            if count[None]:
                notes.append(
                    f'{count[None]} images of {kind} are in none of the lists'
                )
            shared = shared_patients(
                [entries[i] for i in having], [parts[kind][i] for i in having]
            )
            if shared:
                notes.append(
                    f'{len(shared)} patients are in several parts of the '
                    f'official split of {kind}, such as "{shared[0]}"'
                )
        return notes

    def _check_classes(self, task, entries: Sequence[Entry]) -> None:
        known = {name for entry in entries for name in entry.labels}
        for name in task.classes:
            if name not in known:
                raise UserError(
                    f'Release "{self.release.name}" has no label "{name}" (a '
                    f'class of {self.target.name}/cls); '
                    f'{suggest(name, known)}.'
                )

    def _is_drawn(self, part: str, kind: str, entries, lists: dict) -> bool:
        if kind == 'loc' and self.release.box_shares:
            return self.release.box_shares.get(part, 0) > 0
        if lists:
            return part == 'val' and 'val' not in lists
        official = {entry.split for entry in entries}
        if None in official:
            return self.release.shares.get(part, 0) > 0
        return (
            part == 'val'
            and 'val' not in official
            and self.release.hold_out > 0
        )

    def _convert(
        self,
        entries: Sequence[Entry],
        keys: Sequence[str],
        chosen: Sequence[int],
        journal: Journal,
        max_bad: float,
        workers: int | None,
    ) -> dict:
        """Write images and masks; give index to :class:`PreparedImage`.

        Raises:
            UserError: If too many images cannot be read.
        """
        prepare_image = ImagePreparer(
            self.target,
            self.release.boxes_of,
            self.arguments['max_size'],
            self.arguments['drop_bad_boxes'],
            journal.rewrite,
        )

        def work(chunk: Sequence[int]) -> list:
            return [prepare_image(entries[index]) for index in chunk]

        files, folder = FileIndex(), str(self.target.images)
        missing = [
            index
            for index in chosen
            if keys[index] not in journal.done
            or os.path.join(folder, entries[index].name) not in files
        ]
        if len(missing) < len(chosen):
            done = len(chosen) - len(missing)
            _say(f'Going on: {done} of {len(chosen)} images are done.')
        chunks = [
            missing[start : start + _CHUNK]
            for start in range(0, len(missing), _CHUNK)
        ]
        results = {}
        bad: list = []
        allowed = math.floor(max_bad * len(chosen))
        try:
            with Progress() as progress:
                bar = progress.add_task(
                    f'Preparing {self.target.name}',
                    total=len(chosen),
                    completed=len(chosen) - len(missing),
                )
                for chunk, images in zip(
                    chunks, map_forked(work, chunks, workers)
                ):
                    # what could not be read is tried again by another run
                    journal.add(
                        [
                            (keys[index], image)
                            for index, image in zip(chunk, images)
                            if not image.bad
                        ]
                    )
                    progress.advance(bar, len(chunk))
                    for index, image in zip(chunk, images):
                        if image.bad:
                            results[index] = image
                            bad.append(image.bad)
                    if len(bad) > allowed:
                        raise UserError(
                            f'{len(bad)} of {len(chosen)} images of '
                            f'{self.target.name} cannot be read ({bad[0]}); '
                            'complete the release, or allow a larger share '
                            f'than {max_bad:g} with --max-bad.'
                        )
        finally:
            journal.close()
        return {
            index: results.get(index) or journal.done[keys[index]]
            for index in chosen
        }


def _check_numbers(target, seed, max_size, max_bad, workers) -> None:
    check_number('The seed', seed, 0, whole=True)
    check_number('max_bad', max_bad, 0, 1)
    if workers is not None:
        check_number('The number of workers', workers, 1, whole=True)
    if max_size is None:
        return
    check_number('max_size', max_size, 16, whole=True)
    if target.in_place:
        raise UserError(
            f'The images of "{target.name}" stay where they are and cannot '
            'be reduced; leave out max_size, or set an img_dir in prepared/.'
        )


def _check_lists(lists: dict) -> None:
    for part, path in lists.items():
        if part not in SPLITS:
            raise UserError(
                f'A published list is for "{part}"; parts are '
                f'{", ".join(SPLITS)}.'
            )
        if not os.path.isfile(path):
            raise UserError(f'The list {path} of {part} does not exist.')


def _digest(keys: Sequence[str]) -> str:
    return hashlib.sha256('\n'.join(keys).encode()).hexdigest()


def _say(text: str) -> None:
    print_log(text, logger='current')
