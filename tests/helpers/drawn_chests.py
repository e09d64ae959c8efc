"""Drawn chests with the truth of ratio, side and zone."""

from typing import NamedTuple

import numpy as np

from fx_mm.apis import ImageResult, LocResult, SegResult
from fx_mm.phantom.anatomy import sample_anatomy
from fx_mm.phantom.canvas import LEFT, RIGHT
from fx_mm.phantom.draw_findings import DRAW
from fx_mm.phantom.hospitals import HOSPITALS, sample_canvas
from fx_mm.phantom.scene import Scene
from fx_mm.tasks import Task
from fx_mm.visualization.measurements.chest_frame import extent

ORGANS = ('Left lung', 'Right lung', 'Heart')
ZONES = ('upper', 'middle', 'lower')


class DrawnChest(NamedTuple):
    """Masks of organs and findings, and what was drawn.

    The ratio is that of the contours in the chest's own frame, the side that
    of the finding's mean x there, the zone the third of the lung's contour
    that its mean y is in; so tilt, rounding and what covers a lung are not
    in it.
    """

    organs: np.ndarray
    ratio: float
    findings: list[tuple[np.ndarray, str, str]]


def draw_chest(number, size=128, difficulty=0.5):
    """Draw a chest of one of the phantom hospitals."""
    rng = np.random.default_rng([7, number])
    names = [name for name in DRAW if rng.random() < 0.3]
    anatomy = sample_anatomy(rng, 'Cardiomegaly' in names)
    habits = HOSPITALS['abc'[number % 3]]
    canvas = sample_canvas(rng, habits, anatomy, size, difficulty)
    scene = Scene(anatomy, canvas, rng, difficulty)
    taken = np.zeros((size, size), bool)
    findings = []
    for name in DRAW:
        if name == 'Cardiomegaly' or name not in names:
            continue
        for mask in DRAW[name](scene, rng, taken):
            taken |= mask
            if mask.sum() < 6:
                continue
            x, y = canvas.x[mask].mean(), canvas.y[mask].mean()
            lung = anatomy.lungs[LEFT if x > 0 else RIGHT][:, 1]
            depth = (y - lung.min()) / np.ptp(lung)
            zone = ZONES[int(np.clip(3 * depth, 0, 2))]
            findings.append((mask, 'left' if x > 0 else 'right', zone))
    organs = np.stack(
        [scene.lungs[LEFT] > 127, scene.lungs[RIGHT] > 127, scene.heart > 127]
    )
    return DrawnChest(organs, anatomy.cardiothoracic_ratio, findings)


def as_result(organs, findings=(), path=None, reading=None):
    """Return predictions of organs' masks and of findings, as boxes too.

    Args:
        organs (np.ndarray): bool (3, H, W), in the order of ORGANS.
        findings (Sequence): A mask, or a tuple that begins with one, each.
    """
    size = organs.shape[1:]
    masks = [each[0] if isinstance(each, tuple) else each for each in findings]
    names = tuple(f'Finding {i}' for i in range(len(masks))) or ('Nodule',)
    shown = np.array(masks or [np.zeros(size, bool)])
    labels = np.array([i for i, m in enumerate(masks) if m.any()], np.int64)
    corners = [extent(masks[i]) for i in labels]
    boxes = np.array(corners, np.float32).reshape(-1, 4)
    results = (
        SegResult(
            Task('a', 'seg', ORGANS + names), np.concatenate([organs, shown])
        ),
        LocResult(
            Task('a', 'loc', names),
            boxes,
            np.full(len(boxes), 0.9, np.float32),
            labels,
        ),
    )
    return ImageResult(
        'chest.png',
        path,
        size,
        {each.task.name: each for each in results},
        reading=reading,
    )


def plain_chest(size=100):
    """Return organs of a plain chest: two lungs and a heart, bool (3, H, W).

    The thorax is 80 wide, the heart 40; the left lung, at the image's right,
    has 30 x 60 pixels, the right one 20 x 60.
    """
    organs = np.zeros((3, size, size), bool)
    organs[0, 20:80, 60:90] = True
    organs[1, 20:80, 10:30] = True
    organs[2, 50:80, 30:70] = True
    return organs
