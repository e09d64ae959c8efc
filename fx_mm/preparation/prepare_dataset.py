"""From an official dataset to the files that its config names."""

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fx_mm.datasets.readers.images import FileIndex
from fx_mm.preparation.dataset_spec import DatasetSpec, read_dataset_spec
from fx_mm.preparation.image_preparer import ImagePreparer
from fx_mm.preparation.journal import Journal
from fx_mm.preparation.manifest import (
    Manifest,
    describe_arguments,
    image_key,
    sign_files,
)
from fx_mm.preparation.prepared_forms import FORMS
from fx_mm.preparation.prepared_image import PreparedImage
from fx_mm.preparation.raw import find_raw
from fx_mm.preparation.raw_dataset import RawDataset, RawError, RawImage
from fx_mm.preparation.raw_reader import count_images, fill_options, read_raw
from fx_mm.preparation.split_checks import check_splits
from fx_mm.preparation.splits import split_images
from fx_mm.preparation.write_tables import write_tables
from fx_mm.tasks import SPLITS
from fx_mm.utils.checks import check_number
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import hash_file, locked, remove_leftovers
from fx_mm.utils.log import log
from fx_mm.utils.parallel import chunked, track_forked
from fx_mm.version import __version__

_CHUNK = 8
"""Images per job; their results are noted together."""


def prepare(
    config: str | Path,
    data_root: str | Path | None = None,
    raw: str | None = None,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    split_from: Mapping[str, str] | None = None,
    drop_bad_boxes: bool = False,
    max_unreadable_ratio: float = 0.001,
    workers: int | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Prepare a dataset for training from its official files.

    Writes the files below ``prepared/`` that the dataset's config names:
    tables of labels, COCO files, tables of masks with their PNG files, and
    the images as 8-bit grey PNG where the config's ``img_dir`` lies in
    ``prepared/``. A call on prepared data does nothing; one after a kill does
    the rest; one on a raw dataset that has grown adds to it.

    Args:
        config (str | Path): Name of a dataset that comes with fx_mm, or path
            of a config with one dataset.
        data_root (str | Path, optional): Folder that takes the place of
            ``data/``. Defaults to None.
        raw (str, optional): Name of the raw dataset, where it is not the
            config's. Defaults to None.
        options (Mapping, optional): Options of the raw dataset. Defaults to
            None.
        seed (int): Of the splits that are drawn by patient. Defaults to 0.
        split_from (Mapping, optional): Split (train, val, test) to the path
            of a published list of its images. Defaults to None: official
            splits, or drawn ones.
        drop_bad_boxes (bool): Whether boxes without area within their image
            are dropped instead of refused. Defaults to False.
        max_unreadable_ratio (float): Ratio of the images that may be
            unreadable; they are skipped. Defaults to 0.001.
        workers (int, optional): Processes; they do not change what is
            written. Defaults to the number of available cores.
        force (bool): Write everything again, also with other arguments.
            Defaults to False.

    Returns:
        dict: The manifest.

    Raises:
        UserError: If the raw dataset, the config or an argument cannot be
            used.
    """
    spec = read_dataset_spec(config, data_root)
    found = find_raw(raw or spec.name)
    _check_numbers(seed, max_unreadable_ratio, workers)
    lists = dict(split_from or {})
    _check_lists(lists)
    filled = fill_options(found, dict(options or {}))
    arguments = describe_arguments(
        spec,
        raw=found.name,
        options=filled,
        seed=seed,
        lists={split: hash_file(path) for split, path in lists.items()},
        drop_bad_boxes=drop_bad_boxes,
    )
    if not spec.root.is_dir():
        raise UserError(
            f'{spec.root} does not exist; put the official files of '
            f'{found.name} there (see docs/datasets.md), or name the folder '
            'of all datasets with --data-root.'
        )
    try:
        # datasets that share a folder share images: one at a time
        with locked(spec.prepared / '.prepare.lock'):
            run = _Preparation(spec, found, arguments, force)
            return run(filled, lists, seed, max_unreadable_ratio, workers)
    except OSError as error:
        raise UserError(
            f'{error.filename or spec.prepared}: {error.strerror}; is the '
            'disk full or the folder read-only?'
        ) from error


class _Preparation:
    """One call of :func:`prepare`, while it has the lock."""

    def __init__(
        self,
        spec: DatasetSpec,
        raw: RawDataset,
        arguments: dict[str, Any],
        force: bool,
    ) -> None:
        self.spec = spec
        self.raw = raw
        self.arguments = arguments
        self.force = force
        self.manifest = Manifest(spec)
        if not force:
            self.manifest.check_arguments(arguments)
        self.manifest.check_neighbours()

    def __call__(
        self,
        options: dict[str, Any],
        lists: Mapping[str, str],
        seed: int,
        max_unreadable_ratio: float,
        workers: int | None,
    ) -> dict[str, Any]:
        spec = self.spec
        images, folder = read_raw(spec, self.raw, options)
        splits = split_images(
            images, self.raw, spec.splits, folder.skipped, seed, lists
        )
        keys = [image_key(image, spec.root) for image in images]
        state = dict(
            arguments=self.arguments,
            images=_digest(keys),
            files=sign_files(folder.files_read, spec.root),
        )
        chosen = [
            index
            for index, image in enumerate(images)
            if any(
                FORMS[name].has(image, self.raw)
                and splits[name][index] in form.files
                for name, form in spec.forms.items()
            )
        ]
        if not chosen:
            raise RawError(
                f'{spec.root}: raw dataset {self.raw.name} has no '
                f'{" or ".join(spec.forms)}, which the config of '
                f'"{spec.name}" asks for.'
            )
        names = (images[index].name for index in chosen)
        if not self.force and self.manifest.is_complete(
            state, names, FileIndex()
        ):
            log(f'{spec.name} is prepared already: nothing to do.')
            return self.manifest.content
        notes = check_splits(spec, self.raw, images, splits, lists)
        if self.force:
            self.manifest.remove()
        journal = Journal(
            spec.prepared / f'.{spec.name}.journal', state, self.force
        )
        if journal.resumed:
            remove_leftovers(spec.prepared)
        results = self._convert(
            images, keys, chosen, journal, max_unreadable_ratio, workers
        )
        content = dict(
            dataset=spec.name,
            fx_mm=__version__,
            **state,
            raw=count_images(images),
            **write_tables(spec, self.raw, images, splits, results),
        )
        notes += content['notes']
        for note in notes:
            log(f'Note: {note}.')
        # what was skipped is logged already
        content['notes'] = folder.skipped.notes + notes
        self.manifest.write(content)
        journal.remove()
        log(
            f'{spec.name} is prepared: {len(results)} images, '
            f'{len(content["tables"])} tables in {spec.prepared}.'
        )
        return content

    def _convert(
        self,
        images: Sequence[RawImage],
        keys: Sequence[str],
        chosen: Sequence[int],
        journal: Journal,
        max_unreadable_ratio: float,
        workers: int | None,
    ) -> dict[int, PreparedImage]:
        """Write images and masks; return index to :class:`PreparedImage`.

        Raises:
            UserError: If too many images cannot be read.
        """
        prepare_image = ImagePreparer(
            self.spec,
            self.raw.box_per,
            self.arguments['drop_bad_boxes'],
            journal.rewrite,
        )

        def work(chunk: Sequence[int]) -> list[PreparedImage]:
            return [prepare_image(images[index]) for index in chunk]

        files = FileIndex()
        todo = [
            index
            for index in chosen
            if keys[index] not in journal.done
            or self.spec.image_path(images[index].name) not in files
        ]
        if len(todo) < len(chosen):
            done = len(chosen) - len(todo)
            log(f'Going on: {done} of {len(chosen)} images are done.')
        unreadable: dict[int, PreparedImage] = {}
        allowed = math.floor(max_unreadable_ratio * len(chosen))
        advice = (
            'complete the official files, or allow a larger ratio than '
            f'{max_unreadable_ratio:g} with --max-unreadable-ratio.'
        )
        if self.raw.holds:
            advice = f'{self.spec.root} holds {self.raw.holds}; {advice}'
        gone = [
            source
            for source in (str(images[index].source) for index in todo)
            if source not in files
        ]
        if len(gone) > allowed:
            named = gone[0] if gone[0].isprintable() else repr(gone[0])
            raise UserError(
                f'{len(gone)} of {len(chosen)} images of {self.spec.name} '
                f'are missing (the first is {named}); {advice}'
            )
        seen = 0
        try:
            for chunk, results in track_forked(
                f'Preparing {self.spec.name}',
                work,
                chunked(todo, _CHUNK),
                workers,
                done=len(chosen) - len(todo),
            ):
                # what could not be read is tried again by another run
                journal.add(
                    [
                        (keys[index], image)
                        for index, image in zip(chunk, results)
                        if not image.unreadable
                    ]
                )
                unreadable |= {
                    index: image
                    for index, image in zip(chunk, results)
                    if image.unreadable
                }
                seen += len(chunk)
                if len(unreadable) > allowed:
                    first = next(iter(unreadable.values())).unreadable
                    raise UserError(
                        f'{len(unreadable)} of the first {seen} images of '
                        f'{self.spec.name} cannot be read ({first}); {advice}'
                    )
        finally:
            journal.close()
        return {
            index: unreadable.get(index) or journal.done[keys[index]]
            for index in chosen
        }


def _check_numbers(
    seed: int, max_unreadable_ratio: float, workers: int | None
) -> None:
    check_number('The seed', seed, 0, whole=True)
    check_number('max_unreadable_ratio', max_unreadable_ratio, 0, 1)
    if workers is not None:
        check_number('The number of workers', workers, 1, whole=True)


def _check_lists(lists: Mapping[str, str]) -> None:
    for split, path in lists.items():
        if split not in SPLITS:
            raise UserError(
                f'A published list is for "{split}"; splits are '
                f'{", ".join(SPLITS)}.'
            )
        if not os.path.isfile(path):
            raise UserError(f'The list {path} of {split} does not exist.')


def _digest(keys: Sequence[str]) -> str:
    return hashlib.sha256('\n'.join(keys).encode()).hexdigest()
