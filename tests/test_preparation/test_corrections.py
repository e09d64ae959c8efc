"""Predictions to annotation servers, and what was corrected back."""

import copy
import json
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from fx_mm.apis.result_files import save_result
from fx_mm.datasets.readers import CocoReader, CsvLabelReader, MaskReader
from fx_mm.datasets.transforms import LoadXrayAnnotations
from fx_mm.preparation.corrections import (
    read_coco_masks,
    read_label_studio,
    read_predictions,
    write_label_studio,
    write_tables,
)
from fx_mm.preparation.corrections.brush_rle import decode_brush, encode_brush
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError
from fx_mm.visualization.results import (
    ClsResult,
    ImageResult,
    LocResult,
    RegResult,
    SegResult,
)

PEER = Path(__file__).parents[2] / '.venv-labelstudio'
"""An environment with Label Studio's converter."""
TASKS = (
    Task('a', 'cls', ('Nodule', 'Mass', 'Effusion')),
    Task('a', 'loc', ('Nodule', 'Mass')),
    Task('b', 'seg', ('Left lung', 'Heart')),
    Task(
        'c', 'cls', ('Normal', 'Sick'), config=dict(label_type='multi-class')
    ),
    Task('d', 'reg', ('Age',)),
)
SHAPE = (40, 60)
NAMES = ('one/1.png', 'two/1.png', 'empty.png')


@pytest.fixture
def images(tmp_path):
    """Three images in folders, two of one name."""
    folder = tmp_path / 'images'
    rng = np.random.default_rng(0)
    for name in NAMES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), rng.integers(0, 255, SHAPE, np.uint8))
    return folder


@pytest.fixture
def predictions(images, tmp_path):
    """Their predictions; nothing is found on the last."""
    folder = tmp_path / 'predictions'
    rng = np.random.default_rng(1)
    for name in NAMES:
        some = name != 'empty.png'
        scores = np.array([0.9, 0.1, 0.3]) * some
        boxes = np.array([[3, 4.25, 20, 30], [30, 1, 60, 40]])[: 2 * some]
        masks = (rng.random((2, *SHAPE)) < 0.5) & some
        masks[1] = False
        cls, loc, seg, exclusive, reg = TASKS
        found = (
            ClsResult(cls, scores),
            LocResult(
                loc,
                boxes.reshape(-1, 4),
                np.array([0.8, 0.35])[: 2 * some],
                np.array([1, 0])[: 2 * some],
            ),
            SegResult(seg, masks),
            ClsResult(exclusive, np.array([0.25, 0.2])),
            RegResult(reg, np.array([60.0])),
        )
        result = ImageResult(name, str(images / name))
        result.size = SHAPE
        for prediction in found:
            result.predictions[prediction.task.name] = prediction
        stem = folder / name.removesuffix('.png')
        save_result(result, stem, 0.3, 'x.pth', 'teacher', picture=False)
    return folder


def boxes_of(records, classes):
    """Sorted (image, class, corners) of the reader's records."""
    return sorted(
        (record['img_id'], classes[label], *np.round(box, 2).tolist())
        for record in records
        for box, label in zip(record['boxes'], record['box_labels'])
    )


EXPECTED = [
    (name, label, *corners)
    for name in ('one/1.png', 'two/1.png')
    for label, corners in (
        ('Mass', (3, 4.25, 20, 30)),
        ('Nodule', (30, 1, 60, 40)),
    )
]


def predicted_masks(predictions):
    """Masks of the first image, from the files of predict.py."""
    folder = predictions / 'one/1_masks'
    return {
        name: cv2.imread(str(path), 0) > 0
        for name in ('Left lung', 'Heart')
        for path in folder.glob(f'*{name.replace(" ", "_")}.png')
    }


def test_coco_of_boxes_and_labels(run, predictions, images):
    code, out, err = run('export_annotations', predictions, '--to', 'coco')
    assert code == 0, err
    folder = predictions / 'annotations'
    assert 'tasks: a/cls, a/loc, b/seg, c/cls' in out, 'no numbers'
    coco = COCO(str(folder / 'a_loc.json'))
    assert [c['name'] for c in coco.cats.values()] == ['Nodule', 'Mass']
    assert len(coco.imgs) == 3 and len(coco.anns) == 4
    _, loc = TASKS[:2]
    records = CocoReader()(str(folder / 'a_loc.json'), str(images), loc)
    assert boxes_of(records, loc.classes) == EXPECTED
    assert len(list(records)) == 3, 'the empty image stays'
    table = (folder / 'a_cls.csv').read_text().splitlines()
    assert table[0] == 'image,Nodule,Mass,Effusion'
    assert set(table[1:]) == {
        *('one/1.png,1,0,1', 'two/1.png,1,0,1', 'empty.png,0,0,0')
    }
    # exclusive: the best, however low
    assert 'empty.png,1,0' in (folder / 'c_cls.csv').read_text()


def test_coco_masks_there_and_back(run, predictions, images, tmp_path):
    run('export_annotations', predictions, '--to', 'coco')
    file = predictions / 'annotations/b_seg.json'
    coco = COCO(str(file))
    (key,) = [i['id'] for i in coco.imgs.values() if 'one' in i['file_name']]
    (entry,) = coco.imgToAnns[key]
    expected = predicted_masks(predictions)['Left lung']
    assert np.array_equal(coco.annToMask(entry) > 0, expected)
    assert entry['area'] == expected.sum()

    # a person adds a heart as two polygons, one a box from 2 to 10
    content = json.loads(file.read_text())
    squares = [[2, 2, 10, 2, 10, 10, 2, 10], [20, 20, 24, 20, 24, 24, 20, 24]]
    content['annotations'].append(
        dict(image_id=key, category_id=2, segmentation=squares, id=9)
    )
    changed = tmp_path / 'b_seg.json'
    changed.write_text(json.dumps(content))
    back = tmp_path / 'back'
    code, out, err = run('import_annotations', changed, '--out-dir', back)
    assert code == 0, err
    assert 'MaskReader' in out
    masks = masks_by_reader(back / 'b_seg.csv', images)
    assert np.array_equal(masks['one/1.png'][0], expected)
    heart = np.zeros(SHAPE, bool)
    heart[2:10, 2:10] = heart[20:24, 20:24] = True
    assert np.array_equal(masks['one/1.png'][1], heart)
    assert not masks['empty.png'].any()


def masks_by_reader(file, images):
    """Image to bool (C, H, W), as a training reads them."""
    seg = TASKS[2]
    records = MaskReader()(str(file), str(images), seg)
    load = LoadXrayAnnotations()
    found = {}
    for record in records:
        results = dict(record, ori_shape=SHAPE, img_shape=SHAPE)
        results |= dict(classes=seg.classes, test_mode=True, task=seg.name)
        found[record['img_id']] = load(results)['gt_masks'].masks > 0
    return found


def as_exported(folder):
    """What Label Studio exports where people accept all predictions."""
    tasks = json.loads((folder / 'tasks.json').read_text())
    for task in tasks:
        (prediction,) = task.pop('predictions')
        result = copy.deepcopy(prediction['result'])
        for region in result:
            region.pop('score', None)
        task['annotations'] = [dict(result=result, was_cancelled=False)]
    return tasks


def test_label_studio_there_and_back(run, predictions, images, tmp_path):
    code, _, err = run(
        *('export_annotations', predictions, '--to', 'labelstudio'),
        *('--url', '/data/local-files/?d=xrays/'),
    )
    assert code == 0, err
    folder = predictions / 'annotations'
    tasks = as_exported(folder)
    url = '/data/local-files/?d=xrays/one/1.png'
    (first,) = [t for t in tasks if t['data']['image'] == url]
    # two boxes changed: one moved, one deleted
    boxes = [
        r for r in first['annotations'][0]['result'] if 'a_loc' in r['id']
    ]
    boxes[0]['value'] |= dict(x=50, y=25, width=25, height=50)
    first['annotations'][0]['result'].remove(boxes[1])
    tasks.append(dict(data=first['data'], annotations=[]))
    export = tmp_path / 'export.json'
    export.write_text(json.dumps(tasks))
    back = tmp_path / 'back'
    code, out, err = run(
        *('import_annotations', export, '--labels', folder / 'labels.xml'),
        *('--out-dir', back),
    )
    assert code == 0, err
    assert '3 images were annotated, 1 were not' in out
    loc = TASKS[1]
    records = CocoReader()(str(back / 'a_loc.json'), str(images), loc)
    moved = ('one/1.png', 'Mass', 30, 10, 45, 30)
    assert boxes_of(records, loc.classes) == [moved, *EXPECTED[2:]]
    masks = masks_by_reader(back / 'b_seg.csv', images)
    expected = predicted_masks(predictions)['Left lung']
    assert np.array_equal(masks['one/1.png'][0], expected)
    assert not masks['empty.png'].any()
    labels = CsvLabelReader()(str(back / 'a_cls.csv'), str(images), TASKS[0])
    scores = {r['img_id']: list(r['gt_score']) for r in labels}
    assert scores['two/1.png'] == [1, 0, 1]
    assert scores['empty.png'] == [0, 0, 0]
    text = (back / 'c_cls.csv').read_text()
    assert 'one/1.png,1,0' in text


@pytest.mark.slow
@pytest.mark.skipif(
    not (PEER / 'complete').is_file(), reason='needs make labelstudio'
)
def test_label_studios_own_converter_reads_it(run, predictions, tmp_path):
    run('export_annotations', predictions, '--to', 'labelstudio')
    folder = predictions / 'annotations'
    tasks = as_exported(folder)
    for number, task in enumerate(tasks, 1):
        task['id'] = number
        task['annotations'][0] |= dict(id=number, completed_by=1)
    export = tmp_path / 'export.json'
    export.write_text(json.dumps(tasks))
    script = Path(__file__).parents[1] / 'helpers/label_studio_peer.py'
    subprocess.run(
        [
            PEER / 'bin/python',
            script,
            export,
            folder / 'labels.xml',
            tmp_path / 'peer',
        ],
        check=True,
        env={},
    )
    mask = cv2.imread(str(tmp_path / 'peer/one/1.png'), 0) > 0
    assert np.array_equal(mask, predicted_masks(predictions)['Left lung'])
    content = json.loads((tmp_path / 'peer/result.json').read_text())
    names = {c['id']: c['name'] for c in content['categories']}
    boxes = {}
    for found in content['annotations']:
        box = (names[found['category_id']], *np.round(found['bbox'], 2))
        boxes.setdefault(found['image_id'], []).append(box)
    expected = [('Mass', 3, 4.25, 17, 25.75), ('Nodule', 30, 1, 30, 39)]
    assert [sorted(own) for own in boxes.values()] == [expected] * 2


@pytest.mark.parametrize(
    'shape, share',
    [
        ((1, 1), 0),
        ((1, 1), 1),
        ((5, 7), 0.5),
        ((200, 190), 0),
        ((40, 40), 0.9),
    ],
)
def test_brush_run_lengths(shape, share):
    mask = np.random.default_rng(0).random(shape) < share
    code = encode_brush(mask)
    assert all(0 <= byte < 256 for byte in code)
    assert np.array_equal(decode_brush(code, *shape, 'x'), mask)
    with pytest.raises(ValueError, match='x: '):
        decode_brush(code[:-1], *shape, 'x')
    with pytest.raises(ValueError, match='pixels'):
        decode_brush(code, shape[0] + 1, shape[1], 'x')


def test_brush_of_single_values():
    """Pages also write values one by one: here 2 pixels, one painted."""
    values = [0, 0, 0, 0, 9, 9, 9, 255]
    bits = f'{8:032b}{7:05b}' + ''.join(f'{s - 1:04b}' for s in (3, 4, 8, 16))
    bits += '0' + '00' + f'{7:03b}' + ''.join(f'{v:08b}' for v in values)
    bits += '0' * (-len(bits) % 8)
    code = [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]
    assert decode_brush(code, 1, 2, 'x').tolist() == [[False, True]]


SQUARE = [1, 1, 6, 1, 6, 6, 1, 6]


@pytest.mark.parametrize(
    'code, match',
    [
        ([SQUARE, [1, 1, 6, 6]], 'three or more points'),
        ([[]], 'three or more points'),
        ([[float('nan')] * 6], 'three or more points'),
        ('abc', 'three or more points'),
        (dict(size=[8, 1], counts=[0, 8]), 'of the size'),
        (dict(size=[8, 8], counts=[0, 100]), 'do not add up'),
        (dict(counts=[0, 64]), 'of the size'),
    ],
)
def test_masks_that_cannot_be_read(tmp_path, code, match):
    with pytest.raises(UserError, match=match):
        write_tables(*read_coco_masks(coco_file(tmp_path, code)), tmp_path)


@pytest.mark.parametrize(
    'name', ('../a.png', 'x/../../a.png', '/x/a.png', '', 5)
)
def test_names_that_lead_out_of_the_folder(tmp_path, name):
    """The masks would be written there."""
    with pytest.raises(UserError, match='no path below a folder'):
        read_coco_masks(coco_file(tmp_path, [SQUARE], name))


def coco_file(folder, code, name='a.png'):
    content = dict(
        images=[dict(id=1, file_name=name, height=8, width=8)],
        categories=[dict(id=1, name='Lung')],
        annotations=[dict(id=1, image_id=1, category_id=1, segmentation=code)],
    )
    file = folder / 'x_seg.json'
    file.write_text(json.dumps(content))
    return file


def test_polygons_and_run_lengths_of_a_class_are_united(tmp_path):
    counts = [0, 2, 62]  # the upper two pixels of the first column
    file = coco_file(tmp_path, [SQUARE])
    content = json.loads(file.read_text())
    more = dict(size=[8, 8], counts=counts)
    content['annotations'].append(
        dict(content['annotations'][0], segmentation=more)
    )
    file.write_text(json.dumps(content))
    ((image,),) = read_coco_masks(file)[1:]
    expected = np.zeros((8, 8), bool)
    expected[1:6, 1:6] = expected[:2, 0] = True
    assert np.array_equal(image.masks['x_seg']['Lung'](), expected)


def test_a_folder_that_cannot_be_written(run, predictions, tmp_path):
    (tmp_path / 'file').write_text('')
    out = tmp_path / 'file' / 'x'
    code, _, err = run(
        *('export_annotations', predictions, '--to', 'coco', '--out-dir', out)
    )
    assert code == 1 and 'cannot be written' in err


def test_mistakes_of_an_export(run, predictions, images, tmp_path):
    def failed(*args):
        code, _, err = run('export_annotations', *args, '--to', 'coco')
        assert code == 1
        return err

    assert 'has no predictions' in failed(tmp_path / 'nothing')
    assert 'below 0.3 were left out' in failed(predictions, '--min-score', 0.1)
    assert 'is not below' in failed(predictions, '--img-dir', images / 'one')


@pytest.mark.parametrize(
    'change, match',
    [
        (lambda t, r: r['value'].update(rotation=5), 'rotated'),
        (lambda t, r: r.update(type='ellipselabels'), 'ellipselabels'),
        (lambda t, r: r.update(from_name='other'), '"other"'),
        (lambda t, r: r['value'].update(rectanglelabels=['X']), '"X"'),
        (lambda t, r: r['value'].pop('x'), "'x'"),
        (lambda t, r: r.update(original_width=7), '7 x 40'),
        (lambda t, r: t['annotations'].append(t['annotations'][0]), '2 ann'),
        (lambda t, r: t.pop('annotations'), 'annotations'),
        (lambda t, r: t['data'].pop('fx_mm_image'), 'fx_mm_image'),
    ],
)
def test_mistakes_of_a_correction(predictions, tmp_path, change, match):
    heads, images = read_predictions(predictions)
    write_label_studio(heads, images, tmp_path)
    tasks = as_exported(tmp_path)
    task = next(t for t in tasks if len(t['annotations'][0]['result']) > 2)
    region = next(
        r
        for r in task['annotations'][0]['result']
        if r['type'] == 'rectanglelabels'
    )
    change(task, region)
    file = tmp_path / 'export.json'
    file.write_text(json.dumps(tasks))
    with pytest.raises(UserError, match=match):
        read_label_studio(file, tmp_path / 'labels.xml')
