"""SIIM-ACR: relative run lengths down the columns, a row per mask piece."""

from collections.abc import Iterator

from fx_mm.preparation.raw_dataset import MaskPiece, RawImage, raw_dataset
from fx_mm.preparation.raw_folder import RawFolder
from fx_mm.preparation.run_length import EMPTY, RunLength


@raw_dataset(
    'siim_acr',
    classes=('Pneumothorax',),
    holds='train-rle.csv (or stage_2_train.csv) and the DICOM files',
    split_ratios=dict(train=0.8, val=0.1, test=0.1),
    box_per='piece',
    official_counts=dict(images=12047, Pneumothorax=2669),
)
def read_siim_acr(folder: RawFolder) -> Iterator[RawImage]:
    """Read the table; the DICOM files may lie anywhere."""
    path = folder.find(
        'stage_2_train.csv',
        'train-rle.csv',
        '*/stage_2_train.csv',
        '*/train-rle.csv',
    )
    pieces: dict[str, list[MaskPiece]] = {}
    for where, (image, code) in folder.open_table(path).rows(
        'ImageId', 'EncodedPixels'
    ):
        known = pieces.setdefault(image, [])
        if code not in EMPTY:
            known.append(RunLength(code, relative=True, where=where))
    files = folder.find_dicoms('.', '.dcm')
    folder.skipped.add(
        len(files.keys() - pieces), f'images without a row in {path.name}'
    )
    for image, mask in pieces.items():
        yield RawImage(
            f'{image}.png',
            files.get(image, folder.root / f'{image}.dcm'),
            image,
            labels=dict(Pneumothorax=int(bool(mask))),
            masks=dict(Pneumothorax=mask),
        )
