"""What the full audit says of images, labels, boxes and masks."""

import json

import cv2
import numpy as np
import pytest

from fx_mm.audit import audit
from fx_mm.audit.labels import find_shifts
from fx_mm.image_io.xray import read_xray


@pytest.fixture
def run(data, tmp_path):
    """Audit the data; give findings by check."""

    def call(**keys):
        content = audit(data.cfg(), tmp_path / 'out', workers=1, **keys)
        found: dict = {}
        for finding in content['findings']:
            found.setdefault(finding['check'], []).append(finding)
        return found

    return call


def checks(found):
    quiet = ('no-split', 'unknown-patients', 'no-positives', 'no-negatives')
    return sorted(check for check in found if check not in quiet)


def test_nothing_in_masks_and_boxes(data, run, phantoms, make_rows):
    data.cls('one', train=make_rows(phantoms[:2], 'a'))
    data.loc('one', train=[('a0.png', 256, []), ('a1.png', 256, [])])
    data.seg('one', train=[('a0.png', [None] * 2), ('a1.png', [None] * 2)])
    found = run()
    assert checks(found) == ['label-without-box', 'label-without-mask']


def test_clean_data_and_the_report(clean, tmp_path):
    content = audit(clean.cfg(), tmp_path / 'out', workers=1)
    assert content['ok']
    assert content['findings'] == []
    assert content == json.loads((tmp_path / 'out/audit.json').read_text())
    assert content['schema'] == 2
    lines = (tmp_path / 'out/audit.json').read_text().splitlines()
    assert sum('"mapping": "as stored"' in line for line in lines) == 30
    path = str(clean.home('one') / 'images' / 'a0.png')
    assert content['images'][path] == read_xray(path, decisions=True)[1]
    assert content['scanned'] == dict(images=30, masks=0)
    table = content['tasks']['one/cls']['train']
    assert (table['images'], table['patients']) == (9, 5)
    assert table['classes']['A'] == dict(
        positive=4, negative=5, unknown=0, prevalence=pytest.approx(4 / 9)
    )
    assert table['together'] == [[4, 0], [0, 5]]
    assert {p.name for p in (tmp_path / 'out').glob('*.png')} == {
        'prevalence.png',
        'co-occurrence.png',
    }


def test_copies_between_splits_and_datasets(clean, run, phantoms, tmp_path):
    small = cv2.resize(phantoms[1], (200, 200), interpolation=cv2.INTER_AREA)
    clean.cls(
        'three',
        patients=True,
        train=[('t.png', phantoms[29][2:, 2:], 'A', 1, 0)],
        val=[('v.png', phantoms[1], 'B', 0, 1)],
        test=[('w.png', small, 'C', 1, 0), ('x.png', phantoms[15], 'D', 0, 1)],
    )
    found = run()
    same = {f['name']: f for f in found['same-content']}
    assert set(same) == {
        'same-content:one/train:three/val',
        'same-content:three/test:two/train',
    }
    near = {f['name']: f['level'] for f in found['near-duplicates']}
    assert near == {
        'near-duplicates:one/train:three/test': 'leak',
        'near-duplicates:three/val:three/test': 'leak',
        'near-duplicates:three/train:two/test': 'leak',
    }
    sheet = cv2.imread(str(tmp_path / 'out/duplicates.png'))
    assert sheet.shape[1] > 6 * 224
    # and without reading the images nobody knows
    assert checks(run(quick=True)) == []


def test_copies_within_a_split(data, run, phantoms, make_rows):
    images = [*phantoms[:5], phantoms[0]]
    data.cls('one', train=make_rows(images, 'a'))
    (finding,) = run()['same-content']
    assert finding['name'] == 'same-content:one/train:one/train'
    assert finding['level'] == 'warning'


def test_odd_images(data, run, phantoms, make_rows, make_noise, tmp_path):
    black = make_noise((256, 256)) // 8 * 8
    black[:245] = 0
    white = 255 - make_noise((256, 256), 1) // 8 * 8
    white[:245] = 255
    odd = [
        ('cut.png', cv2.imencode('.png', phantoms[9])[1].tobytes()[:2000]),
        ('text.png', b'no image'),
        ('flat.png', np.full((256, 256), 7, np.uint8)),
        ('tiny.png', make_noise((20, 30))),
        ('long.png', make_noise((100, 300))),
        ('black.png', black),
        ('white.png', white),
    ]
    data.cls(
        'one',
        train=[*make_rows(phantoms[:9], 'a'), *((*o, 1, 0) for o in odd)],
    )
    found = run()
    names = {
        check: [
            e.split('/')[-1].split(':')[0] for e in found[check][0]['examples']
        ]
        for check in checks(found)
    }
    assert names == {
        'unreadable-images': ['cut.png', 'text.png'],
        'flat-images': ['flat.png'],
        'tiny-images': ['tiny.png'],
        'long-images': ['long.png'],
        'black-images': ['black.png'],
        'white-images': ['white.png'],
    }
    examples = found['unreadable-images'][0]['examples']
    assert 'the PNG is cut off' in examples[0]
    assert (tmp_path / 'out/odd_images.png').exists()


def test_warnings_of_reading_are_summed_up(data, run, phantoms, monkeypatch):
    def read(path, decisions=False):
        image, made = read_xray(path, decisions=True)
        number = int(path.split('/a')[-1][:-4])
        warned = [f'The window {number}.5 fits no pixel.'] * (number < 3)
        warned += ['The tag is empty.'] * (number == 2)
        made = dict(made, warnings=warned)
        return (image, made) if decisions else image

    monkeypatch.setattr('fx_mm.audit.scan.read_xray', read)
    data.cls('one', train=[(f'a{i}.png', phantoms[i], 1, 0) for i in range(5)])
    (finding,) = run()['reading-warnings']
    assert finding['name'] == 'reading-warnings:one/train'
    assert finding['message'] == (
        '3 of 5 images of one/train were read with a warning: 3 x "The window '
        '0.5 fits no pixel."; 1 x "The tag is empty.".'
    )
    assert finding['examples'][2].endswith(
        'a2.png: The window 2.5 fits no pixel. The tag is empty.'
    )


def test_unreadable_images_stop_an_evaluation(data, run, phantoms, make_rows):
    for split, images in (('train', phantoms[:2]), ('test', phantoms[2:4])):
        good = make_rows(images, split)
        data.cls('one', **{split: [*good, (f'{split}_.png', b'x', 1, 0)]})
    levels = {f['name']: f['level'] for f in run()['unreadable-images']}
    assert levels == {
        'unreadable-images:one/train': 'warning',
        'unreadable-images:one/test': 'error',
    }


def test_negatives(data, run, make_rows):
    from fx_mm.phantom.render import render_phantom

    images = [
        render_phantom(0, 'a', 'train', i, 0.0, 128).image for i in range(48)
    ]
    images[3] = 255 - images[3]
    dark = [255 - image for image in images[24:]]
    data.cls('one', train=make_rows(images[:24], 'a'))
    data.cls('two', train=make_rows(dark, 'b'))
    found = run()
    (finding,) = found['inverted-images']
    assert finding['count'] == 1 and '/a3.png' in finding['examples'][0]
    places = [f['places'] for f in found['inverted-dataset']]
    assert sorted(places) == [['one'], ['two']]


def test_boxes(data, run, phantoms, make_rows):
    data.cls('one', train=make_rows(phantoms[:1], 'a'), classes=('A', 'B'))
    boxes = [
        ('A', 10, 10, 50, 50),
        ('A', 11, 10, 50, 50),
        ('B', 10, 10, 50, 50),
        ('A', 0, 0, 256, 256),
        ('A', 9, 9, 1, 1),
        ('A', 200, 9, 80, 10),
        ('A', 9, 9, 0, 10),
        ('A', 300, 9, 10, 10),
    ]
    data.loc('one', train=[('a0.png', 256, boxes)])
    found = run()
    # The reader stops at the first; the audit tells of each.
    assert 'has no area' in found['unread-split'][0]['message']
    counts = {c: found[c][0]['count'] for c in found if c.startswith('boxes')}
    assert counts == {
        'boxes-twice': 1,
        'boxes-huge': 1,
        'boxes-tiny': 1,
        'boxes-cut': 1,
        'boxes-empty': 1,
        'boxes-outside': 1,
    }


def test_boxes_of_another_scale(data, run, phantoms, make_rows):
    data.cls('one', train=make_rows(phantoms[:1], 'a'))
    data.loc('one', train=[('a0.png', 1024, [('B', 500, 500, 90, 90)])])
    (finding,) = run()['boxes-scale']
    assert finding['level'] == 'error'
    assert 'boxes for 1024x1024, image has 256x256' in finding['examples'][0]


def test_boxes_and_labels_disagree(data, run, phantoms):
    rows = [
        (f'{i}.png', phantoms[i], *labels)
        for i, labels in enumerate([(1, 0), (1, 0), (0, 1), ('', 0)])
    ]
    data.cls('one', train=rows)
    box = (9, 9, 40, 40)
    data.loc(
        'one',
        classes=('b', 'a'),
        train=[
            ('0.png', 256, [('a', *box)]),
            ('1.png', 256, []),
            ('2.png', 256, [('a', *box), ('b', *box)]),
            ('3.png', 256, [('a', *box)]),
        ],
    )
    found = run()
    assert found['label-without-box'][0]['examples'] == ['1.png: A']
    assert found['box-without-label'][0]['examples'] == ['2.png: A']


def test_masks(data, run, phantoms, make_rows, tmp_path):
    data.cls('one', train=make_rows(phantoms[:4], 'a'))
    part = np.zeros((256, 256), np.uint8)
    part[50:90, 50:90] = 255
    data.seg(
        'one',
        train=[
            ('a0.png', [None, part]),
            ('a1.png', [np.zeros_like(part), None]),
            ('a2.png', [None, np.full_like(part, 255)]),
            ('a3.png', [part[:128, :128], None]),
        ],
    )
    (data.home('one') / 'masks/B_a0.png').write_bytes(b'x')
    found = run()
    content = json.loads((tmp_path / 'out/audit.json').read_text())
    read = {each['file'].split('/')[-1]: each for each in content['masks']}
    assert read['A_a3.png'] == dict(
        file=str(data.home('one') / 'masks/A_a3.png'),
        classes=['A'],
        format='PNG',
        mask_format='binary',
        values=[0, 255],
        orientation=1,
        warnings=[],
    )
    assert 'error' in read['B_a0.png']
    examples = {c: found[c][0]['examples'] for c in checks(found)}
    assert examples['masks-unreadable'][0].startswith('a0.png: B')
    assert examples['masks-empty'] == ['a1.png: A']
    assert examples['masks-full'] == ['a2.png: B']
    assert examples['masks-size'] == ['a3.png: A: 128x128, 256x256']
    assert len(examples) == 4


def test_missing_masks_hide_no_other(data, run, phantoms, make_rows):
    data.cls('one', train=make_rows(phantoms[:3], 'a'))
    part = np.zeros((256, 256), np.uint8)
    part[50:90, 50:90] = 255
    data.seg(
        'one',
        train=[
            ('a0.png', [None, part]),
            ('a1.png', [np.zeros_like(part), part]),
            ('a2.png', [part, None]),
        ],
    )
    for name in ('B_a0.png', 'B_a1.png'):
        (data.home('one') / 'masks' / name).unlink()
    found = run()
    assert 'unread-split' not in found
    assert found['masks-unreadable'][0]['examples'] == [
        'a0.png: B: No such file or directory',
        'a1.png: B: No such file or directory',
    ]
    assert found['masks-empty'][0]['examples'] == ['a1.png: A']


def test_bits_of_a_mask_file(data, run, phantoms, make_rows):
    data.cls('one', train=make_rows(phantoms[:1], 'a'))
    mask = np.zeros((256, 256), np.uint16)
    mask[:50, :50] = 0b10
    data.seg('one', train=[('a0.png', [mask, mask])])
    table = data.home('one') / 'train_masks.csv'
    table.write_text('image,A,B\na0.png,masks/A_a0.png#0,masks/B_a0.png#1\n')
    assert run()['masks-empty'][0]['examples'] == ['a0.png: A']


def label_maps(data, **files):
    """Put a table with one column for all classes in the place of the CSV."""
    for name, content in files.items():
        cv2.imwrite(str(data.home('one') / f'{name}.png'), content)
    rows = [[f'a{i}.png', f'{name}.png'] for i, name in enumerate(files)]
    data.table('one', 'train_masks.csv', ['image', 'mask'], rows)


def test_label_maps_that_fit_and_one_that_does_not(
    data, run, phantoms, make_rows
):
    data.cls('one', train=make_rows(phantoms[:3], 'a'))
    values = np.zeros((256, 256), np.uint8)
    values[50:90, 50:90], values[99] = 1, 255
    other = np.full_like(values, 3)
    label_maps(data, first=values, second=values, third=other)
    data.add('one', 'seg', ('A', 'B'), 'MaskReader', '_masks.csv')
    reader = data.datasets['one']['tasks']['seg']['reader']
    reader['mask_format'] = 'label_map'
    found = run()
    assert checks(found) == ['masks-absent', 'masks-unreadable']
    (finding,) = found['masks-absent']
    assert (
        finding['examples'] == ['B'] and ' 2 label maps' in finding['message']
    )
    (finding,) = found['masks-unreadable']
    assert finding['examples'][0].startswith('a2.png: A: holds the values 3')


def test_255_that_means_two_things(data, run, phantoms, make_rows):
    data.cls('one', train=make_rows(phantoms[:3], 'a'))
    part = np.zeros((256, 256), np.uint8)
    part[50:90, 50:90] = 1
    held = part.copy()
    held[100:120] = 255
    masks = [held, part * 255, part]
    data.seg(
        'one',
        classes=('A',),
        train=[(f'a{i}.png', [mask]) for i, mask in enumerate(masks)],
    )
    (finding,) = run()['masks-mixed']
    assert finding['level'] == 'error' and finding['examples'] == ['a0.png']
    reader = data.datasets['one']['tasks']['seg']['reader']
    reader['mask_format'] = 'label_map'
    assert 'masks-mixed' not in run()


def test_labels(data, run, phantoms):
    data.cls(
        'one',
        classes=('A', 'B', 'C', 'D'),
        train=[
            (f'{i}.png', phantoms[i], ('', 0, 1)[i % 3], 0, '', 1)
            for i in range(12)
        ],
    )
    found = run()
    assert found['no-positives'][0]['examples'] == ['B']
    assert found['no-labels'][0]['examples'] == ['C']
    assert found['no-negatives'][0]['examples'] == ['D']
    assert '33.3% of the labels' in found['unknown-labels'][0]['message']


def test_columns_that_are_no_class(data, run, phantoms):
    header = ['image', 'patient', 'age', 'A', 'B', 'Edema', 'Later', 'Ap']
    data.image('one', '0.png', phantoms[0])
    row = ['0.png', '1', 1, 1, 0, 1, '', '1']
    data.table('one', 'train.csv', header, [row])
    data.add('one', 'cls', ('A', 'B'), 'CsvLabelReader', '.csv')
    reader = data.datasets['one']['tasks']['cls']['reader']
    reader['where'] = dict(Ap='1')
    assert run()['unused-classes'][0]['examples'] == ['Edema']


def test_facts_beside_masks_are_no_class(data, run, phantoms):
    data.image('one', '0.png', phantoms[0])
    header = ['image', 'patient', 'sex', 'age', 'view', 'A', 'B']
    row = ['0.png', '1', 'F', '50', 'PA', '', '']
    data.table('one', 'train_masks.csv', header, [row])
    data.add('one', 'seg', ('A',), 'MaskReader', '_masks.csv')
    found = run()
    # a column of masks may be empty in all rows
    assert found.get('unused-classes', []) == []


def test_categories_and_classes(data, run, phantoms, make_rows):
    data.cls('one', train=make_rows(phantoms[:1], 'a'))
    data.loc('one', classes=('A', 'B', 'C'), train=[('a0.png', 256, [])])
    data.datasets['one']['tasks']['loc']['classes'] = ('B', 'A', 'D')
    found = run()
    assert found['unused-classes'][0]['examples'] == ['C']
    assert found['missing-classes'][0]['examples'] == ['D']


def table(positive, negative):
    known = positive + negative
    counts = dict(
        positive=positive, negative=negative, prevalence=positive / known
    )
    return dict(classes=dict(A=counts))


def test_shifts():
    tables = dict(train=table(1000, 9000), val=table(110, 890))
    assert list(find_shifts('one/cls', tables)) == []
    tables['test'] = table(700, 300)
    (finding,) = find_shifts('one/cls', tables)
    assert finding.name == 'shifted-labels:one/cls/val:one/cls/test'
    # too few to tell
    tables['test'] = table(7, 3)
    assert list(find_shifts('one/cls', tables)) == []


@pytest.mark.parametrize('ending', ['.json.gz', '.coco', '.txt'])
def test_packed_boxes(data, run, phantoms, ending):
    """The audit reads boxes a second time: their bytes, not their suffix."""
    data.image('one', 'a0.png', phantoms[0])
    boxes = [('A', 10, 10, 20, 20), ('A', 10, 10, 20, 20)]
    data.loc('one', ('A', 'B', 'C'), train=[('a0.png', 256, boxes)])
    data.datasets['one']['tasks']['loc']['classes'] = ('A', 'B')
    data.pack('one', ending)
    found = run()
    assert 'unread-split' not in found
    assert found['boxes-twice'][0]['count'] == 1
    (unused,) = found['unused-classes']
    assert unused['examples'] == ['C']
