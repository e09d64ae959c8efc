import numpy as np
import pytest
from mmengine.registry import DefaultScope

from fx_mm.datasets.task_dataset import seeded
from fx_mm.datasets.transforms import (
    JpegCompression,
    RandomBrightnessContrast,
    RandomGamma,
)
from fx_mm.registry import TRANSFORMS
from fx_mm.utils.errors import UserError

BOTH = [RandomBrightnessContrast, RandomGamma]
ALL = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, 2)


def changed(step, seed, image=ALL):
    with seeded(seed):
        return step(dict(img=image))['img']


@pytest.mark.parametrize('kind', BOTH)
def test_never_and_always(kind):
    assert (changed(kind(prob=0.0), 0) == ALL).all()
    images = [changed(kind(prob=1.0), seed) for seed in range(20)]
    # now and then the values drawn are next to nothing
    assert sum((image != ALL).any() for image in images) > 15
    for image in images:
        assert image.dtype == np.uint8 and image.shape == ALL.shape
        assert (image == image[..., :1]).all()
        # order of greys is kept
        assert (np.diff(image[..., 0].ravel().astype(int)) >= 0).all()
    step = kind(prob=0.3)
    with seeded(0):
        done = [step._draw() is not None for _ in range(2000)]
    assert abs(np.mean(done) - 0.3) < 0.03


@pytest.mark.parametrize('kind', BOTH)
def test_the_given_image_stays(kind):
    image = ALL.copy()
    changed(kind(prob=1.0), 1, image)
    assert (image == ALL).all()


def test_brightness_and_contrast(monkeypatch):
    step = RandomBrightnessContrast(0.2, 0.4, prob=1.0)
    monkeypatch.setattr(np.random, 'uniform', lambda *_: np.array([-0.5, 1]))
    grey = step(dict(img=ALL))['img'][..., 0].ravel().astype(float)
    expected = np.clip(np.arange(256) * 0.8 + 0.2 * 255, 0, 255)
    assert abs(grey - expected).max() <= 0.5


def test_gamma(monkeypatch):
    step = RandomGamma((0.5, 2.0), prob=1.0)
    monkeypatch.setattr(np.random, 'uniform', lambda low, high: high)
    grey = step(dict(img=ALL))['img'][..., 0].ravel().astype(float)
    expected = (np.arange(256) / 255) ** 2 * 255
    assert abs(grey - expected).max() <= 0.5


def test_values_are_drawn_evenly():
    step = RandomBrightnessContrast(0.2, 0.0, prob=1.0)
    gamma = RandomGamma(prob=1.0)
    with seeded(0):
        added = [step.draw_values()[0] for _ in range(4000)]
        powers = [
            np.log(gamma.draw_values()[128]) / np.log(128 / 255)
            for _ in range(4000)
        ]
    for values, low, high in ((added, -0.2, 0.2), (powers, 0.8, 1.2)):
        counts, _ = np.histogram(values, 8, (low, high))
        assert counts.sum() == 4000
        assert abs(counts / 4000 - 1 / 8).max() < 0.03


def test_one_of_them_as_in_ark():
    cfg = dict(
        type='RandomApply',
        prob=0.3,
        transforms=[
            dict(
                type='RandomChoice',
                transforms=[
                    [dict(type='RandomBrightnessContrast', prob=1.0)],
                    [dict(type='RandomGamma', prob=1.0)],
                ],
            )
        ],
    )
    with DefaultScope.overwrite_default_scope('fx_mm'):
        step = TRANSFORMS.build(cfg)
    images = [changed(step, seed)[..., 0].ravel() for seed in range(600)]
    moved = [image for image in images if (image != ALL[..., 0].ravel()).any()]
    assert abs(len(moved) / 600 - 0.3) < 0.06
    # gamma keeps black and white
    gamma = [image[0] == 0 and image[-1] == 255 for image in moved]
    assert 0.35 < np.mean(gamma) < 0.65


@pytest.mark.parametrize(
    ('kind', 'wrong', 'message'),
    [
        (RandomGamma, dict(gamma_range=(0, 1)), 'gamma_range is .0, 1'),
        (RandomGamma, dict(gamma_range=(2, 1)), 'low <= high'),
        (RandomGamma, dict(prob=-1), 'RandomGamma.prob'),
        (
            RandomBrightnessContrast,
            dict(brightness_limit=2),
            'RandomBrightnessContrast.brightness_limit',
        ),
        (
            RandomBrightnessContrast,
            dict(contrast_limit='x'),
            'RandomBrightnessContrast.contrast_limit',
        ),
    ],
)
def test_limits_that_make_no_sense_are_refused(kind, wrong, message):
    with pytest.raises(UserError, match=message):
        kind(**wrong)


def test_jpeg_loses_more_the_lower_the_quality():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (32, 24, 1), np.uint8).repeat(3, axis=2)
    losses = []
    for quality in (100, 50, 5):
        step = JpegCompression(quality)
        assert repr(step) == f'JpegCompression(quality={quality})'
        out = step(dict(img=image.copy()))['img']
        assert out.shape == image.shape and out.dtype == np.uint8
        assert (out[..., 0] == out[..., 1]).all()
        losses.append(np.abs(out.astype(int) - image).mean())
    assert losses[0] < 2 < losses[1] < losses[2]
    for quality in (0, 101, 2.5):
        with pytest.raises(UserError, match='JpegCompression.quality'):
            JpegCompression(quality)
