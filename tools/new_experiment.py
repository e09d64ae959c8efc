"""Start on data of your own: ``python tools/new_experiment.py FOLDER``.

Looks at a folder of images with tables (.csv) or COCO files (.json) and writes
the two configs that train on them: the dataset's and the experiment's. Files
of all images are split by patient; the splits are written beside them. What
was found, and what was not used, is printed: read it.
"""

import argparse
import keyword
import os
import re
from collections import Counter
from pathlib import Path

from fx_mm.config import expand_config, load_config
from fx_mm.preparation.plain_folder import PlainFolder, look_at
from fx_mm.preparation.plain_splits import split_images, write_splits
from fx_mm.tasks import SPLITS, all_kinds, find_kind
from fx_mm.utils.cli import at_least, run_tool
from fx_mm.utils.errors import UserError

BASES = Path(__file__).parents[1] / 'configs' / '_base_'
TINY = 'swin-tiny-phantom'
DATASET = """\
# {count} images in {data_root}; written by tools/new_experiment.py.
{name} = dict(
    data_root={data_root!r},
    img_dir={img_dir!r},
    tasks=dict(
{tasks}    ),
)
"""
TASK = """\
        {kind}=dict(
            classes={classes!r},
            reader={reader},
            splits={splits},
        ),
"""
EXPERIMENT = """\
_base_ = [
    {dataset!r},
    {model!r},
    {schedule!r},
    {defaults!r},
    {runtime!r},
]
datasets = dict({name}={{{{_base_.{name}}}}})
tasks = {tasks!r}
# A cycle is a walk over all tasks.
train_cfg = dict(max_cycles=20, val_interval=5)
"""
SMALL = """\
# The small model of the demo starts from nothing: ten times the rate that
# fine-tunes a pretrained backbone, and small images.
task_defaults = {defaults}
optim_wrapper = dict(
    optimizer=dict(lr=1e-3),
    paramwise_cfg=None,
    clip_grad={clip},
)
"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('folder', type=Path, help='images and their tables')
    parser.add_argument('--name', help="the dataset's (default: the folder's)")
    parser.add_argument(
        '--configs',
        type=Path,
        default=Path('configs'),
        help='folder that the configs go to (default: configs)',
    )
    models = sorted(
        path.stem.removeprefix('foundation-x_')
        for path in BASES.glob('models/foundation-x_*.py')
    )
    parser.add_argument(
        '--model',
        choices=models,
        default=TINY,
        help='backbone; the default is that of the demo, for a CPU',
    )
    parser.add_argument(
        '--seed', type=at_least(0), default=0, help='of the splits'
    )
    return parser.parse_args()


def choose_name(args: argparse.Namespace) -> str:
    """Return the name of the dataset, which is a variable of its config."""
    name = args.name or re.sub(r'\W+', '_', args.folder.resolve().name.lower())
    if not name.isidentifier() or keyword.iskeyword(name):
        raise UserError(
            f'"{name}" cannot be the name of a dataset; give one of letters, '
            'digits and "_" with --name.'
        )
    return name


def dataset_text(
    name: str, folder: PlainFolder, files: dict[str, dict[str, str]]
) -> str:
    """Return the dataset's config."""
    readers = {kind.name: kind.reader for kind in all_kinds()}
    text = ''
    for kind, group in folder.tasks.items():
        first = next(iter(group.values()))
        keys = dict(type=readers[kind], **first.reader)
        if folder.place.suffix:
            keys['img_suffix'] = folder.place.suffix
        text += TASK.format(
            kind=kind,
            classes=tuple(first.classes[kind]),
            reader=as_call(keys),
            splits=as_call({split: files[kind][split] for split in SPLITS}),
        )
    root = os.path.relpath(folder.root)
    if root.startswith(os.pardir):
        root = str(folder.root.resolve())
    names = {
        n for g in folder.groups for each in g.values() for n in each.names
    }
    return DATASET.format(
        count=len(names),
        data_root=f'{root}/',
        img_dir=f'{folder.place.folder}/',
        name=name,
        tasks=text,
    )


def experiment_text(
    name: str, model: str, folder: Path, kinds: list[str]
) -> str:
    """Return the experiment's config, which lies in ``folder``."""

    def base(path: str) -> str:
        return os.path.relpath(BASES / path, folder)

    text = EXPERIMENT.format(
        dataset=f'../_base_/datasets/{name}.py',
        model=base(f'models/foundation-x_{model}.py'),
        schedule=base('schedules/foundation-x_150c.py'),
        defaults=base('task_defaults.py'),
        runtime=base('default_runtime.py'),
        name=name,
        tasks=[f'{name}/{kind}' for kind in kinds],
    )
    base_cfg = load_config(str(BASES / f'models/foundation-x_{model}.py'))
    lacking = {
        kind.branch: f'dict(type={kind.branch_type!r})'
        for kind in map(find_kind, kinds)
        if kind.branch not in base_cfg.model.student
    }
    if lacking:
        text += f'model = dict(student={as_call(lacking, str)})\n'
    if model == TINY:
        sizes = dict.fromkeys(kinds, 'dict(img_size=128, batch_size=8)')
        clip = dict.fromkeys(kinds, 'dict(max_norm=1.0)')
        text += SMALL.format(
            defaults=as_call(sizes, str), clip=as_call(clip, str)
        )
    return text


def as_call(values: dict[str, str], form=repr) -> str:
    """Write a dict as configs do."""
    inside = ', '.join(f'{key}={form(v)}' for key, v in values.items())
    return f'dict({inside})'


def main() -> None:
    args = parse_args()
    name = choose_name(args)
    config = args.configs / '_base_' / 'datasets' / f'{name}.py'
    experiment = args.configs / name / f'foundation-x_{name}.py'
    for path in (config, experiment):
        if path.exists():
            raise UserError(
                f'{path} is there already; remove it, or give another --name.'
            )
    folder = look_at(args.folder)
    tasks = folder.tasks
    kinds = [kind.name for kind in all_kinds() if kind.name in tasks]
    split_of = split_images(folder, args.seed)
    files = write_splits(folder, split_of)
    for path, text in (
        (config, dataset_text(name, folder, files)),
        (
            experiment,
            experiment_text(name, args.model, experiment.parent, kinds),
        ),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')
    expand_config(load_config(str(experiment)))
    report(name, folder, split_of, files)
    print(f'written: {config}, {experiment}')
    print(f'next: python tools/audit_data.py {experiment}')
    print(f'      python tools/train.py {experiment} --dry-run')


def report(
    name: str,
    folder: PlainFolder,
    split_of: dict[str, str],
    files: dict[str, dict[str, str]],
) -> None:
    """Print what was found."""
    images = folder.root / folder.place.folder
    print(f'{name}: {len(split_of)} images in {images}')
    for kind, group in folder.tasks.items():
        first = next(iter(group.values()))
        print(f'  {kind}: {", ".join(first.classes[kind])}')
        print(f'       from {", ".join(files[kind].values())}')
    counts = Counter(split_of.values())
    known = any(each.patients for g in folder.groups for each in g.values())
    way = (
        'by patient'
        if known
        else 'each image as a patient of its own, since no column names '
        'patients: add one ("patient") if some have several images'
    )
    shown = ', '.join(f'{counts[split]} {split}' for split in SPLITS)
    drawn = any('' in group for group in folder.groups)
    print(f'  {shown} ' + (f'({way})' if drawn else '(as the files say)'))
    for what in folder.unused:
        print(f'  not used: {what}')


if __name__ == '__main__':
    run_tool(main)
