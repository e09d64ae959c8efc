"""Pictures of what findings rest on."""

import re
from pathlib import Path
from typing import Any

import torch.nn.functional as F

from fx_mm.apis.image_sources import ImageSource
from fx_mm.apis.inference import FoundationXInferencer
from fx_mm.datasets.image_pipeline import sample_meta
from fx_mm.datasets.transforms.formatting import META_KEYS
from fx_mm.models.branches.evidence import Evidence
from fx_mm.structures import FXDataSample
from fx_mm.visualization.explanation import draw_finding
from fx_mm.visualization.results import SCORE_THR
from fx_mm.visualization.tiles import save_picture, to_numpy


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
    prediction = infer.pipeline(source)
    image = prediction.result.image
    if image is None:
        return []
    files = []
    for task in infer.tasks:
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
            name = re.sub(r'\W+', '_', f'{task.name}_{number:02d}_{label}')
            files.append(save_picture(picture, Path(folder, f'{name}.png')))
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
