"""An audit from a config: all of it, or the short form."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from fx_mm.audit.boxes import find_box_oddities, find_unused_categories
from fx_mm.audit.duplicates import find_pairs
from fx_mm.audit.findings import (
    LEVELS,
    Finding,
    allow,
    set_levels,
    sort_findings,
)
from fx_mm.audit.held_out import (
    find_equal_files,
    open_held_out,
    strict_leaks,
)
from fx_mm.audit.images import find_missing_images, find_odd_images
from fx_mm.audit.labels import (
    find_disagreements,
    find_label_oddities,
    find_shifts,
    find_unused_classes,
    label_table,
)
from fx_mm.audit.leaks import find_duplicates
from fx_mm.audit.masks import find_mask_oddities, mask_files
from fx_mm.audit.patients import find_shared
from fx_mm.audit.pictures import (
    draw_odd,
    draw_pairs,
    draw_prevalence,
    draw_together,
)
from fx_mm.audit.readings import find_image_warnings, find_mask_warnings
from fx_mm.audit.report import report, save_report
from fx_mm.audit.scan import Scan, scan_images, scan_masks
from fx_mm.audit.task_splits import (
    TaskSplit,
    open_splits,
    reads_coco,
    task_table,
)
from fx_mm.datasets.task_dataset import TaskDataset
from fx_mm.tasks import TaskTable
from fx_mm.utils.checks import check_choice, check_keys
from fx_mm.utils.errors import UserError

AUDIT_KEYS = ('allow', 'levels', 'on_leak')
ON_LEAK = ('warn', 'stop')
REPORT = 'audit.json'


@dataclass
class Options:
    """The ``audit`` of a config.

    Attributes:
        allow (list[str]): Findings that are allowed; see
            :func:`~.findings.allow`.
        levels (dict[str, str]): Findings, named as in ``allow``, to their
            level, which decides whether the audit fails.
        on_leak (str): What the start of a training does about a leak:
            ``warn`` or ``stop``.
    """

    allow: list[Any]
    levels: dict[str, str]
    on_leak: str = 'warn'

    @classmethod
    def from_cfg(cls, cfg: Config) -> 'Options':
        """Read ``audit`` of a config.

        Raises:
            UserError: If a key or value of it is wrong.
        """
        entry = dict(cfg.get('audit') or {})
        check_keys(entry, AUDIT_KEYS, 'audit')
        names = entry.get('allow') or []
        if isinstance(names, str) or not all(
            isinstance(name, str) for name in names
        ):
            raise UserError(
                f'audit.allow is {names!r}; it must be a list of names.'
            )
        levels = entry.get('levels') or {}
        if not isinstance(levels, Mapping):
            raise UserError(
                f'audit.levels is {levels!r}; it must be a dict of names to '
                f'levels ({", ".join(LEVELS)}).'
            )
        for name, level in levels.items():
            check_choice(f'audit.levels["{name}"]', level, LEVELS)
        on_leak = entry.get('on_leak', 'warn')
        check_choice('audit.on_leak', on_leak, ON_LEAK)
        return cls(list(names), dict(levels), on_leak)


def audit(
    cfg: Config,
    out_dir: str | Path,
    tasks: Sequence[str] | None = None,
    allowed: Sequence[str] = (),
    quick: bool = False,
    workers: int | None = None,
    flip: bool = True,
    invert: bool = True,
) -> dict[Any, Any]:
    """Audit the data of a config and write what was found.

    Args:
        cfg (Config): The config; it is not changed.
        out_dir (str | Path): Folder of the report, the pictures and what
            was read of the images.
        tasks (Sequence[str], optional): Only these tasks. Defaults to None.
        allowed (Sequence[str]): Findings that are allowed, besides those of
            the config. Defaults to none.
        quick (bool): Whether to read no image and draw nothing. Defaults to
            False.
        workers (int, optional): Number of processes. Defaults to the number
            of available cores.
        flip (bool): Whether mirrored copies count as copies.
        invert (bool): Whether inverted copies count as copies.

    Returns:
        dict: The content of ``audit.json``.

    Raises:
        UserError: If the config cannot be used.
    """
    out_dir = Path(out_dir)
    options = Options.from_cfg(cfg)
    table = task_table(cfg, tasks)
    splits, findings = _open(cfg, table)
    findings += [*find_missing_images(splits), *find_shared(splits)]
    tables, found = _look_at_labels(splits)
    findings += found
    out_dir.mkdir(parents=True, exist_ok=True)
    scan, masks = None, None
    if not quick:
        draw_prevalence(tables, out_dir / 'prevalence.png')
        draw_together(tables, out_dir / 'co-occurrence.png')
        paths = dict.fromkeys(path for split in splits for path in split.paths)
        scan = scan_images(list(paths), out_dir, workers)
        findings += find_image_warnings(splits, scan)
        odd, pictures = find_odd_images(splits, scan)
        pairs = find_pairs(scan, flip, invert, workers)
        same, groups = find_duplicates(splits, pairs)
        findings += odd + same
        draw_odd(pictures, out_dir / 'odd_images.png')
        draw_pairs(groups, out_dir / 'duplicates.png')
        masks = scan_masks(mask_files(splits), out_dir, workers)
        for split in splits:
            if split.records.has('mask_paths'):
                findings += find_mask_oddities(split, masks, scan)
        findings += find_mask_warnings(splits, masks)
    findings += _look_at_boxes(table, splits, scan)
    idle_levels = set_levels(findings, options.levels)
    idle = allow(findings, [*options.allow, *allowed])
    content = report(
        cfg.filename or '',
        quick,
        tables,
        findings,
        idle,
        idle_levels,
        scan,
        masks,
    )
    save_report(content, out_dir / REPORT)
    return content


def _look_at_labels(
    splits: list[TaskSplit],
) -> tuple[dict[Any, Any], list[Finding]]:
    tables: dict[Any, Any] = {}
    splits = [split for split in splits if split.annotated]
    findings = find_disagreements(splits)
    for split in splits:
        entry = label_table(split)
        tables.setdefault(split.task.name, {})[split.split] = entry
        findings += find_label_oddities(split, entry)
        findings += find_unused_classes(split)
    for task, by_split in tables.items():
        findings += find_shifts(task, by_split)
    return tables, findings


def _look_at_boxes(
    table: TaskTable, splits: list[TaskSplit], scan: Scan | None
) -> list[Finding]:
    sizes = {
        (split.task.name, split.split): _sizes(split, scan) for split in splits
    }
    findings: list[Finding] = []
    for task in table:
        if not reads_coco(task):
            continue
        for split, file in task.config['splits'].items():
            if file is None:
                continue
            # of a split that its reader refused, too
            ann_file = task.ann_file(split)
            size = sizes.get((task.name, split))
            findings += find_box_oddities(task, split, ann_file, size)
            findings += find_unused_categories(task, split, ann_file)
    return findings


def _sizes(split: TaskSplit, scan: Scan | None) -> dict[Any, Any] | None:
    """Map the names of readable images to (width, height)."""
    if scan is None or not reads_coco(split.task):
        return None
    rows = scan.rows
    numbers = {
        name: scan.index(p) for name, p in zip(split.names, split.paths)
    }
    return {
        name: (int(rows['width'][i]), int(rows['height'][i]))
        for name, i in numbers.items()
        if not rows['error'][i]
    }


def quick_audit(
    cfg: Config, built: Iterable[TaskDataset] = ()
) -> list[Finding]:
    """Look for leaks without reading an image: in seconds.

    Compares patients, image names and identifiers between splits, tasks and
    datasets, and looks for classes without positives. Images that a task
    without annotation trains on are compared with all that any task of the
    config holds out, byte by byte too.

    Args:
        cfg (Config): The config; it is not changed.
        built (Iterable[TaskDataset]): Datasets that need not be read again.
            Defaults to none.

    Returns:
        list[Finding]: Worst first; what the config allows is marked.

    Raises:
        UserError: If the config cannot be used.
    """
    return _quick(cfg, built)[0]


def _open(
    cfg: Config, table: TaskTable, built: Iterable[TaskDataset] = ()
) -> tuple[list[TaskSplit], list[Finding]]:
    others, unread = open_held_out(cfg, table)
    splits, findings = open_splits(cfg, table, built, others)
    return splits, findings + unread


def _quick(
    cfg: Config, built: Iterable[TaskDataset]
) -> tuple[list[Finding], list[TaskSplit]]:
    """Return the findings of :func:`quick_audit`, and the splits."""
    options = Options.from_cfg(cfg)
    splits, findings = _open(cfg, task_table(cfg), built)
    findings += [
        *find_missing_images(splits),
        *find_shared(splits),
        *find_equal_files(splits),
    ]
    for split in splits:
        if split.split == 'train' and split.annotated:
            findings += find_label_oddities(split, label_table(split))
    set_levels(findings, options.levels)
    allow(findings, options.allow)
    return sort_findings(findings), splits


def warn_of_leaks(
    cfg: Config, built: Iterable[TaskDataset], logger: logging.Logger
) -> list[Finding]:
    """Audit the data at the start of a training, in its short form.

    What it finds goes to the logger as warnings, one line each. Leaks into
    the training of a task without annotation stop the run: it could do
    without those images.

    Args:
        cfg (Config): The config; it is not changed.
        built (Iterable[TaskDataset]): Datasets that need not be read again.
        logger (Logger): The run's.

    Returns:
        list[Finding]: The leaks that are not allowed.

    Raises:
        UserError: If there is one and ``audit.on_leak`` is ``stop``, or it
            is into the training of a task without annotation.
    """
    options = Options.from_cfg(cfg)
    everything, splits = _quick(cfg, built)
    found = [f for f in everything if not f.allowed]
    leaks = [finding for finding in found if finding.level == 'leak']
    for finding in found:
        if finding.level != 'note':
            logger.warning(f'{finding.name}: {finding.message}')
    refused = leaks
    if leaks and options.on_leak != 'stop':
        strict = strict_leaks(splits)
        refused = [finding for finding in leaks if finding.name in strict]
    if refused:
        first, *others = refused
        more = f' (and {len(others)} more)' if others else ''
        raise UserError(
            f'The data leak: {first.name}: {first.message.rstrip(".")}{more}; '
            'fix the splits, or allow it by name: '
            f'audit = dict(allow=["{first.name}"]).'
        )
    return leaks
