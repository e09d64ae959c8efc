"""Pictures of what findings rest on."""

import cv2
import numpy as np
import pytest
import torch

from fx_mm.apis.explanation import _in_pixels
from fx_mm.models.branches.evidence import Evidence
from fx_mm.structures import FXDataSample
from fx_mm.visualization.explanation import draw_finding, draw_heat

META = dict(
    ori_shape=(200, 100),
    img_shape=(60, 30),
    batch_input_shape=(64, 32),
    scale_factor=(0.3, 0.3),
)


def test_a_map_lies_on_the_original_without_its_padding():
    heat = torch.zeros(16, 8)
    heat[15, 7] = 1  # of the 4 px of padding below, and those beside
    heat[2, 3] = 2
    found = _in_pixels(
        Evidence(0, 0.5, heat=heat), FXDataSample(metainfo=META)
    )
    heat = found['heat']
    assert heat.shape == (200, 100)
    y, x = np.unravel_index(heat.argmax(), heat.shape)
    # cell (2, 3) of 4 px is at 10, 14 of the input
    assert abs(y - 10 / 0.3) < 4 and abs(x - 14 / 0.3) < 4


def test_points_lie_on_the_original():
    evidence = Evidence(
        0,
        0.5,
        box=torch.tensor([10.0, 20, 50, 90]),
        points=torch.tensor([[0.5, 0.25], [0.0, 0.0]]),
        shares=torch.tensor([0.75, 0.25]),
    )
    found = _in_pixels(evidence, FXDataSample(metainfo=META))
    assert found['points'] == pytest.approx(
        np.array([[160 / 3, 160 / 3], [0, 0]])
    )
    assert found['box'].tolist() == [10, 20, 50, 90]


def test_nothing_warm_leaves_the_image():
    image = np.full((8, 8), 77, np.uint8)
    assert (draw_heat(image, np.zeros((8, 8))) == 77).all()
    heat = np.zeros((8, 8))
    heat[2, 3] = 5
    changed = (draw_heat(image, heat) != 77).any(-1)
    assert changed.sum() == 1 and changed[2, 3]


def test_pictures_are_as_wide_as_asked():
    image = np.full((40, 20), 90, np.uint8)
    picture = draw_finding(
        *(image, 'a/loc', 'Nodule', 0.7),
        box=np.array([2, 3, 15, 30]),
        points=np.array([[5.0, 5], [-3, 900]]),
        shares=np.array([0.5, 0.5]),
        size=100,
    )
    assert picture.shape[1] == 100 and picture.shape[0] > 200
    with pytest.raises(ValueError, match='a map, or a box'):
        draw_finding(image, 'a/loc', 'Nodule', 0.7)


def test_predict_writes_one_per_finding(run, tmp_path):
    """With random weights, every class and box is a finding at 0."""
    from random_weights import CONFIG, TASKS, write_checkpoint

    checkpoint = write_checkpoint(tmp_path)
    images = tmp_path / 'images'
    images.mkdir()
    rng = np.random.default_rng(0)
    cv2.imwrite(
        str(images / 'a.png'), rng.integers(0, 255, (90, 70), np.uint8)
    )
    (images / 'bad.png').write_bytes(b'no image')
    out = tmp_path / 'out'
    code, _, err = run(
        *('predict', CONFIG, checkpoint, images, '--out-dir', out),
        *('--explain', '--score-thr', 0, '--no-pictures'),
        *('--tasks', *TASKS[:2]),
        *(
            '--cfg-options',
            'model.student.localization.test_cfg.max_per_img=2',
        ),
    )
    assert code == 1 and 'bad.png' in err
    names = [p.name for p in (out / 'a_explain').iterdir()]
    labels = [n for n in names if n.startswith('real_nih_cls')]
    assert len(labels) == 14
    assert len(names) == 14 + 2
    assert not (out / 'bad_explain').exists()
