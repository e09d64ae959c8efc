"""Sheets of what training sees: images after all transforms, with truth."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from fx_mm.config import expand_config
from fx_mm.datasets.samplers import CyclicBatchSampler, SampleKey
from fx_mm.registry import SCOPE
from fx_mm.structures import FXDataSample
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError
from fx_mm.visualization.contact_sheet import draw_tile, make_grid
from fx_mm.visualization.results import Marks, result_class
from fx_mm.visualization.text import INK, Piece
from fx_mm.visualization.tiles import pair_tiles, save_picture

COLUMNS = 4
SIZES = (256, 512)
"""Fewest and most pixels of a tile; between them, as many as the image."""
STUDENT: Piece = ('student', (120, 200, 255))
TEACHER: Piece = ('teacher', (255, 190, 120))


def draw_training_sheets(
    cfg: Config, folder: str | Path, number: int = 8
) -> Iterator[Path]:
    """Draw the first training samples of each task.

    The loader of a run with this config on one process gives these samples,
    with the same seeds; nothing is trained.

    Args:
        cfg (Config): The experiment's config, not expanded.
        folder (str | Path): Where the sheets go, ``<dataset>_<kind>.png``.
        number (int): Samples of each task. Defaults to 8.

    Yields:
        Path: A sheet as soon as it is written.

    Raises:
        UserError: If the config or its data cannot be used.
    """
    seed = (cfg.get('randomness') or {}).get('seed')
    shown = 'no seed is set, drawn with 0' if seed is None else f'seed {seed}'
    loader = open_loader(cfg, seed or 0)
    dataset = loader.dataset
    keys = first_keys(loader.batch_sampler, number)
    for place, task in enumerate(dataset.tasks):
        samples = [dataset[key] for key in keys[place]]
        tiles = [_draw(task, sample) for sample in samples]
        title = f'{task.name}: {len(tiles)} training samples, {shown}'
        if not any('teacher_inputs' in sample for sample in samples):
            title += ', the same for student and teacher'
        per_row = max(COLUMNS * tiles[0].shape[0] // tiles[0].shape[1], 2)
        picture = make_grid(tiles, min(per_row, COLUMNS), title)
        yield save_picture(
            picture, Path(folder, f'{task.name.replace("/", "_")}.png')
        )


def open_loader(cfg: Config, seed: int) -> Any:
    """Build the loader of a training.

    Args:
        cfg (Config): The experiment's config, not expanded.
        seed (int): The run's.

    Returns:
        DataLoader: Over a ``MultiTaskDataset``, by a ``CyclicBatchSampler``.

    Raises:
        UserError: If the config or its data cannot be used.
    """
    if cfg.get('train_cfg') is None:
        raise UserError(
            'The config has no train_cfg, so there is no training to look '
            'at; tools/analysis_tools/contact_sheet.py draws files as stored.'
        )
    init_default_scope(SCOPE)
    plain = expand_config(cfg)
    loader = dict(plain.train_dataloader)
    names = loader['dataset'].get('tasks')
    tasks = plain.task_table.in_cycle(names)
    loader['dataset'] = dict(loader['dataset'], tasks=tasks)
    return Runner.build_dataloader(loader, seed=seed)


def first_keys(
    sampler: CyclicBatchSampler, number: int
) -> dict[int, list[SampleKey]]:
    """Return the first samples of each task in the first cycle.

    Args:
        sampler (CyclicBatchSampler): Of the training.
        number (int): How many; a task with fewer in the cycle has fewer.

    Returns:
        dict[int, list[SampleKey]]: By the number of the task.
    """
    names = [task.name for task in sampler.sampler.dataset.tasks]
    keys: dict[int, list[SampleKey]] = {i: [] for i in range(len(names))}
    schedule = sampler.schedule
    for index in range(schedule.passes_per_cycle):
        tasks = schedule.counts[schedule.place(index)]
        places = [names.index(task) for task in tasks]
        for batch in sampler.walk_pass(index):
            if all(len(keys[place]) >= number for place in places):
                break
            for key in batch:
                if len(keys[key.task]) < number:
                    keys[key.task].append(key)
    return keys


def _draw(task: Task, packed: dict[str, Any]) -> np.ndarray:
    """Draw what the student sees, and the teacher if it sees another image."""
    sample: FXDataSample = packed['data_samples']
    marks = Marks()  # a teacher labels what is without annotation
    if task.pseudo is None:
        marks = result_class(task).mark_truth(task, sample, task.classes)
    lines = [*marks.lines, *_notes(sample)]
    if 'teacher_inputs' not in packed:
        return _tile(packed['inputs'], marks, [sample.img_id, *lines])
    heading = [STUDENT, (sample.img_id, INK)]
    return pair_tiles(
        _tile(packed['inputs'], marks, [heading, *lines]),
        _tile(packed['teacher_inputs'], marks, [[TEACHER]]),
    )


def _tile(
    inputs: torch.Tensor, marks: Marks, lines: list[str | list[Piece]]
) -> np.ndarray:
    image = inputs.permute(1, 2, 0).numpy()
    size = min(max(*image.shape[:2], SIZES[0]), SIZES[1])
    return draw_tile(
        image, marks.boxes, marks.masks, lines, size, marks.ignored
    )


def _notes(sample: FXDataSample) -> list[str]:
    """Return what the pipeline did to an image, in words."""
    (height, width), (new_height, new_width) = (
        sample.ori_shape[:2],
        sample.img_shape[:2],
    )
    note = f'{width} x {height} px to {new_width} x {new_height}'
    if sample.metainfo.get('flip'):
        note += f', mirrored ({sample.metainfo["flip_direction"]})'
    notes = [note]
    if sample.replaced is not None:
        notes.append(f'stands in for another: {sample.replaced}')
    return notes
