"""ChestX-Det: a finding, a box and a polygon per instance."""

from collections.abc import Iterator
from pathlib import Path

from fx_mm.preparation.cell_values import parse_box
from fx_mm.preparation.polygons import Polygon
from fx_mm.preparation.raw_dataset import MaskPiece, RawImage, raw_dataset
from fx_mm.preparation.raw_folder import RawFolder
from fx_mm.utils.errors import UserError

CLASSES = (
    'Atelectasis', 'Calcification', 'Cardiomegaly', 'Consolidation',
    'Diffuse Nodule', 'Effusion', 'Emphysema', 'Fibrosis', 'Fracture', 'Mass',
    'Nodule', 'Pleural Thickening', 'Pneumothorax',
)  # fmt: skip


@raw_dataset(
    'chestx_det',
    classes=CLASSES,
    holds='ChestX_Det_train.json, ChestX_Det_test.json, train_data/ and '
    'test_data/',
    val_ratio=0.1,
    official_counts=dict(images=3578, test=553),
)
def read_chestx_det(folder: RawFolder) -> Iterator[RawImage]:
    """Read the two files."""
    for split in ('train', 'test'):
        path = folder.find(f'ChestX_Det_{split}.json')
        for where, (name, found, boxes, polygons) in folder.read_records(
            path, 'file_name', 'syms', 'boxes', 'polygons'
        ):
            where = f'{where} ({name})'
            unknown = sorted(set(found).difference(CLASSES))
            if unknown:
                raise UserError(
                    f'{where}: unknown finding "{unknown[0]}"; known: '
                    f'{", ".join(CLASSES)}.'
                )
            if not len(found) == len(boxes) == len(polygons):
                raise UserError(
                    f'{where}: has {len(found)} findings, {len(boxes)} boxes '
                    f'and {len(polygons)} polygons; download the file again.'
                )
            masks: dict[str, list[MaskPiece]] = {c: [] for c in CLASSES}
            for finding, points in zip(found, polygons):
                masks[finding].append(Polygon(points, where))
            yield RawImage(
                f'{split}_data/{name}',
                folder.root / f'{split}_data' / name,
                Path(name).stem,
                split,
                labels={c: int(c in found) for c in CLASSES},
                boxes=[
                    parse_box(finding, box, where)
                    for finding, box in zip(found, boxes)
                ],
                masks=masks,
            )
