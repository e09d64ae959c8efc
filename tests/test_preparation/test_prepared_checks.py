"""The check finds what is wrong, and nothing where all is well."""

import json
import re

import cv2
import numpy as np
import pytest
from rich.console import Console

from fx_mm.preparation import check_prepared, prepare
from fx_mm.utils.errors import UserError


def run(toy, **arguments):
    return prepare(toy.config, toy.data, workers=1, **arguments)


def check(toy):
    return check_prepared(toy.config, toy.data, workers=1)


def text_of(table):
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_all_is_well_without_any_finding(toy):
    for number in range(12):
        toy.add(number, labels=dict(Nodule=0, Effusion=0), boxes=[], masks={})
    run(toy)
    report = check(toy)
    assert not report.problems and not report.notes
    assert report.sheet.exists()


def test_values_of_transforms_play_no_part(toy):
    toy.fill(12)
    reader = "reader=dict(type='CocoReader')"
    toy.configure(**{reader: f'flip_prob=0.5, {reader}'})
    run(toy)
    assert not check(toy).problems


def test_all_is_well(toy):
    toy.fill(24)
    toy.register(
        split_ratios=dict(train=0.4, val=0.3, test=0.3),
        official_counts=dict(images=24, Nodule=8, Lung=99, boxes=8),
    )
    content = run(toy)
    report = check(toy)
    assert not report.problems
    assert report.notes == ['Lung: the official dataset has 99, this one 24']
    assert report.lines() == [f'Note: {report.notes[0]}.']
    counts = text_of(report.counts)
    for words in ('Nodule', 'Effusion', 'Lung', '(boxes)', '99'):
        assert words in counts
    train = content['counts']['labels']['train']['images']
    assert f' {train} ' in counts
    sheet = cv2.imread(str(report.sheet))
    # four rows of six tiles, coloured boxes and contours
    assert sheet.shape[1] == 10 + 6 * (256 + 10)
    assert sheet.shape[0] == 26 + 4 * (256 + 10 + 6 * 15)
    assert (np.ptp(sheet.astype(int), axis=2) > 60).sum() > 5000


def damage_image(toy):
    path = toy.prepared / 'images/003.png'
    path.write_bytes(path.read_bytes()[:-30])


def resize_image(toy):
    path = toy.prepared / 'images/003.png'
    cv2.imwrite(str(path), np.zeros((15, 20), np.uint8))


def empty_mask(toy):
    path = toy.prepared / 'masks/toy/003.png'
    cv2.imwrite(str(path), np.zeros((30, 40), np.uint8))


def drop_mask(toy):
    (toy.prepared / 'masks/toy/003.png').unlink()


def drop_table(toy):
    (toy.prepared / 'val.json').unlink()


def move_boxes(toy):
    path = toy.prepared / 'train.json'
    content = json.loads(path.read_text())
    for entry in content['annotations']:
        entry['bbox'][0] += 34
    path.write_text(json.dumps(content))


def mix_patients(toy):
    for split in ('train', 'val'):
        path = toy.prepared / f'{split}_masks.csv'
        lines = path.read_text().split('\n')
        cells = lines[1].split(',')
        lines[1] = ','.join([cells[0], 'c99', *cells[2:]])
        path.write_text('\n'.join(lines))


@pytest.mark.parametrize(
    ('harm', 'expected'),
    [
        (
            damage_image,
            r'images cannot be read: 1 \(.*images/003.png: the PNG',
        ),
        (resize_image, 'images are of another size than their boxes'),
        (resize_image, 'masks are of another size than their image: 2'),
        (empty_mask, r'masks of Nodule are empty: 1 \(003.png\)'),
        (empty_mask, r'masks of Lung are empty: 1 \(003.png\)'),
        (drop_mask, r'masks cannot be read: 1 \('),
        (drop_table, r'tables are missing: 1 \(prepared/val.json\)'),
        (move_boxes, 'boxes of Nodule reach out of their image'),
        (move_boxes, r'tables were changed: 1 \(prepared/train.json\)'),
        (mix_patients, r'patients are in several splits of labels: 1 \(c99\)'),
    ],
)
def test_harm_is_found(toy, harm, expected):
    toy.fill(24)
    run(toy)
    harm(toy)
    lines = '\n'.join(check(toy).lines())
    assert re.search(f'WRONG: .*{expected}', lines), lines


def test_labels_without_boxes(toy):
    toy.fill(24)
    for entry in toy.images[:4]:  # 000 and 003 have a nodule
        entry.boxes = []
    run(toy)
    assert check(toy).problems == {
        'Nodule has a label but no box': ['000.png', '003.png'],
        'Nodule has a mask but no box': ['000.png', '003.png'],
    }


def test_boxes_without_labels(toy):
    toy.fill(24)
    toy.images[3].labels['Nodule'] = 0
    toy.images[6].labels['Nodule'] = -1  # may be
    toy.images[9].labels['Nodule'] = None
    run(toy)
    assert check(toy).problems == {
        'Nodule has a box but no label': ['003.png'],
        'Nodule has a mask but no label': ['003.png'],
    }


def test_where_boxes_are_for_some_findings_only(toy):
    toy.fill(24)
    toy.images[3].boxes = []
    ratios = dict(train=0.4, val=0.3, test=0.3)
    toy.register(split_ratios=ratios, box_split_ratios=ratios)
    run(toy)
    report = check(toy)
    assert not report.problems
    assert 'Nodule has a label but no box: 1 of 8 images' in report.notes


def test_few_mistakes_of_official_files_are_a_note(toy):
    toy.fill(330)
    toy.images[3].boxes = []
    run(toy)
    report = check(toy)
    assert not report.problems
    assert 'Nodule has a mask but no box: 1 of 110 images' in report.notes


def test_what_is_not_prepared(toy):
    with pytest.raises(UserError, match='toy is not prepared: .*no manifest'):
        check(toy)


def test_a_config_that_changed_since(toy):
    toy.fill(12)
    run(toy)
    toy.configure(**{"('Nodule', 'Lung')": "('Lung', 'Nodule')"})
    with pytest.raises(
        UserError, match='prepared with masks.classes=.* instead'
    ):
        check(toy)
