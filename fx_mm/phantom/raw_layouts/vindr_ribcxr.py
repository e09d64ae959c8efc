"""VinDr-RibCXR."""

import json
from pathlib import Path
from typing import Any

from fx_mm.phantom.mask_encoding import outline
from fx_mm.phantom.raw_cases import RawCase
from fx_mm.phantom.raw_image_files import save_image
from fx_mm.phantom.raw_layout import raw_layout
from fx_mm.phantom.raw_text_files import write_lines
from fx_mm.preparation.raw.vindr_ribcxr import CLASSES


@raw_layout(
    'vindr_ribcxr',
    hospital='a',
    splits=('train', 'test'),
    tall=True,
    bones=True,
)
def write_vindr_ribcxr(root: Path, cases: list[RawCase]) -> None:
    """Write polygons of 20 ribs: rib to image number to points or "None"."""
    official = dict(train='train', test='val')
    tables: dict[str, dict[str, dict[str, Any]]] = {
        split: {name: {} for name in ('img', *CLASSES)}
        for split in official.values()
    }
    for case in cases:
        split = official[case.split]
        table = tables[split]
        number = str(len(table['img']))
        name = f'{split}/img/VinDr_RibCXR_{split}_{int(number):03d}.png'
        save_image(root / 'Data' / name, case.phantom.image)
        table['img'][number] = f'data/{name}'
        for rib in CLASSES:
            table[rib][number] = 'None'
            if rib in case.phantom.bones:
                corners = outline(case.phantom.bones[rib])
                table[rib][number] = [dict(x=x, y=y) for x, y in corners]
    for split, table in tables.items():
        write_lines(
            root / f'Annotations/Vindr_RibCXR_{split}_mask.json',
            [json.dumps(table)],
        )
