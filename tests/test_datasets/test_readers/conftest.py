"""Files that the tests of the readers write."""

import numpy as np
import pytest

from fx_mm.datasets.readers import CsvLabelReader

NAMES = ('a.png', 'b.png', 'c.png')


@pytest.fixture
def read_labels(tmp_path, write_images, make_task):
    """Write a label file beside three images and read it."""

    def run(
        text, reader=None, classes=('A', 'B'), label_type=None, name='l.csv'
    ):
        images = write_images(*NAMES)
        path = tmp_path / name
        if isinstance(text, bytes):
            path.write_bytes(text)
        elif text is not None:
            path.write_text(text, encoding='utf-8', newline='')
        task = make_task('cls', classes, label_type)
        return (reader or CsvLabelReader())(str(path), images, task)

    return run


@pytest.fixture
def all_images_exist(monkeypatch):
    """Let every image be there, since the samples hold lists only."""
    monkeypatch.setattr(
        'fx_mm.datasets.readers.images.FileIndex.__contains__',
        lambda self, path: True,
    )


@pytest.fixture
def scores():
    """Put the labels of records below each other."""
    return lambda records: np.stack([r['gt_score'] for r in records])
