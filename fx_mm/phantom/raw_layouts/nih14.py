"""NIH ChestX-ray14."""

from pathlib import Path

from fx_mm.phantom.class_meanings import means
from fx_mm.phantom.raw_cases import RawCase
from fx_mm.phantom.raw_image_files import save_image
from fx_mm.phantom.raw_layout import raw_layout
from fx_mm.phantom.raw_text_files import write_lines, write_table
from fx_mm.preparation.raw.nih14 import BOX_EDGE, BOXED_CLASSES, CLASSES

PATIENTS = 38
"""Patient numbers begin above it: with these, a split by patient leaves no
split empty, even of few images."""


@raw_layout(
    'nih14',
    hospital='b',
    splits=('train', 'test'),
    # The boxes, which are split on their own, are of test images.
    ratios=dict(train=0.3, val=0.1, test=0.6),
    several_studies=True,
)
def write_nih14(root: Path, cases: list[RawCase]) -> None:
    """Write the table, the two lists and the boxes, which are of test images.

    The boxes are for images of 1024 pixels, as officially.
    """
    rows, boxes = [], []
    lists: dict[str, list[str]] = dict(train=[], test=[])
    follow_up = 0
    for previous, case in zip([None, *cases], cases):
        same = previous is not None and previous.patient == case.patient
        follow_up = follow_up + 1 if same else 0
        patient = PATIENTS + case.patient
        name = f'{patient:08d}_{follow_up:03d}.png'
        # Some of the official images have colours and opacity.
        mode = 'RGBA' if case.number % 10 == 0 else 'L'
        save_image(root / 'images' / name, case.phantom.image, mode)
        findings = {finding for finding, _ in case.phantom.boxes}
        found = [c for c in CLASSES if means(c, findings)]
        size = case.phantom.image.shape[0]
        rows.append(
            [name, '|'.join(found) or 'No Finding', follow_up, patient]
            + [case.age, case.sex, 'AP' if case.position == 'AP' else 'PA']
            + [2500, 2048, 0.168, 0.168]
        )
        lists[case.split].append(name)
        if case.split == 'train':
            continue
        scale = BOX_EDGE / size
        for class_name in BOXED_CLASSES:
            for finding, (x1, y1, x2, y2) in case.phantom.boxes:
                if means(class_name, {finding}):
                    box = [x1, y1, x2 - x1, y2 - y1]
                    label = class_name.replace('Infiltration', 'Infiltrate')
                    boxes.append([name, label, *(scale * v for v in box)])
    header = ['Image Index', 'Finding Labels', 'Follow-up #', 'Patient ID']
    header += ['Patient Age', 'Patient Gender', 'View Position']
    # Two columns each, whose names hold a comma without quotes
    header += ['OriginalImage[Width', 'Height]']
    header += ['OriginalImagePixelSpacing[x', 'y]']
    write_table(root / 'Data_Entry_2017_v2020.csv', header, rows)
    write_table(
        root / 'BBox_List_2017.csv',
        ['Image Index', 'Finding Label', 'Bbox [x', 'y', 'w', 'h]', *3 * ['']],
        boxes,
    )
    write_lines(root / 'train_val_list.txt', lists['train'])
    write_lines(root / 'test_list.txt', lists['test'])
