"""Pictures of what findings rest on."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch.nn.functional as F

from fx_mm.apis.image_sources import ImageSource
from fx_mm.apis.inference import FoundationXInferencer
from fx_mm.datasets.image_pipeline import sample_meta
from fx_mm.datasets.transforms.formatting import META_KEYS
from fx_mm.models.branches.evidence import Evidence
from fx_mm.structures import FXDataSample
from fx_mm.tasks import Task
from fx_mm.visualization.explanation import draw_finding
from fx_mm.visualization.results import SCORE_THR
from fx_mm.visualization.tiles import save_picture, to_numpy


@dataclass(frozen=True, eq=False)
class ExplainedFinding:
    """A finding and the picture of what it rests on.

    Attributes:
        task (Task): The task.
        number (int): Of the finding in its task.
        name (str): Class name.
        score (float): Of the label or box.
        picture (np.ndarray): uint8 RGB.
    """

    task: Task
    number: int
    name: str
    score: float
    picture: np.ndarray


def explain(
    infer: FoundationXInferencer,
    source: ImageSource,
    score_thr: float = SCORE_THR,
    tasks: Sequence[Task] | None = None,
) -> Iterator[ExplainedFinding]:
    """Draw what each finding of labels and boxes rests on.

    Args:
        infer (FoundationXInferencer): The model and its tasks.
        source (ImageSource): The image.
        score_thr (float): Findings with a lower score are left out.
            Defaults to 0.3.
        tasks (Sequence[Task], optional): Defaults to None: all.

    Yields:
        ExplainedFinding: None of an image that cannot be read.
    """
    prediction = infer.pipeline(source)
    image = prediction.result.image
    if image is None:
        return
    for task in infer.tasks if tasks is None else tasks:
        data = prediction.inputs[infer.pipeline.of_task[task.name].key]
        meta = {key: data[key] for key in META_KEYS} | sample_meta(task)
        sample = FXDataSample(metainfo=meta)
        batch = infer.model.data_preprocessor(
            dict(inputs=[data['img'].to(infer.device)], data_samples=[sample])
        )
        inputs, samples = batch['inputs'], batch['data_samples']
        with infer.autocast():
            found = infer.model.active.explain(inputs, samples, score_thr)
        for number, evidence in enumerate(found):
            label = task.classes[evidence.label]
            picture = draw_finding(
                image,
                task.name,
                label,
                evidence.score,
                **_in_pixels(evidence, samples[0]),
            )
            yield ExplainedFinding(
                task, number, label, float(evidence.score), picture
            )


def save_explanations(
    infer: FoundationXInferencer,
    source: ImageSource,
    folder: str | Path,
    score_thr: float = SCORE_THR,
) -> list[Path]:
    """Write one picture per finding of labels and boxes.

    Args:
        infer (FoundationXInferencer): The model and its tasks.
        source (ImageSource): The image.
        folder (str | Path): Where to.
        score_thr (float): Findings with a lower score are left out.
            Defaults to 0.3.

    Returns:
        list[Path]: The pictures, ``phantom_b_loc_00_Nodule.png``; empty for
        an image that cannot be read.
    """
    files = []
    for found in explain(infer, source, score_thr):
        name = f'{found.task.name}_{found.number:02d}_{found.name}'
        file = Path(folder, re.sub(r'\W+', '_', name) + '.png')
        files.append(save_picture(found.picture, file))
    return files


def _in_pixels(evidence: Evidence, sample: FXDataSample) -> dict[str, Any]:
    """Return maps and points in pixels of the original."""
    height, width = sample.batch_input_shape
    if evidence.heat is not None:
        heat = F.interpolate(
            evidence.heat[None, None], (height, width), mode='bilinear'
        )
        rows, columns = sample.img_shape[:2]
        heat = F.interpolate(
            heat[..., :rows, :columns],
            tuple(sample.ori_shape[:2]),
            mode='bilinear',
        )
        return dict(heat=to_numpy(heat[0, 0]))
    points, shares, box = evidence.points, evidence.shares, evidence.box
    if points is None or shares is None or box is None:
        raise ValueError('evidence has a map, or a box with points')
    scale = points.new_tensor(sample.scale_factor)
    pixels = points * points.new_tensor([width, height]) / scale
    return dict(
        box=to_numpy(box.float()),
        points=to_numpy(pixels),
        shares=to_numpy(shares),
    )
