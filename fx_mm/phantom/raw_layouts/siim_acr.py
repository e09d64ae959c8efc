"""SIIM-ACR Pneumothorax Segmentation."""

from pathlib import Path

from fx_mm.phantom.mask_encoding import encode_runs
from fx_mm.phantom.raw_cases import RawCase
from fx_mm.phantom.raw_image_files import dicom_metadata, save_dicom, sop_uid
from fx_mm.phantom.raw_layout import raw_layout
from fx_mm.phantom.raw_text_files import write_table


@raw_layout('siim_acr', hospital='b', focus='Pneumothorax', unlabelled=1)
def write_siim_acr(root: Path, cases: list[RawCase]) -> None:
    """Write JPEG-compressed DICOM; relative run lengths down the columns."""
    rows = []
    for case in cases:
        name = sop_uid(case)
        save_dicom(
            root / f'dicom-images-train/{name}.1/{name}.2/{name}.dcm',
            case.phantom.image,
            name,
            dicom_metadata(case),
            codec='jpeg',
        )
        if case.split == 'unlabelled':
            continue
        pieces = case.mask_pieces('Pneumothorax')
        codes = [encode_runs(piece, True, True) for piece in pieces]
        rows += [[name, code] for code in codes or ['-1']]
    write_table(root / 'train-rle.csv', ['ImageId', ' EncodedPixels'], rows)
