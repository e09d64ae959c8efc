"""Zero-shot by head: how well heads of other datasets know a target's classes.

    python tools/analysis_tools/zero_shot.py CONFIG CHECKPOINT TARGET

TARGET is the config of a dataset with labels, such as
configs/_base_/datasets/siim_acr.py. Each of its classes is looked up by name
in the heads of the model (``--also Nodule=Mass,"Lung tumor"`` accepts more);
the AUC of each head and of their mean comes with its 95 % interval. Heads
whose training data share images with the target, as far as that is known, are
refused. Writes ``zero_shot.json``, ``zero_shot.md`` and ``scores.csv``.
"""

import argparse
from pathlib import Path

from fx_mm.analysis.reports import write_json, write_scores
from fx_mm.analysis.zero_shot import (
    MEAN,
    Head,
    evaluate_heads,
    find_heads,
    shared_images,
)
from fx_mm.apis import FoundationXInferencer, load_config
from fx_mm.apis.inference import BATCH_SIZE
from fx_mm.audit.task_splits import task_table
from fx_mm.datasets.readers.patients import find_patients
from fx_mm.datasets.task_dataset import TaskDataset
from fx_mm.evaluation.statistics.bootstrap import RESAMPLES
from fx_mm.tasks import SPLITS, ClassificationKind, Task, TaskTable, split_name
from fx_mm.utils.checks import suggest
from fx_mm.utils.cli import (
    add_bootstrap_options,
    add_config_options,
    add_model_options,
    at_least,
    run_tool,
)
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import write_whole
from fx_mm.utils.text_table import markdown_table

import numpy as np
from mmengine.registry import init_default_scope


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help="the model's")
    parser.add_argument('checkpoint')
    parser.add_argument('target', help="config file with the target's dataset")
    parser.add_argument(
        '--target-task', help='such as siim_acr/cls, if TARGET has several'
    )
    parser.add_argument('--split', choices=SPLITS, default='test')
    parser.add_argument(
        '--classes', nargs='+', help='only these of the target'
    )
    parser.add_argument(
        '--also',
        nargs='+',
        default=[],
        metavar='CLASS=NAME,NAME',
        help='further names that heads may have for a class',
    )
    parser.add_argument(
        '--allow-overlap',
        action='store_true',
        help='use heads that may have learned on images of the target',
    )
    parser.add_argument(
        '--out', type=Path, help='folder (default: WORK_DIR/zero_shot_TARGET)'
    )
    parser.add_argument('--batch-size', type=at_least(1), default=BATCH_SIZE)
    add_bootstrap_options(parser, RESAMPLES)
    add_model_options(parser)
    add_config_options(parser)
    return parser.parse_args()


def open_target(args) -> tuple[Task, TaskDataset, list | None]:
    """Return the target's task, its images and their patients."""
    cfg = load_config(args.target, data_root=args.data_root)
    table = task_table(cfg)
    names = [t.name for t in table if t.kind is ClassificationKind]
    if args.target_task is not None and args.target_task not in names:
        raise UserError(
            f'{args.target} has no task "{args.target_task}" with labels; '
            f'{suggest(args.target_task, names)}.'
        )
    if args.target_task is None and len(names) != 1:
        raise UserError(
            f'{args.target} has {len(names)} tasks with labels (cls); name '
            'one with --target-task.'
            if names
            else f'{args.target} has no task with labels (cls).'
        )
    task = table[args.target_task or names[0]]
    init_default_scope('fx_mm')
    dataset = TaskDataset(task, args.split, test_mode=True)
    patients = find_patients(
        task,
        dataset.ann_file,
        list(dataset.data_list.column('img_id')),
        task.config.get('patient'),
    )
    return task, dataset, patients


def parse_also(pairs: list, classes: list) -> dict:
    also = {}
    for pair in pairs:
        name, equals, others = pair.partition('=')
        if not equals or name not in classes:
            raise UserError(
                f'--also is "{pair}"; write CLASS=NAME,NAME with a class of '
                f'the target: {", ".join(classes)}.'
            )
        also[name] = [other.strip() for other in others.split(',')]
    return also


def choose_heads(tasks: list, target: Task, args) -> tuple[dict, dict]:
    """Find each class's heads, and why others are refused.

    Raises:
        UserError: If no class has a head that is left.
    """
    classes = list(target.classes)
    for name in args.classes or ():
        if name not in classes:
            raise UserError(
                f'{target.name} has no class "{name}"; '
                f'{suggest(name, classes)}.'
            )
    also = parse_also(args.also, classes)
    heads: dict[str, list[Head]] = {}
    refused: dict[str, str] = {}
    for name in args.classes or classes:
        for head in find_heads(tasks, name, also.get(name, ())):
            dataset = split_name(head.task)[0]
            reason = shared_images(dataset, target.dataset)
            if reason and not args.allow_overlap:
                refused[str(head)] = reason
            else:
                heads.setdefault(name, []).append(head)
    if not heads:
        reasons = [
            f'{head} is refused ({why})' for head, why in refused.items()
        ]
        raise UserError(
            f'No head for {", ".join(args.classes or classes)}: '
            + ('; '.join(reasons) or 'the model has no class of such a name')
            + '; --also accepts further names, --allow-overlap refused heads.'
        )
    return heads, refused


def main():
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options, args.data_root)
    table = TaskTable.from_cfg(cfg)
    target, dataset, patients = open_target(args)
    heads, refused = choose_heads(list(table), target, args)
    used = dict.fromkeys(h.task for each in heads.values() for h in each)
    infer = FoundationXInferencer(
        cfg,
        args.checkpoint,
        predict_on=args.predict_on,
        tasks=list(used),
        device=args.device,
        trust=args.trust,
    )
    paths = list(dataset.data_list.column('img_path'))
    answers = infer.iterate(paths, args.batch_size)
    found = [
        {task: result[task].scores for task in used} for result in answers
    ]
    labels = np.stack([record['gt_score'] for record in dataset.data_list])

    seen = {
        task.dataset: reason
        for task in table
        if (reason := shared_images(task.dataset, target.dataset))
    }
    rows, content, columns, truths = [], {}, {}, {}
    for name, each in heads.items():
        truth = labels[:, target.classes.index(name)]
        scores = {
            str(head): np.array([f[head.task][head.output] for f in found])
            for head in each
        }
        aucs = evaluate_heads(
            truth, scores, args.resamples, args.seed, patients
        )
        positive, negative = int((truth == 1).sum()), int((truth == 0).sum())
        rows += [
            [name, f'{positive}/{negative}', head, value]
            for head, value in aucs.items()
        ]
        content[name] = dict(
            positive=positive,
            negative=negative,
            heads={head: value.to_dict() for head, value in aucs.items()},
        )
        columns[name] = np.mean(list(scores.values()), axis=0)
        columns |= scores
        truths[name] = truth
    text = markdown_table(('class', '+/-', 'head', 'AUC [95 %]'), rows) + '\n'
    alone = [n for n in args.classes or target.classes if n not in heads]
    notes = [f'No head for {", ".join(alone)}.'] if alone else []
    notes += [f'Refused: {head}, {why}.' for head, why in refused.items()]
    notes += [
        f'The backbone was trained on {name} too: {why}.'
        for name, why in seen.items()
    ]
    text += ''.join(f'\n{note}' for note in notes)
    out = args.out or Path(cfg.work_dir) / f'zero_shot_{target.dataset}'
    write_whole(out / 'zero_shot.md', text + '\n')
    write_json(
        out / 'zero_shot.json',
        dict(
            target=target.name,
            split=args.split,
            images=len(labels),
            mean_is=MEAN,
            predict_on=infer.predict_on,
            checkpoint=Path(args.checkpoint).name,
            classes=content,
            without_head=alone,
            refused=refused,
            backbone_saw=seen,
        ),
    )
    names = list(dataset.data_list.column('img_id'))
    write_scores(out / 'scores.csv', names, columns, truths)
    print(text)


if __name__ == '__main__':
    run_tool(main)
