"""Reduce a config's training images once: ``cache_images.py CONFIG``.

Training with ``cache`` in the config does the same on its way, in its first
epoch. Stopped at any time, it continues where it was when started again.
"""

import argparse
import os.path as osp
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from fx_mm.apis import load_config
from fx_mm.datasets.cache import Cached, ImageCache, Kind
from fx_mm.datasets.multi_task_dataset import MultiTaskDataset
from fx_mm.datasets.readers.masks import sources_of
from fx_mm.datasets.records import Records
from fx_mm.datasets.task_dataset import TaskDataset
from fx_mm.datasets.transforms import LoadXray, LoadXrayAnnotations
from fx_mm.image_io.mask_code import MaskCode
from fx_mm.phantom import draw_phantoms
from fx_mm.tasks import TaskTable
from fx_mm.utils.cli import add_config_options, run_tool
from fx_mm.utils.errors import UserError
from fx_mm.utils.parallel import chunked, track_forked

from mmengine.config import Config
from rich.filesize import decimal

CHUNK = 32
SAMPLES = 8
BLOCK = 4096
WRONG = ('unreadable', 'unwritten', 'missing', 'damaged', 'stale')

Image = tuple[ImageCache, Kind, str]
"""Cache, kind of the entry, path of the source."""


def collect(cfg: Config) -> list[Image]:
    """List the images and masks that the training reads, each once."""
    found: dict[str, Image] = {}
    for part in MultiTaskDataset(TaskTable.from_cfg(cfg), 'train').datasets:
        for step in part.pipeline.transforms:
            cache = getattr(step, 'cache', None)
            if cache is None:
                continue
            if isinstance(step, LoadXray):
                sources: Iterable[tuple[str, Kind]] = (
                    (path, 'image') for path in image_paths(part.data_list)
                )
            elif isinstance(step, LoadXrayAnnotations):
                sources = mask_files(part)
            else:
                continue
            for path, kind in sources:
                image = (cache, kind, path)
                found.setdefault(cache.entry_path(path, kind), image)
    return list(found.values())


def image_paths(records: Records) -> list[str]:
    """List the images of a split."""
    column = records.column('img_path')
    return [column[index] for index in range(len(records))]


def mask_files(part: TaskDataset) -> set[tuple[str, MaskCode]]:
    """List the mask files of a split, and how they are read."""
    return {
        (source.path, source.code)
        for sources in sources_of(part.data_list, part.task.classes)
        for source in sources
    }


def bytes_needed(images: list[Image]) -> int:
    """Estimate the size of entries from a few of each cache and kind."""
    groups: dict[tuple[str, int, bool], list[Image]] = {}
    for image in images:
        cache, kind, _ = image
        key = cache.folder, cache.size, kind == 'image'
        groups.setdefault(key, []).append(image)
    total = 0
    for group in groups.values():
        sizes = []
        for image in group[:: -(-len(group) // SAMPLES)]:
            cache, kind, path = image
            try:
                pixels = cache.reduced(path, kind).pixels
            except UserError:
                continue
            sizes.append(-(-pixels.nbytes // BLOCK) * BLOCK)
        if sizes:
            total += sum(sizes) * len(group) // len(sizes)
    return total


def check_space(folder: str, needed: int) -> None:
    """Refuse to start what the disk cannot hold.

    Raises:
        UserError: Says how much there is and how much it takes.
    """
    while not osp.isdir(folder):
        folder = osp.dirname(osp.abspath(folder))
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f'The cache takes about {decimal(needed)} more, but {folder} '
            f'has {decimal(free)} free; choose another cache.dir or a '
            'smaller cache.factor.'
        )


def read(cache: ImageCache, kind: Kind, path: str) -> Cached:
    """Read a source through the cache."""
    return cache.image(path) if kind == 'image' else cache.mask(path, kind)


def build(image: Image) -> tuple[str, str]:
    """Build an entry if needed; return what happened and what is wrong."""
    cache, kind, path = image
    cache.events.clear()
    try:
        read(cache, kind, path)
    except UserError as error:
        return 'unreadable', str(error)
    if cache.events['unwritten']:
        return 'unwritten', cache.entry_path(path, kind)
    return next(iter(cache.events)), ''


def verify(image: Image) -> tuple[str, str]:
    """Compare an entry with its source; return the outcome and the path."""
    cache, kind, path = image
    try:
        return cache.check(path, kind), path
    except OSError as error:
        return 'unreadable', f'{path}: {error.strerror or error}'


def walk(
    images: Sequence[Image],
    work: Callable[[Image], tuple[str, str]],
    what: str,
    workers: int | None,
) -> tuple[Counter[str], list[tuple[str, str]]]:
    """Do the work on all images; count results and collect what is wrong."""

    def chunk(numbers: Sequence[int]) -> list[tuple[str, str]]:
        return [work(images[number]) for number in numbers]

    counts: Counter[str] = Counter()
    wrong: list[tuple[str, str]] = []
    numbers = chunked(range(len(images)), CHUNK)
    for _, results in track_forked(what, chunk, numbers, workers):
        counts.update(result for result, _ in results)
        wrong += [pair for pair in results if pair[0] in WRONG]
    return counts, wrong


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--workers', type=int, help='processes; default: one per core'
    )
    parser.add_argument(
        '--verify',
        action='store_true',
        help='write nothing; compare every entry with the content of its '
        'source, exit code 1 if one is missing, damaged or stale',
    )
    add_config_options(parser)
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    if args.workers is not None and args.workers < 1:
        raise UserError('--workers must be at least 1.')
    cfg = load_config(args.config, args.cfg_options, args.data_root)
    if cfg.get('cache') is None:
        raise UserError(
            'The config has no "cache"; add cache = dict(dir="data/cache"), '
            'or --cfg-options cache.dir=data/cache here and in training.'
        )
    draw_phantoms(cfg)
    images = collect(cfg)
    if args.verify:
        what = f'Comparing {len(images)} entries'
        counts, wrong = walk(images, verify, what, args.workers)
    else:
        new = [
            i for i in images if not osp.exists(i[0].entry_path(i[2], i[1]))
        ]
        needed = bytes_needed(new)
        print(
            f'{cfg.cache.dir}: {len(images) - len(new)} of {len(images)} '
            f'entries are there, the others take about {decimal(needed)}.',
            flush=True,
        )
        check_space(cfg.cache.dir, needed)
        what = f'Reducing {len(images)} images'
        counts, wrong = walk(images, build, what, args.workers)
    print(', '.join(f'{count} {name}' for name, count in counts.items()))
    for name, message in wrong:
        print(f'{name}: {message}', file=sys.stderr)
    return 1 if wrong else 0


if __name__ == '__main__':
    run_tool(main)
