"""Phantom images and datasets made of them."""

import csv
import gzip
import json

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from fx_mm.phantom.render import render_phantom


@pytest.fixture(scope='session')
def phantoms():
    """Thirty different images of 256x256 pixels, of three hospitals."""
    return [
        render_phantom(0, 'abc'[i % 3], 'train', i, 0.0, 256).image
        for i in range(30)
    ]


class Data:
    """Writes datasets into a folder and gives the config of all."""

    def __init__(self, root):
        self.root = root
        self.datasets = {}

    def home(self, dataset):
        return self.root / dataset

    def image(self, dataset, name, pixels):
        """Write an image; bytes as they are, None not at all."""
        path = self.home(dataset) / 'images' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(pixels, bytes):
            path.write_bytes(pixels)
        elif pixels is not None:
            assert cv2.imwrite(str(path), pixels)
        return path

    def table(self, dataset, file, header, rows):
        path = self.home(dataset) / file
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open('w', newline='') as stream:
            csv.writer(stream).writerows([header, *rows])

    def add(self, dataset, kind, classes, reader, ending, **keys):
        """Add a task to the config."""
        entry = self.datasets.setdefault(
            dataset,
            dict(data_root=f'{self.home(dataset)}/', img_dir='images/'),
        )
        entry.setdefault('tasks', {})[kind] = dict(
            classes=classes,
            reader=dict(type=reader),
            splits={
                s: f'{s}{ending}'
                for s in ('train', 'val', 'test')
                if (self.home(dataset) / f'{s}{ending}').exists()
            },
            **keys,
        )

    def cls(self, dataset, patients=False, classes=('A', 'B'), **splits):
        """Add labels: split to rows (name, pixels[, patient], labels)."""
        header = ['image', *(['patient'] if patients else []), *classes]
        for split, rows in splits.items():
            for name, pixels, *_ in rows:
                self.image(dataset, name, pixels)
            cells = [[row[0], *row[2:]] for row in rows]
            self.table(dataset, f'{split}.csv', header, cells)
        self.add(dataset, 'cls', classes, 'CsvLabelReader', '.csv')

    def loc(self, dataset, classes=('A', 'B'), **splits):
        """Add boxes: split to (name, size, [(class, x, y, w, h)])."""
        for split, rows in splits.items():
            images, boxes = [], []
            for number, (name, size, found) in enumerate(rows):
                images.append(
                    dict(id=number, file_name=name, width=size, height=size)
                )
                boxes += [
                    dict(
                        image_id=number,
                        category_id=classes.index(label),
                        bbox=box,
                    )
                    for label, *box in found
                ]
            names = [dict(id=i, name=n) for i, n in enumerate(classes)]
            content = dict(images=images, annotations=boxes, categories=names)
            path = self.home(dataset) / f'{split}.json'
            path.write_text(json.dumps(content))
        self.add(dataset, 'loc', classes, 'CocoReader', '.json')

    def seg(self, dataset, classes=('A', 'B'), **splits):
        """Add masks: split to (name, [mask or None a class])."""
        for split, rows in splits.items():
            cells = []
            for name, masks in rows:
                row = [name]
                for label, mask in zip(classes, masks):
                    file = f'masks/{label}_{name}' if mask is not None else ''
                    row.append(file)
                    if file:
                        path = self.home(dataset) / file
                        path.parent.mkdir(exist_ok=True)
                        assert cv2.imwrite(str(path), mask)
                cells.append(row)
            header = ['image', *classes]
            self.table(dataset, f'{split}_masks.csv', header, cells)
        self.add(dataset, 'seg', classes, 'MaskReader', '_masks.csv')

    def pack(self, dataset, ending):
        """Gzip the annotation files, and name them in the config."""
        for task in self.datasets[dataset]['tasks'].values():
            for split, file in task['splits'].items():
                path = self.home(dataset) / file
                packed = path.with_name(f'{split}{ending}')
                packed.write_bytes(gzip.compress(path.read_bytes()))
                path.unlink()
                task['splits'][split] = packed.name

    def cfg(self, **keys):
        """Return the config."""
        entry = dict(img_size=64, batch_size=2)
        defaults = {kind: dict(entry) for kind in ('cls', 'loc', 'seg')}
        return Config(
            dict(datasets=self.datasets, task_defaults=defaults, **keys)
        )


@pytest.fixture
def data(tmp_path):
    return Data(tmp_path / 'data')


def rows(images, prefix, start=0, patients=None):
    """Rows of a label table: every other image has A, the others B."""
    return [
        (
            f'{prefix}{start + i}.png',
            image,
            *([] if patients is None else [patients[i]]),
            i % 2,
            1 - i % 2,
        )
        for i, image in enumerate(images)
    ]


@pytest.fixture
def make_rows():
    return rows


@pytest.fixture
def clean(data, phantoms):
    """Two datasets without anything to find."""
    for number, name in enumerate(('one', 'two')):
        some = phantoms[15 * number : 15 * number + 15]
        data.cls(
            name,
            patients=True,
            train=rows(some[:9], 'a', 0, list('ppqqrrsst')),
            val=rows(some[9:12], 'a', 9, list('uvw')),
            test=rows(some[12:15], 'a', 12, list('xyz')),
        )
    return data


def noise(shape=(64, 64), seed=0):
    """An image of noise."""
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, shape).astype(np.uint8)


@pytest.fixture
def make_noise():
    return noise
