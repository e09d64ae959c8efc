"""CANDID-PTX: relative run lengths, a row per mask piece."""

from collections.abc import Iterator

from fx_mm.preparation.raw_dataset import MaskPiece, RawImage, raw_dataset
from fx_mm.preparation.raw_folder import RawFolder
from fx_mm.preparation.run_length import EMPTY, RunLength


@raw_dataset(
    'candid_ptx',
    classes=('Pneumothorax',),
    holds='Pneumothorax_reports.csv and dataset/ with the DICOM files',
    split_ratios=dict(train=0.7, val=0.1, test=0.2),
    box_per='piece',
    official_counts=dict(images=19237, Pneumothorax=3196),
    options=dict(order='column'),
)
def read_candid_ptx(
    folder: RawFolder, order: str = 'column'
) -> Iterator[RawImage]:
    """Read the table.

    Args:
        folder (RawFolder): CANDID-PTX.
        order (str): See :class:`RunLength`. Defaults to 'column', as
            published readers of these codes do.
    """
    table = folder.open_table(folder.find('Pneumothorax_reports.csv'))
    # file names before the images were made anonymous: patient_..., optional
    named = ['filename'] if 'filename' in table else []
    pieces: dict[str, list[MaskPiece]] = {}
    patients: dict[str, set[str]] = {}
    for where, (image, code, *names) in table.rows(
        'SOPInstanceUID', 'EncodedPixels', *named
    ):
        known = pieces.setdefault(image, [])
        patient = names[0].split('_')[0] if names else ''
        patients.setdefault(image, set()).add(patient or image)
        if code not in EMPTY:
            known.append(
                RunLength(code, relative=True, order=order, where=where)
            )
    shared = {image for image, ids in patients.items() if len(ids) > 1}
    folder.skipped.add(
        len(shared), 'images that the table gives to several patients'
    )
    # the files' names have no suffix, but copies may have one
    files = folder.find_dicoms('dataset', '.dcm', '')
    for image, mask in pieces.items():
        if image in shared:
            continue
        yield RawImage(
            f'{image}.png',
            files.get(image, folder.root / 'dataset' / image),
            patients[image].pop(),
            labels=dict(Pneumothorax=int(bool(mask))),
            masks=dict(Pneumothorax=mask),
        )
