"""TBX11K."""

import json
from pathlib import Path
from typing import Any

from fx_mm.phantom.raw_cases import RawCase, corner_and_size
from fx_mm.phantom.raw_image_files import save_image
from fx_mm.phantom.raw_layout import raw_layout
from fx_mm.phantom.raw_text_files import write_lines


@raw_layout('tbx11k', hospital='a', splits=('train', 'val'), unlabelled=2)
def write_tbx11k(root: Path, cases: list[RawCase]) -> None:
    """Write COCO files of three kinds of tuberculosis; test has no labels."""
    kinds = dict(Consolidation=1, Nodule=2, Mass=3)
    files: dict[str, tuple[list[Any], list[Any]]] = dict(
        train=([], []), val=([], [])
    )
    for case in cases:
        found = [pair for pair in case.phantom.boxes if pair[0] in kinds]
        folder = 'tb' if found else 'sick' if case.findings else 'health'
        if case.split == 'unlabelled':
            folder = 'test'
        name = f'{folder}/{folder[0]}{case.number:04d}.png'
        save_image(root / 'imgs' / name, case.phantom.image, 'RGB')
        if case.split == 'unlabelled':
            continue
        images, annotations = files[case.split]
        height, width = case.phantom.image.shape
        size = dict(width=width, height=height)
        images.append(dict(id=case.number, file_name=name, **size))
        for finding, box in found:
            x, y, w, h = map(float, corner_and_size(box))
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=case.number,
                    category_id=kinds[finding],
                    iscrowd=0,
                    area=int(w * h),
                    bbox=[x, y, w, h],
                    **size,
                )
            )
    names = ('Active', 'ObsoletePulmonary', 'Pulmonary')
    categories = [
        dict(
            id=number,
            name=f'{name}Tuberculosis',
            supercategory='Tuberculosis',
        )
        for number, name in enumerate(names, start=1)
    ]
    for split, (images, annotations) in files.items():
        content = dict(
            categories=categories, images=images, annotations=annotations
        )
        write_lines(
            root / f'annotations/json/TBX11K_{split}.json',
            [json.dumps(content)],
        )
