"""Lungs and heart of VinDr-CXR by CheXmask: absolute run lengths by rows."""

from collections.abc import Iterator

from fx_mm.preparation import vindr
from fx_mm.preparation.raw_dataset import RawImage, raw_dataset
from fx_mm.preparation.raw_folder import RawFolder
from fx_mm.preparation.run_length import EMPTY, RunLength
from fx_mm.utils.errors import UserError

CLASSES = ('Heart', 'Left lung', 'Right lung')
COLUMNS = ('Heart', 'Left Lung', 'Right Lung')
LONGEST_SIDE = 2**15
"""Pixels that no X-ray has along a side."""


@raw_dataset(
    'vindr_organs',
    classes=CLASSES,
    holds=f'OriginalResolution/VinDr-CXR.csv of CheXmask, {vindr.HOLDS}',
    val_ratio=0.1,
    box_per='class',
    official_counts=dict(images=18000, test=3000),
    options=dict(min_dice=0.0),
)
def read_vindr_organs(
    folder: RawFolder, min_dice: float = 0.0
) -> Iterator[RawImage]:
    """Read the organs.

    Args:
        folder (RawFolder): VinDr-CXR, with CheXmask's file in it.
        min_dice (float): Estimated Dice (its mean by reverse classification
            accuracy) that an image's masks have at least; CheXmask advises
            0.7. Defaults to 0.
    """
    path = folder.find(
        'OriginalResolution/VinDr-CXR.csv',
        'VinDr-CXR.csv',
        '**/OriginalResolution/VinDr-CXR.csv',
    )
    table = folder.open_table(path)
    organs: dict[str, dict[str, list[RunLength]]] = {}
    doubtful = 0
    for where, (image, dice, height, width, *codes) in table.rows(
        'image_id', 'Dice RCA (Mean)', 'Height', 'Width', *COLUMNS
    ):
        try:
            size = int(float(height)), int(float(width))
            estimate = float(dice)
            usable = min(size) > 0 and max(size) < LONGEST_SIDE
        except (ValueError, OverflowError):
            usable = False
        if not usable:
            raise UserError(
                f'{where}: Height "{height}", Width "{width}" or Dice RCA '
                f'(Mean) "{dice}" cannot be; is the file whole?'
            )
        if estimate < min_dice:
            doubtful += 1
            continue
        organs[image] = {
            name: [RunLength(code, order='row', size=size, where=where)]
            if code not in EMPTY
            else []
            for name, code in zip(CLASSES, codes)
        }
    folder.skipped.add(
        doubtful, f'images with an estimated Dice below {min_dice}'
    )
    tested = vindr.list_test_images(folder)
    for split, images in (
        ('train', [image for image in organs if image not in tested]),
        ('test', [image for image in organs if image in tested]),
    ):
        for image, source in vindr.locate_images(
            folder, split, images
        ).items():
            yield RawImage(
                f'{split}/{image}.png',
                source,
                image,
                split,
                masks=organs[image],
            )
