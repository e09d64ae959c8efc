"""Time samples of cached images against the originals.

Draws phantoms of hospital C, scanned films with 9 masks in one 16-bit file
each, as PNG of 1024 x 1024 pixels, and runs the default training pipeline of
each kind on them, from the originals and from the cache. The cases alternate
image by image in one process with one thread; figures are medians over images
and rounds of this thread's time on the processor: a busy machine interrupts
the long case more often and would favour the short one. All files are in the
system's memory: a disk is not measured.

load      LoadXray and LoadXrayAnnotations
pipeline  the whole training sample, as the loader's worker makes it
filling   the sample of a first epoch, which also writes the entry

Then it reads a table and a list of as many images as MIMIC-CXR has, of 14
classes, with all their (empty) files in one folder, each in a process of its
own: seconds of the processor from the start of Python to the records, and MB
at the peak, imports included in both.
"""

import argparse
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fx_mm.datasets.task_dataset import TaskDataset
from fx_mm.phantom import ensure_phantom
from fx_mm.tasks import TaskTable
from fx_mm.utils.cli import run_tool

import cv2
import torch
from mmengine.config import Config

CONFIGS = Path(__file__).parents[2] / 'configs/_base_'
STORED = ('originals', 'cache')
READ = """
import json, re, sys, time
from fx_mm.datasets import readers
from fx_mm.tasks import Task
type, file, folder, classes = json.loads(sys.argv[1])
reader = getattr(readers, type)()
records = reader(file, folder, Task('toy', 'cls', tuple(classes)))
status = open('/proc/self/status').read()
peak = int(re.search(r'VmHWM:\\s+(\\d+)', status)[1]) / 1024
print(len(records), time.process_time(), peak)
"""


def build_datasets(root: Path, args) -> dict[str, dict]:
    """Return the training set of each kind, from originals and from cache."""
    counts = dict(train=args.images, val=1, test=1)
    home = ensure_phantom(root, args.difficulty, counts, args.size, texts=True)
    cfg = Config.fromfile(CONFIGS / 'datasets/phantom_c.py')
    cfg.merge_from_dict(Config.fromfile(args.defaults).to_dict())
    cfg.phantom_c.data_root = f'{home}/hospital_c/'
    cfg.phantom_c.tasks.report = dict(
        classes=cfg.phantom_c.tasks.cls.classes,
        splits=dict(train='train_reports.csv'),
    )
    for entry in cfg.task_defaults.values():
        entry.img_size = args.img_size
    cfg.datasets = dict(phantom_c=cfg.phantom_c)
    datasets: dict = {}
    caches = (None, dict(dir=f'{root}/cache', factor=args.factor))
    for side, cache in zip(STORED, caches):
        cfg.cache = cache
        for task in TaskTable.from_cfg(cfg):
            sides = datasets.setdefault(task.kind.name, {})
            sides[side] = TaskDataset(task, 'train')
    return datasets


def load(dataset: TaskDataset, index: int, _: int) -> None:
    """Load an image with its annotation."""
    results = dict(dataset.get_data_info(index), **dataset.metainfo)
    for step in dataset.pipeline.transforms[:2]:
        results = step(results)


def sample(dataset: TaskDataset, index: int, seed: int) -> None:
    """Make a training sample."""
    dataset.sample(index, seed)


def measure(sides: dict, work, args) -> dict[str, float]:
    """Milliseconds an image, the sides in turn."""
    times: dict = {name: [] for name in sides}
    for seed in range(args.rounds + 1):
        for index in range(args.images):
            for name, dataset in sides.items():
                begin = time.thread_time()
                work(dataset, index, seed)
                if seed:  # the first round warms up and fills the cache
                    times[name].append(time.thread_time() - begin)
    return {n: 1e3 * statistics.median(each) for n, each in times.items()}


def measure_filling(sides: dict, root: Path, args) -> dict[str, float]:
    """Milliseconds of a sample whose entries are not there yet."""
    times: dict = {name: [] for name in sides}
    for seed in range(args.rounds // 4 + 1):
        shutil.rmtree(root / 'cache', ignore_errors=True)
        for index in range(args.images):
            for name, dataset in sides.items():
                begin = time.thread_time()
                dataset.sample(index, seed)
                times[name].append(time.thread_time() - begin)
    return {n: 1e3 * statistics.median(each) for n, each in times.items()}


def measure_steps(dataset: TaskDataset, args) -> dict[str, float]:
    """Milliseconds of each step of a pipeline."""
    times: dict = {}
    for _ in range(args.rounds):
        for index in range(args.images):
            results = dict(dataset.get_data_info(index), **dataset.metainfo)
            results['replaced'] = None
            for step in dataset.pipeline.transforms:
                begin = time.thread_time()
                results = step(results)
                spent = time.thread_time() - begin
                times.setdefault(type(step).__name__, []).append(spent)
    return {n: 1e3 * statistics.median(each) for n, each in times.items()}


def measure_tables(rows: int) -> dict[str, dict[str, float]]:
    """Seconds and MB of reading a table and a list of that many rows."""
    classes = [f'C{number}' for number in range(14)]
    draw = random.Random(0)
    report = {}
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root, 'images')
        folder.mkdir()
        names = [
            f'{n:08x}-68b7e2ce-41cd6a73-f2d39ccd.jpg' for n in range(rows)
        ]
        labels = [draw.choices('01', k=len(classes)) for _ in names]
        for name in names:
            (folder / name).touch()
        for reader, ending, join, head in (
            ('CsvLabelReader', 'csv', ',', f'image,{",".join(classes)}\n'),
            ('ListLabelReader', 'txt', ' ', ''),
        ):
            file = Path(root, f'rows.{ending}')
            lines = [join.join([n, *row]) for n, row in zip(names, labels)]
            file.write_text(head + '\n'.join(lines))
            job = json.dumps([reader, str(file), str(folder), classes])
            done = subprocess.run(
                [sys.executable, '-c', READ, job],
                capture_output=True,
                text=True,
                check=True,
            )
            count, seconds, megabytes = map(float, done.stdout.split())
            report[reader] = dict(
                rows=int(count),
                seconds=round(seconds, 2),
                megabytes=round(megabytes),
            )
    return report


def with_ratio(times: dict[str, float]) -> dict[str, float]:
    """Add images a second and how many times as fast the cache is."""
    result = {f'{name}_ms': round(t, 3) for name, t in times.items()}
    result |= {f'{n}_per_second': round(1e3 / t) for n, t in times.items()}
    result['ratio'] = round(times['originals'] / times['cache'], 2)
    return result


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--images', type=int, default=16)
    parser.add_argument('--size', type=int, default=1024, help='of the PNGs')
    parser.add_argument('--img-size', type=int, default=224, help='to train')
    parser.add_argument('--factor', type=float, default=1.15)
    parser.add_argument('--rounds', type=int, default=12)
    parser.add_argument('--difficulty', default='hard', help='of phantoms')
    parser.add_argument(
        '--defaults',
        default=str(CONFIGS / 'task_defaults.py'),
        help='config file with the pipelines',
    )
    parser.add_argument(
        '--rows', type=int, default=377_110, help='of table and list; 0: none'
    )
    parser.add_argument(
        '--root', help='where to keep the phantoms; default: a temporary one'
    )
    parser.add_argument('--out', help='JSON file to write')
    return parser.parse_args()


def run(root: Path, args) -> dict:
    """Measure all kinds."""
    report = dict(
        machine=dict(
            processor=platform.processor() or platform.machine(),
            cores=os.cpu_count(),
            load=os.getloadavg()[0],
            opencv=cv2.__version__,
            torch=torch.__version__,
        ),
        arguments={
            name: getattr(args, name)
            for name in ('images', 'size', 'img_size', 'factor', 'rounds')
        },
        unit='milliseconds of the processor, images a second, ratios',
    )
    for kind, sides in build_datasets(root, args).items():
        # first, as it empties the cache
        filling = measure_filling(sides, root, args)
        report[kind] = dict(
            load=with_ratio(measure(sides, load, args)),
            pipeline=with_ratio(measure(sides, sample, args)),
            filling=with_ratio(filling),
            steps={n: measure_steps(d, args) for n, d in sides.items()},
        )
        print(json.dumps({kind: report[kind]}, indent=2), flush=True)
    if args.rows:
        report['tables'] = measure_tables(args.rows)
        print(json.dumps({'tables': report['tables']}, indent=2))
    return report


def main() -> int:
    args = parse_args()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        report = run(Path(args.root or temporary), args)
    if args.out:
        Path(args.out).write_text(json.dumps(report, indent=2))
    return 0


if __name__ == '__main__':
    run_tool(main)
