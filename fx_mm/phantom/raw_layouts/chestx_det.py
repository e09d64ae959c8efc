"""ChestX-Det."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from fx_mm.phantom.class_meanings import means
from fx_mm.phantom.mask_encoding import outline
from fx_mm.phantom.raw_cases import RawCase
from fx_mm.phantom.raw_image_files import save_image
from fx_mm.phantom.raw_layout import raw_layout
from fx_mm.phantom.raw_text_files import write_lines
from fx_mm.preparation.raw.chestx_det import CLASSES


@raw_layout('chestx_det', hospital='c', splits=('train', 'test'))
def write_chestx_det(root: Path, cases: list[RawCase]) -> None:
    """Write polygon and bounding box for each class of each instance."""
    entries: dict[str, list[dict[str, Any]]] = dict(train=[], test=[])
    for case in cases:
        name = f'{36000 + case.number}.png'
        save_image(root / f'{case.split}_data' / name, case.phantom.image)
        symptoms, boxes, polygons = [], [], []
        for (finding, _), mask in zip(
            case.phantom.boxes, case.phantom.instances
        ):
            polygon = outline(mask)
            low, high = np.min(polygon, axis=0), np.max(polygon, axis=0)
            for class_name in CLASSES:
                if means(class_name, {finding}):
                    symptoms.append(class_name)
                    boxes.append([*low.tolist(), *high.tolist()])
                    polygons.append(polygon)
        entries[case.split].append(
            dict(file_name=name, syms=symptoms, boxes=boxes, polygons=polygons)
        )
    for split, content in entries.items():
        write_lines(root / f'ChestX_Det_{split}.json', [json.dumps(content)])
