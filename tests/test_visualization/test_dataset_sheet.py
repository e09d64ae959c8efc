"""What is drawn of a dataset: each kind of annotation, how it was read."""

import csv
import json

import cv2
import numpy as np

from fx_mm.tasks import Task
from fx_mm.utils.turns import take_turns
from fx_mm.visualization.dataset_sheet import (
    mask_lines,
    open_tasks,
    present_classes,
    reading_line,
)

READING = dict(
    format='PNG',
    depth=8,
    photometric='grey',
    orientation=1,
    inverted=False,
    mapping='as stored',
    range=None,
    warnings=[],
)


def test_reading_line():
    assert reading_line(READING) == 'PNG 8 bit'
    dicom = dict(
        format='DICOM',
        depth=12,
        orientation=6,
        inverted=True,
        mapping='window',
        range=[-40.0, 1200.5],
        warnings=['The window is not finite.', 'Second.'],
    )
    assert reading_line(READING | dicom) == (
        'DICOM 12 bit, window -40..1200.5, inverted, orientation 6, '
        '! The window is not finite.'
    )


def test_mask_lines(tmp_path):
    task = Task('x', 'seg', ('A', 'B'))
    assert mask_lines({}, task) == []
    assert mask_lines(dict(mask_paths=dict(A=None, B=None)), task) == []
    path = str(tmp_path / 'm.png')
    cv2.imwrite(path, np.eye(9, dtype=np.uint8) * 255)
    paths = dict(A=path, B=None)
    assert mask_lines(dict(mask_paths=paths), task) == ['masks: binary']


def test_few_boxes_among_many_labels_are_seen(tmp_path):
    """Of ChestX-ray14, 880 of 112,120 images have boxes."""
    names = [f'{n:03d}.png' for n in range(200)]
    (tmp_path / 'images').mkdir()
    for name in names:
        (tmp_path / 'images' / name).touch()
    classes = [f'C{n}' for n in range(12)]
    with (tmp_path / 'test.csv').open('w', newline='') as file:
        rows = np.eye(13, 12, dtype=int)
        csv.writer(file).writerows(
            [['image', *classes]]
            + [[name, *rows[n % 13]] for n, name in enumerate(names)]
        )
    images = [
        dict(id=n, file_name=name, width=9, height=9)
        for n, name in enumerate(names)
    ]
    box = dict(image_id=190, category_id=1, bbox=[1, 1, 3, 3])
    (tmp_path / 'test.json').write_text(
        json.dumps(
            dict(
                images=images,
                annotations=[box],
                categories=[dict(id=1, name='C0'), dict(id=2, name='C1')],
            )
        )
    )
    tasks = dict(
        cls=dict(
            classes=classes,
            reader=dict(type='CsvLabelReader'),
            splits=dict(test='test.csv'),
        ),
        loc=dict(
            classes=classes[:2],
            reader=dict(type='CocoReader'),
            splits=dict(test='test.json'),
        ),
    )
    entry = dict(data_root=f'{tmp_path}/', img_dir='images/', tasks=tasks)
    groups = present_classes(open_tasks('nih', entry, 'test'))
    assert list(groups)[-2:] == [('nih/loc', 'C1'), ('', '')]
    # nothing was found on each thirteenth
    assert len(groups['', '']) == 15
    chosen = take_turns(groups, 5)
    assert f'{tmp_path}/images/190.png' in chosen
    assert set(chosen) & set(groups['', ''])
