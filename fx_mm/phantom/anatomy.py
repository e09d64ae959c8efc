"""Shapes of a random chest: contours of body, lungs, heart and bones.

Every contour is in chest units (see canvas.py). The proportions are those of
a posterior-anterior chest X-ray of an adult: a thorax of 28 cm, lungs of 22
to 26 cm, a normal heart below half the thoracic width.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fx_mm.phantom.canvas import LEFT, RIGHT, mirror, smooth
from fx_mm.phantom.skeleton import sample_girdle, sample_ribs, sample_vertebrae

NORMAL_RATIO = (0.37, 0.485)
ENLARGED_RATIO = (0.565, 0.67)
"""Cardiothoracic ratio of normal and of enlarged hearts."""


Ellipse = tuple[tuple[float, float], tuple[float, float]]
"""Centre and radii."""


@dataclass
class Anatomy:
    """A chest without findings. Contours: float (n, 2), chest units."""

    body: np.ndarray
    arms: list[np.ndarray]
    lungs: dict[int, np.ndarray]
    """Side -> closed contour of the lung field, before the heart covers
    part of it."""
    lateral: dict[int, np.ndarray]
    """Side -> open contour of the lateral lung border, apex to base."""
    dome: dict[int, float]
    """Side -> y of the top of the diaphragm."""
    heart: np.ndarray
    mediastinum: np.ndarray
    trachea: list[np.ndarray]
    hila: dict[int, np.ndarray]
    posterior_ribs: list[np.ndarray]
    anterior_ribs: list[np.ndarray]
    clavicles: list[np.ndarray]
    scapulae: list[np.ndarray]
    humeri: list[np.ndarray]
    vertebrae: list[list[tuple[float, float]]]
    spine: np.ndarray
    breasts: list[Ellipse]
    gas: list[Ellipse]
    wall: float
    """Thickness of the chest wall's soft tissue."""

    @property
    def cardiothoracic_ratio(self) -> float:
        """float: Width of the heart as a share of the thoracic width."""
        return float(np.ptp(self.heart[:, 0]) / thoracic_width(self.lungs))


def thoracic_width(lungs: dict[int, np.ndarray]) -> float:
    """Return the greatest width of the lung fields, chest units."""
    return lungs[LEFT][:, 0].max() - lungs[RIGHT][:, 0].min()


def _lung(
    rng: np.random.Generator, side: int, shape: Mapping[str, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return a lung's closed contour and its lateral border."""
    dome, angle, width = shape['dome'], shape['angle'], shape['width']
    top, taper = shape['top'], shape['taper']
    # Heights are given for a lung that reaches from 0 to 1.85.
    stretch = (dome + angle - top) / 1.85

    def at(x: float, y: float) -> tuple[float, float]:
        return (width * x, top + stretch * y)

    lateral = smooth(
        [
            at(0.43 * taper, 0.0),
            at(0.63 * taper, 0.09),
            at(0.80 * taper, 0.32),
            at(0.5 * (0.92 + 0.92 * taper), 0.68),
            at(0.98, 1.10),
            at(1.00, 1.50),
            at(shape['base'], 1.85),
        ]
        + rng.normal(0, 0.008, (7, 2)),
    )
    corner = lateral[-1]
    medial_x = shape['medial']
    peak = shape['peak']
    base = smooth(
        [
            corner,
            (corner[0] - 0.10 * width, dome + 0.50 * angle),
            (width * (peak + 0.18), dome + 0.07 * angle),
            (width * (peak - 0.02), dome),
            (width * (peak - 0.22), dome + 0.05 * angle),
            (medial_x, dome + shape['tilt'] * angle),
        ]
    )
    medial = smooth(
        [
            (medial_x, dome + shape['tilt'] * angle),
            (medial_x - 0.01, top + 0.70 * (dome - top)),
            (medial_x + 0.02, top + 0.40 * (dome - top)),
            (medial_x + 0.07, top + 0.18 * (dome - top)),
            at(0.30 * taper, 0.03),
            at(0.43 * taper, 0.0),
        ]
    )
    contour = np.concatenate([lateral, base[1:], medial[1:-1]])
    return mirror(contour, side), mirror(lateral, side)


def _heart(
    rng: np.random.Generator,
    ratio: float,
    thorax: float,
    shift: float,
    dome: Mapping[int, float],
) -> np.ndarray:
    """Return a heart contour of ``ratio`` times the thoracic width."""
    width = ratio * thorax
    right = width * rng.uniform(0.27, 0.40)
    left = width - right
    top = rng.uniform(0.62, 0.78)
    # The heart rests on the diaphragm, which hides its lower edge.
    low = dome[LEFT] + rng.uniform(0.06, 0.15)
    low_right = dome[RIGHT] + rng.uniform(0.08, 0.16)
    tall = min(low, low_right) - top
    round_ = rng.uniform(-0.04, 0.10)
    points = [
        (0.10, top),
        (0.17 + 0.25 * left, top + 0.20 * tall),
        (left * (0.66 + round_), top + 0.44 * tall),
        (left * 0.94, top + (0.68 - round_) * tall),
        (left, top + 0.84 * tall),
        (left * 0.80, low),
        (0.0, 0.5 * (low + low_right) + 0.08),
        (-right * 0.72, low_right),
        (-right, top + 0.68 * tall),
        (-right * 0.80, top + 0.38 * tall),
        (-0.12, top + 0.05 * tall),
    ]
    contour = smooth(points, closed=True)
    # The spline overshoots its points a little; set the width exactly.
    low_x, high_x = contour[:, 0].min(), contour[:, 0].max()
    contour[:, 0] *= width / (high_x - low_x)
    contour[:, 0] += shift
    return contour


def _body(
    rng: np.random.Generator, wall: float, habitus: float
) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray], float]:
    """Return the skin of neck, shoulders and trunk, the arms, their bones
    and how far the shoulders drop.
    """
    neck = rng.uniform(0.30, 0.42)
    drop = rng.uniform(-0.10, 0.12)
    side = []
    for sign in (LEFT, RIGHT):
        jitter = rng.normal(0, 0.02, (8, 2))
        side.append(
            mirror(
                [
                    (neck, -1.2),
                    (neck, -0.55),
                    (neck + 0.16, -0.26 + drop),
                    (1.00, -0.16 + drop),
                    (1.36 + wall, 0.05 + drop),
                    (1.30 + wall, 0.45 + drop),
                    (1.06 + wall, 0.75),
                    (1.05 + wall + 0.10 * habitus, 1.60),
                ]
                + jitter,
                sign,
            )
        )
    foot = 1.02 + wall + 0.22 * habitus
    left = np.concatenate([side[0], [(foot, 3.2)]])
    right = np.concatenate([side[1], [(-foot, 3.2)]])
    body = np.concatenate([smooth(left), smooth(right)[::-1]])
    spread = rng.uniform(0.0, 0.45, 2)
    arms, humeri = [], []
    for sign, out in ((LEFT, spread[0]), (RIGHT, spread[1])):
        shoulder = np.array([1.22 + wall, 0.12 + drop])
        elbow = np.array([1.42 + wall + out, 1.9])
        thick = 0.20 + 0.3 * wall
        arms.append(
            mirror(
                smooth(
                    [
                        shoulder + (-0.5 * thick, -0.05),
                        shoulder + (0.8 * thick, -0.05),
                        shoulder + (1.25 * thick, 0.35),
                        elbow + (thick, 0),
                        elbow + (-thick, 0),
                        shoulder + (-0.6 * thick, 0.55),
                    ],
                    closed=True,
                    per_span=4,
                ),
                sign,
            )
        )
        humeri.append(
            mirror(
                [
                    shoulder + (-0.04, -0.02),
                    shoulder + (0.03, 0.12),
                    elbow,
                ],
                sign,
            )
        )
    return body, arms, humeri, drop


def sample_anatomy(rng: np.random.Generator, enlarged: bool) -> Anatomy:
    """Draw a random chest.

    Position, tilt and magnification are not part of it: the hospital's
    view decides them (hospitals.py).

    Args:
        rng (np.random.Generator): Source of randomness.
        enlarged (bool): Whether the heart is enlarged (cardiothoracic
            ratio above 0.55; normal hearts stay below 0.5).

    Returns:
        Anatomy: Contours in chest units.
    """
    habitus = rng.uniform(0, 1)
    wall = 0.06 + 0.22 * habitus**1.5
    yaw = rng.uniform(-1, 1)
    dome = rng.uniform(1.22, 1.78)
    high_side = 0.10 + rng.normal(0, 0.11)
    shapes = {}
    for side in (RIGHT, LEFT):
        shapes[side] = dict(
            dome=dome + (max(0.0, side) * high_side),
            angle=rng.uniform(0.16, 0.40),
            width=1 + rng.normal(0, 0.025) + 0.03 * side * yaw,
            base=rng.uniform(0.93, 1.03),
            peak=rng.uniform(0.40, 0.60),
            tilt=rng.uniform(0.20, 0.55),
            medial=rng.uniform(0.13, 0.17),
            top=rng.normal(0, 0.02),
        )
    taper = rng.uniform(0.88, 1.06)
    lungs, lateral = {}, {}
    for side, shape in shapes.items():
        lungs[side], lateral[side] = _lung(rng, side, dict(shape, taper=taper))
    thorax = thoracic_width(lungs)
    ratio = rng.uniform(*(ENLARGED_RATIO if enlarged else NORMAL_RATIO))
    shift = 0.05 * yaw + rng.normal(0, 0.02)
    domes = {side: shapes[side]['dome'] for side in shapes}
    heart = _heart(rng, ratio, thorax, shift, domes)

    body, arms, humeri, drop = _body(rng, wall, habitus)
    bend = rng.normal(0, 0.03)
    spine = smooth(
        [(0, -1.0), (bend, 0.4), (-bend, 1.4), (0, 3.2)], per_span=6
    )
    spine[:, 0] += 0.03 * yaw
    knob = rng.uniform(0.16, 0.27)
    mid = 0.5 * shift
    mediastinum = smooth(
        [
            (mid + 0.14, -0.6),
            (mid + 0.16, 0.20),
            (mid + 0.17, 0.36),
            (mid + knob, 0.50),
            (mid + 0.17, 0.68),
            (mid + 0.20, 1.0),
            (mid + 0.20, 3.0),
            (mid - 0.18, 3.0),
            (mid - 0.16, 0.9),
            (mid - rng.uniform(0.13, 0.20), 0.45),
            (mid - 0.14, -0.6),
        ],
        closed=True,
        per_span=5,
    )
    windpipe = mid + rng.normal(0, 0.015)
    trachea = [
        smooth([(0.5 * windpipe, -0.9), (windpipe, -0.2), (windpipe, 0.55)]),
        smooth([(windpipe, 0.52), (mid - 0.10, 0.70), (mid - 0.20, 0.82)]),
        smooth([(windpipe, 0.52), (mid + 0.12, 0.68), (mid + 0.24, 0.76)]),
    ]
    hila = {
        RIGHT: np.array([mid - 0.23, 0.84 + rng.normal(0, 0.03)]),
        LEFT: np.array([mid + 0.25, 0.78 + rng.normal(0, 0.03)]),
    }
    widths = {side: shapes[side]['width'] * 1.01 for side in shapes}
    low = 0.5 * (domes[RIGHT] + domes[LEFT]) + 0.25
    posterior, anterior = sample_ribs(rng, widths, 0.02, low)
    clavicles, scapulae = sample_girdle(rng, drop, yaw)

    breasts: list[Ellipse] = []
    if rng.random() < 0.45:
        sag, large = rng.uniform(1.15, 1.75), rng.uniform(0.30, 0.52)
        for side in (RIGHT, LEFT):
            centre = (side * rng.uniform(0.55, 0.72), sag - 0.8 * large)
            breasts.append((centre, (large, large * rng.uniform(0.9, 1.3))))
    gas: list[Ellipse] = []
    if rng.random() < 0.65:
        gas.append(
            (
                (rng.uniform(0.30, 0.65), domes[LEFT] + 0.22),
                (rng.uniform(0.10, 0.26), rng.uniform(0.06, 0.12)),
            )
        )
    for _ in range(rng.integers(0, 4)):
        gas.append(
            (
                (rng.uniform(-0.8, 0.8), low + rng.uniform(0.25, 0.8)),
                tuple(rng.uniform(0.05, 0.13, 2)),
            )
        )
    return Anatomy(
        body=body,
        arms=arms,
        lungs=lungs,
        lateral=lateral,
        dome=domes,
        heart=heart,
        mediastinum=mediastinum,
        trachea=trachea,
        hila=hila,
        posterior_ribs=posterior,
        anterior_ribs=anterior,
        clavicles=clavicles,
        scapulae=scapulae,
        humeri=humeri,
        vertebrae=sample_vertebrae(rng, spine),
        spine=spine,
        breasts=breasts,
        gas=gas,
        wall=wall,
    )
