"""What the datasets made of VinDr-CXR share: labels, images, test set."""

from collections.abc import Iterable
from pathlib import Path

from fx_mm.preparation.raw_folder import RawFolder
from fx_mm.utils.errors import UserError

HOLDS = (
    'train/ and test/ with the DICOM files, and annotations/ with '
    'image_labels_train.csv, annotations_train.csv and the same of test'
)
LOCAL = (
    'Aortic enlargement', 'Atelectasis', 'Calcification', 'Cardiomegaly',
    'Clavicle fracture', 'Consolidation', 'Edema', 'Emphysema', 'Enlarged PA',
    'ILD', 'Infiltration', 'Lung Opacity', 'Lung cavity', 'Lung cyst',
    'Mediastinal shift', 'Nodule/Mass', 'Pleural effusion',
    'Pleural thickening', 'Pneumothorax', 'Pulmonary fibrosis',
    'Rib fracture', 'Other lesion',
)  # fmt: skip
"""Findings with boxes, in the order of the official label tables."""
GLOBAL = (
    'COPD', 'Lung tumor', 'Pneumonia', 'Tuberculosis', 'Other diseases',
    'No finding',
)  # fmt: skip
"""Labels of whole images."""
_SPELLINGS = {
    'other disease': 'Other diseases',
    'other disease(s)': 'Other diseases',
    'interstitial lung disease': 'ILD',
    'interstitial lung disease (ild)': 'ILD',
    'chronic obstructive pulmonary disease': 'COPD',
    **{name.lower(): name for name in LOCAL + GLOBAL},
}


def find_label(text: str, where: str) -> str:
    """Return a label in one spelling; the files differ in it.

    Raises:
        UserError: If VinDr-CXR has no such label.
    """
    name = _SPELLINGS.get(text.lower())
    if name is None:
        raise UserError(
            f'{where}: unknown label "{text}"; VinDr-CXR has '
            f'{", ".join(LOCAL + GLOBAL)}.'
        )
    return name


def locate_images(
    folder: RawFolder, split: str, images: Iterable[str]
) -> dict[str, Path]:
    """Return the file of each image.

    Args:
        folder (RawFolder): VinDr-CXR.
        split (str): Folder of the images, ``train`` or ``test``.
        images (Iterable[str]): Their names.

    Returns:
        dict[str, Path]: Name to path, whether it exists or not.
    """
    found = folder.find_dicoms(split, '.dicom', '.dcm')
    expected = folder.root / split
    return {i: found.get(i, expected / f'{i}.dicom') for i in images}


def list_test_images(folder: RawFolder) -> set[str]:
    """Return the names of the official test images.

    Raises:
        UserError: If neither a table nor a folder of them is there.
    """
    images = set(folder.find_dicoms('test', '.dicom', '.dcm'))
    tables = [
        f'{at}/{name}_test.csv'
        for name in ('image_labels', 'annotations')
        for at in ('annotations', '.')
    ]
    if not images or folder.find_optional(*tables):
        table = folder.open_table(folder.find(*tables))
        images = {image for _, (image,) in table.rows('image_id')}
    return images
