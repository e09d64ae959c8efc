"""CANDID-PTX."""

from pathlib import Path

from fx_mm.phantom.mask_encoding import encode_runs
from fx_mm.phantom.raw_cases import RawCase
from fx_mm.phantom.raw_image_files import dicom_metadata, save_dicom, sop_uid
from fx_mm.phantom.raw_layout import raw_layout
from fx_mm.phantom.raw_text_files import write_table


@raw_layout('candid_ptx', hospital='a', focus='Pneumothorax')
def write_candid_ptx(root: Path, cases: list[RawCase]) -> None:
    """Write DICOM; relative run lengths down the columns; reports."""
    rows = []
    for case in cases:
        name = sop_uid(case)
        save_dicom(
            root / f'dataset/{name}.dcm',
            case.phantom.image,
            name,
            dicom_metadata(case),
            bits=10 if case.number % 2 else 8,
        )
        pieces = case.mask_pieces('Pneumothorax')
        codes = [encode_runs(piece, True, True) for piece in pieces]
        text = f'Findings: {", ".join(sorted(case.findings)) or "none"}.'
        rows += [[name, code, text] for code in codes or ['-1']]
    write_table(
        root / 'Pneumothorax_reports.csv',
        ['SOPInstanceUID', 'EncodedPixels', 'Report'],
        rows,
    )
