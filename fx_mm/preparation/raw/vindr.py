"""What the datasets made of VinDr-CXR share: labels, images, test set."""

from collections.abc import Iterable
from pathlib import Path

from fx_mm.preparation.raw.folders import find, find_images, find_optional
from fx_mm.preparation.raw.tables import Table
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
GLOBAL = (
    'COPD', 'Lung tumor', 'Pneumonia', 'Tuberculosis', 'Other diseases',
    'No finding',
)  # fmt: skip
RARE = (
    'Clavicle fracture', 'Edema', 'Emphysema', 'Enlarged PA', 'Lung cavity',
    'Lung cyst', 'Mediastinal shift', 'Rib fracture',
)  # fmt: skip
"""Findings that are none of the Kaggle challenge's fourteen."""
_SPELLINGS = {
    'other disease': 'Other diseases',
    'other disease(s)': 'Other diseases',
    'interstitial lung disease': 'ILD',
    'interstitial lung disease (ild)': 'ILD',
    'chronic obstructive pulmonary disease': 'COPD',
    **{name.lower(): name for name in LOCAL + GLOBAL},
}


def find_label(text: str, where: str) -> str:
    """Give a label in one spelling; the files differ in it.

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


def list_images(root: Path, split: str, images: Iterable[str]) -> dict:
    """Give the file of each image.

    Args:
        root (Path): Folder of the release.
        split (str): Folder of the images, ``train`` or ``test``.
        images (Iterable[str]): Their names.

    Returns:
        dict[str, Path]: Name to path, whether it exists or not.
    """
    folder = root / split
    found = find_images(folder, '.dicom', '.dcm')
    return {i: found.get(i, folder / f'{i}.dicom') for i in images}


def list_test_images(root: Path) -> set:
    """Give the names of the official test images.

    Raises:
        UserError: If neither a table nor a folder of them is there.
    """
    images = set(find_images(root / 'test', '.dicom', '.dcm'))
    tables = [
        f'{folder}/{name}_test.csv'
        for name in ('image_labels', 'annotations')
        for folder in ('annotations', '.')
    ]
    if not images or find_optional(root, *tables):
        path = find(root, *tables, holds=HOLDS)
        images = {image for _, (image,) in Table(path).rows('image_id')}
    return images
