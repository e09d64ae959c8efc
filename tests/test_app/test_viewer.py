"""HTML of an image with its boxes and masks as layers."""

import base64
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from fx_mm.app.viewer import bar, figure_text, table, view
from fx_mm.tasks import Task
from fx_mm.visualization.results import ImageResult, LocResult, SegResult

BAD = '<b>"x"</b>'


def make(height=40, width=30, boxes=1, mask=True):
    classes = ('Lung', BAD)
    masks = np.zeros((2, height, width), bool)
    masks[1, 10:20, 5:15] = mask
    found = LocResult(
        Task('a', 'loc', classes),
        np.array([[2, 3, 20, 30]] * boxes, np.float32).reshape(-1, 4),
        np.linspace(0.9, 0.1, boxes).astype(np.float32),
        np.ones(boxes, int),
    )
    return ImageResult(
        f'{BAD}.png',
        size=(height, width),
        predictions={
            'a/loc': found,
            'a/seg': SegResult(Task('a', 'seg', classes), masks),
        },
        image=np.full((height, width), 7, np.uint8),
        reading=dict(format='PNG'),
    )


def pictures(text):
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    return [
        cv2.imdecode(
            np.frombuffer(base64.b64decode(each), np.uint8),
            cv2.IMREAD_UNCHANGED,
        )
        for each in found
    ]


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))


def test_nothing_found_is_the_image_alone():
    text = view(make(boxes=0, mask=False), 0.3)
    (image,) = pictures(text)
    assert (image == 7).all() and image.shape == (40, 30)
    assert 'checkbox' not in text
    with pytest.raises(ValueError, match='no pixels'):
        view(ImageResult('a'), 0.3)


def test_layers_have_switches_and_one_slider():
    text = view(make(boxes=3), 0.3)
    image, mask = pictures(text)
    assert mask.shape == (40, 30, 4)
    assert (mask[..., 3] > 0).sum() == 100 and mask[15, 10, 3] == 255
    tags = Tags(text).tags
    assert len([tag for tag, _ in tags if tag == 'rect']) == 2
    kinds = [own.get('type') for tag, own in tags if tag == 'input']
    assert sorted(kinds) == ['checkbox', 'checkbox', 'range']
    layers = [own['data-layer'] for _, own in tags if 'data-layer' in own]
    scripts = [own['onchange'] for _, own in tags if 'onchange' in own]
    for layer, script in zip(layers, scripts, strict=True):
        assert f'[data-layer="{layer}"]' in script


def test_names_are_text():
    text = view(make(), 0.3)
    assert '<b>' not in text and '&lt;b&gt;' in text
    assert not [tag for tag, _ in Tags(text).tags if tag == 'b']
    assert '<b>' not in table([BAD], [])


def test_large_images_are_shown_smaller():
    text = view(make(2048, 1024), 0.3)
    image, mask = pictures(text)
    assert image.shape == (1024, 512) and mask.shape[:2] == (1024, 512)
    # the boxes stay in pixels of the original
    assert 'viewBox="0 0 1024 2048"' in text


def test_words():
    figure = dict(name='AUC/x', value=0.5, low=None, high=None, split='val')
    assert figure_text(None) == 'not measured'
    assert figure_text(figure | dict(value=None)) == 'not measured'
    assert figure_text(figure) == 'AUC 0.500, val'
    ends = dict(low=0.4, high=0.6)
    assert figure_text(figure | ends) == 'AUC 0.500 (0.400 to 0.600), val'
    assert bar(None) == 'undefined' and bar(0.25).endswith('0.250')
