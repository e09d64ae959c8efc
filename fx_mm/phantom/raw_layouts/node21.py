"""NODE21."""

from pathlib import Path

from fx_mm.phantom.raw_cases import RawCase, corner_and_size
from fx_mm.phantom.raw_image_files import save_meta_image
from fx_mm.phantom.raw_layout import raw_layout
from fx_mm.phantom.raw_text_files import write_table


@raw_layout('node21', hospital='c', focus='Nodule')
def write_node21(root: Path, cases: list[RawCase]) -> None:
    """Write MetaImage files: n0001.mha with, c0001.mha without nodules."""
    folder = root / 'cxr_images/proccessed_data'
    rows = []
    counts = dict(n=0, c=0)
    for case in cases:
        boxes = [
            corner_and_size(box)
            for finding, box in case.phantom.boxes
            if finding == 'Nodule'
        ]
        letter = 'n' if boxes else 'c'
        counts[letter] += 1
        name = f'{letter}{counts[letter]:04d}.mha'
        save_meta_image(
            folder / 'images' / name,
            case.phantom.image,
            compress=case.number % 2 == 0,
        )
        for x, y, width, height in boxes or [[0, 0, 0, 0]]:
            rows.append([height, name, int(bool(boxes)), width, x, y])
    write_table(
        folder / 'metadata.csv',
        ['', 'height', 'img_name', 'label', 'width', 'x', 'y'],
        [[index, *row] for index, row in enumerate(rows)],
    )
