"""From a folder of images and tables to the configs that train on them."""

import json

import cv2
import numpy as np
import pytest

from fx_mm.apis import build_runner, dry_run, load_config
from fx_mm.utils.checks import suggest

SIDE = 64


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with 12 images of 8 patients in data/My Hospital."""
    monkeypatch.chdir(tmp_path)
    root = tmp_path / 'data' / 'My Hospital'
    for folder in ('scans', 'masks'):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows, images, boxes = [], [], []
    for i in range(12):
        name = f'{i}.png'
        image = rng.integers(0, 256, (SIDE, SIDE), np.uint8)
        cv2.imwrite(str(root / 'scans' / name), image)
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[8:40, 8:40] = 255
        cv2.imwrite(str(root / 'masks' / name), mask)
        rows.append(f'{name},P{i % 8},{i % 2},{(i // 2) % 2},{40 + i},M,{i}')
        images.append(dict(id=i, file_name=name, width=SIDE, height=SIDE))
        box = dict(id=i, image_id=i, category_id=7, bbox=[8, 8, 20, 20])
        boxes += [box] if i % 3 else []
    header = 'file,Patient ID,Nodule,Pleural effusion,age,sex,scan id'
    (root / 'labels.csv').write_text('\n'.join([header, *rows]) + '\n')
    coco = dict(
        images=images,
        annotations=boxes,
        categories=[dict(id=7, name='Nodule')],
    )
    (root / 'boxes.json').write_text(json.dumps(coco))
    masks = [f'{i}.png,masks/{i}.png' for i in range(12)]
    (root / 'masks.csv').write_text('\n'.join(['image,Lung', *masks]) + '\n')
    (root / 'notes.txt').write_text('nothing')
    return tmp_path


@pytest.fixture
def make(here, run):
    def call(*words, code=0):
        end, out, err = run(
            'new_experiment', here / 'data/My Hospital', *words
        )
        assert end == code, err
        return err if code else out

    return call


def rows(here, name):
    text = (here / 'data/My Hospital' / name).read_text()
    return [line.split(',')[:2] for line in text.splitlines()[1:]]


def test_a_folder_becomes_an_experiment(make, here):
    out = make()
    assert 'my_hospital: 12 images in ' in out
    assert 'cls: Nodule, Pleural effusion\n' in out
    assert 'loc: Nodule\n' in out and 'seg: Lung\n' in out
    assert 'reg: age\n' in out
    assert '(by patient)' in out
    assert 'not used: labels.csv: column "sex" (M)' in out
    assert 'not used: labels.csv: column "scan id" (0, 1, 10)' in out
    assert 'not used: notes.txt' in out

    splits = [rows(here, f'labels_{s}.csv') for s in ('train', 'val', 'test')]
    assert sum(map(len, splits)) == 12 and all(splits)
    owners = [{patient for _, patient in each} for each in splits]
    assert sum(map(len, owners)) == 8
    for split, table in zip(('train', 'val', 'test'), splits, strict=True):
        path = here / f'data/My Hospital/boxes_{split}.json'
        coco = json.loads(path.read_text())
        names = [image['file_name'] for image in coco['images']]
        assert names == [name for name, _ in table]
        ids = {image['id'] for image in coco['images']}
        assert {box['image_id'] for box in coco['annotations']} <= ids

    cfg = load_config('configs/my_hospital/foundation-x_my_hospital.py')
    assert cfg.tasks == [
        f'my_hospital/{kind}' for kind in ('cls', 'loc', 'seg', 'reg')
    ]
    cfg.loader.num_workers = 0
    cfg.log_level = 'ERROR'
    cfg.merge_from_dict(
        {f'task_defaults.{k}.img_size': SIDE for k in cfg.task_defaults}
    )
    table = dry_run(build_runner(cfg))
    for task in cfg.tasks:
        assert f'{task} ' in table


def test_the_splits_of_the_files_are_kept(make, here):
    make('--seed', 3)
    before = rows(here, 'labels_val.csv')
    out = make('--name', 'again', '--seed', 4)
    assert rows(here, 'labels_val.csv') == before
    assert '(as the files say)' in out
    assert 'not used: labels.csv (its three splits are there)' in out
    assert 'is there already' in make(code=1)


def test_boxes_follow_the_splits_of_labels(make, here):
    make()
    root = here / 'data/My Hospital'
    for split in ('train', 'val', 'test'):
        (root / f'boxes_{split}.json').unlink()
        (root / f'masks_{split}.csv').unlink()
    make('--name', 'again', '--seed', 5)
    names = {name for name, _ in rows(here, 'labels_test.csv')}
    coco = json.loads((root / 'boxes_test.json').read_text())
    assert {image['file_name'] for image in coco['images']} == names


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (lambda root: (root / 'scans/3.png').unlink(), '1 of its 12 images'),
        (
            lambda root: (root / 'more.csv').write_text('f,Mass\n1.png,1\n'),
            'both have what trains cls tasks',
        ),
        (
            lambda root: (root / 'labels.csv').rename(root / 'a_train.csv'),
            'no file of the split "val"',
        ),
        (
            lambda root: [f.unlink() for f in root.glob('*.*') if f.is_file()],
            'has no table (.csv) and no COCO file',
        ),
        (
            lambda root: [f.unlink() for f in root.rglob('*.png')],
            'has no images',
        ),
    ],
)
def test_what_cannot_be_told_is_refused(make, here, spoil, message):
    spoil(here / 'data/My Hospital')
    error = make(code=1)
    assert message in error and len(error.splitlines()) == 1
    assert not (here / 'configs').exists()


def test_too_few_patients(make, here):
    path = here / 'data/My Hospital/labels.csv'
    text = path.read_text()
    for i in range(8):
        text = text.replace(f',P{i},', f',{i % 2},')
    path.write_text(text)
    assert 'of 2 patients, which cannot be split' in make(code=1)


def test_another_model_and_names_without_suffix(make, here, monkeypatch):
    root = here / 'data/My Hospital'
    for file in ('boxes.json', 'masks.csv'):
        (root / file).unlink()
    path = root / 'labels.csv'
    path.write_text(path.read_text().replace('.png', ''))
    make('--model', 'swin-t', '--name', 'mine')
    cfg = load_config('configs/mine/foundation-x_mine.py')
    assert cfg.model.student.backbone.embed_dims == 96
    assert cfg.optim_wrapper.optimizer.lr == 1e-4
    assert cfg.datasets.mine.tasks.cls.reader.img_suffix == '.png'


@pytest.mark.parametrize('name', ['a b', '1st', 'class'])
def test_a_name_that_is_none(make, name):
    assert 'give one of letters' in make('--name', name, code=1)


def test_nothing_to_suggest():
    assert suggest('a', ()) == 'it takes none'
