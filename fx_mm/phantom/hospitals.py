"""Three hospitals: how they frame, expose and print a chest X-ray.

A has a modern digital room, B portable units, C scanned films. They also
annotate differently: A image labels only, B labels, boxes and reports, C
labels, boxes, masks, the cardiothoracic ratio and reports.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from fx_mm.phantom.anatomy import Anatomy
from fx_mm.phantom.canvas import LEFT, RIGHT, Canvas

Range = tuple[float, float]

_STRENGTH = 1.5
"""Natural logarithms per unit of a scene's attenuation."""


@dataclass(frozen=True)
class Hospital:
    """Framing, exposure and annotation habits of one hospital.

    Ranges are of uniform draws, sigmas of normal ones.
    """

    name: str
    annotations: tuple[str, ...]
    coverage: Range
    """Width of the lungs over the image's width."""
    aspect: Range
    """Horizontal over vertical magnification (images are made square)."""
    tilt: float
    """Sigma of the rotation in degrees."""
    black: Range
    white: Range
    """Attenuations shown as black and as white."""
    gamma: Range
    contrast: Range
    """Steepness of the S-shaped tone curve; 0 is a straight line."""
    noise: Range
    """Sigma of the quantum noise behind an attenuation of 0."""
    grain: float
    """Size of the noise grain, pixels of sigma at 128 pixels."""
    unsharp: Range
    """Sigma of the blur, pixels at 128 pixels."""
    scatter: Range
    """Scattered over unattenuated radiation."""
    collimated: float
    """Probability of a collimation border."""
    border: Range
    """Grey value of that border, 0 to 1."""
    vignette: Range
    levels: tuple[int, ...]
    """Numbers of grey levels of the hospital's printers or archives."""
    marker: float
    """Probability of a side marker."""
    texts: tuple[str, ...]
    """What else is printed into the image."""
    leads: float
    """Probability of ECG leads."""


HOSPITALS = {
    'a': Hospital(
        name='hospital_a',
        annotations=('labels',),
        coverage=(0.66, 0.93),
        aspect=(0.84, 1.16),
        tilt=3.0,
        black=(0.02, 0.22),
        white=(1.10, 1.40),
        gamma=(0.85, 1.35),
        contrast=(1.2, 3.0),
        noise=(0.006, 0.014),
        grain=0.0,
        unsharp=(0.15, 0.45),
        scatter=(0.03, 0.07),
        collimated=0.35,
        border=(0.0, 0.04),
        vignette=(0.0, 0.05),
        levels=(256,),
        marker=0.85,
        texts=(),
        leads=0.03,
    ),
    'b': Hospital(
        name='hospital_b',
        annotations=('labels', 'boxes', 'reports'),
        coverage=(0.64, 0.90),
        aspect=(0.82, 1.18),
        tilt=5.0,
        black=(0.00, 0.30),
        white=(1.10, 1.45),
        gamma=(0.65, 1.10),
        contrast=(0.4, 1.8),
        noise=(0.009, 0.020),
        grain=0.55,
        unsharp=(0.30, 0.65),
        scatter=(0.07, 0.14),
        collimated=0.75,
        border=(0.0, 0.10),
        vignette=(0.0, 0.10),
        levels=(256, 64),
        marker=0.6,
        texts=('AP', 'PORT', 'SUPINE'),
        leads=0.30,
    ),
    'c': Hospital(
        name='hospital_c',
        annotations=('labels', 'boxes', 'masks', 'numbers', 'reports'),
        coverage=(0.72, 0.97),
        aspect=(0.85, 1.15),
        tilt=3.0,
        black=(-0.55, -0.05),
        white=(0.95, 1.2),
        gamma=(0.80, 1.50),
        contrast=(0.0, 1.4),
        noise=(0.008, 0.020),
        grain=0.75,
        unsharp=(0.30, 0.70),
        scatter=(0.05, 0.10),
        collimated=0.45,
        border=(0.75, 1.0),
        vignette=(0.05, 0.22),
        levels=(256, 48),
        marker=0.7,
        texts=('PA', 'A.P.', '12'),
        leads=0.02,
    ),
}


def sample_canvas(
    rng: np.random.Generator,
    hospital: Hospital,
    anatomy: Anatomy,
    size: int,
    difficulty: float,
) -> Canvas:
    """Frame a chest: magnification, aspect, tilt and position.

    The lungs stay inside the image except for a sliver at its border.

    Args:
        rng (np.random.Generator): Source of randomness.
        hospital (Hospital): Its habits.
        anatomy (Anatomy): The chest to frame.
        size (int): Pixels of the canvas along an edge.
        difficulty (float): 0 to 1; more tilt when harder.

    Returns:
        Canvas: The pixel grid with its map from chest units.
    """
    aspect = rng.uniform(*hospital.aspect)
    tilt = np.radians(rng.normal(0, hospital.tilt * (1 + 0.6 * difficulty)))
    shear = rng.normal(0, 0.02)
    turn = np.array(
        [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
    )
    linear = turn @ np.array([[aspect**0.5, shear], [0, aspect**-0.5]])
    lungs = np.concatenate(
        [anatomy.lungs[RIGHT], anatomy.lungs[LEFT]] + [anatomy.heart]
    )
    shape = lungs @ linear.T
    low, high = shape.min(axis=0), shape.max(axis=0)
    extent = high - low
    share = rng.uniform(*hospital.coverage)
    # Tall chests are limited by the image's height.
    scale = min(share * size / extent[0], 0.97 * size / extent[1])
    sliver = 0.02 * size
    slack = np.maximum(size - scale * extent, 0)
    # Technologists centre, so the middle is more likely than the edge.
    where = rng.beta(1.7, 1.7, 2)
    corner = where * (slack + 2 * sliver) - sliver
    return Canvas(size, scale * linear, corner - scale * low)


def expose(
    rng: np.random.Generator,
    hospital: Hospital,
    attenuation: np.ndarray,
    difficulty: float,
) -> np.ndarray:
    """Turn an attenuation image into grey values.

    Args:
        rng (np.random.Generator): Source of randomness.
        hospital (Hospital): Its habits.
        attenuation (np.ndarray): float32 (n, n), 0 in plain air.
        difficulty (float): 0 to 1; more noise and blur when harder.

    Returns:
        np.ndarray: float32 (n, n), 0 (black) to 1 (white).
    """
    size = len(attenuation)
    pixel = size / 128
    # Scatter reaches the detector everywhere: dense regions lose contrast.
    scatter = rng.uniform(*hospital.scatter)
    film: np.ndarray = -np.log(np.exp(-_STRENGTH * attenuation) + scatter)
    film += math.log1p(scatter)
    film *= 1 / _STRENGTH
    sigma = rng.uniform(*hospital.unsharp) * (1 + 0.5 * difficulty) * pixel
    film = cv2.GaussianBlur(film, (0, 0), max(sigma, 0.1))

    # Fewer photons behind dense tissue: noise grows with attenuation.
    noise: np.ndarray = rng.standard_normal((size, size), dtype=np.float32)
    if hospital.grain:
        grain = hospital.grain * pixel
        noise = cv2.GaussianBlur(noise, (0, 0), grain)
        noise = noise * (2 * math.sqrt(math.pi) * grain)
    amount = rng.uniform(*hospital.noise) * (1 + 1.5 * difficulty)
    film = film + noise * (amount * (0.7 + 0.8 * film))

    black, white = rng.uniform(*hospital.black), rng.uniform(*hospital.white)
    grey = np.clip((film - black) / (white - black), 0, 1)
    steep = rng.uniform(*hospital.contrast)
    if steep > 0.05:
        centre = rng.uniform(0.42, 0.58)
        low, high = (
            math.tanh(-steep * centre),
            math.tanh(steep - steep * centre),
        )
        grey = (np.tanh(steep * (grey - centre)) - low) / (high - low)
    grey = np.maximum(grey, 0) ** rng.uniform(*hospital.gamma)
    depth = rng.uniform(*hospital.vignette)
    if depth > 0.01:
        axis = np.linspace(-1, 1, size, dtype=np.float32) ** 2
        corner = 0.5 * (axis[:, None] + axis)
        grey *= 1 - depth * corner
    return grey.astype(np.float32)


def _print_text(
    image: np.ndarray,
    text: str,
    origin: tuple[float, float],
    scale: float,
    value: float,
) -> None:
    # OpenCV 5 writes on 8 bits alone, and older ones smooth on 8 bits alone
    letters = np.zeros(image.shape, np.uint8)
    cv2.putText(
        letters,
        text,
        (int(origin[0]), int(origin[1])),
        cv2.FONT_HERSHEY_SIMPLEX,
        scale,
        255,
        max(1, round(scale * 2)),
    )
    image[letters > 127] = value


def _draw_leads(rng: np.random.Generator, image: np.ndarray) -> None:
    size = len(image)
    for _ in range(rng.integers(1, 4)):
        start = rng.uniform(0.05, 0.95, 2) * size
        end = np.array([rng.uniform(0, 1), rng.choice([0.0, 1.0])]) * size
        middle = 0.5 * (start + end) + rng.normal(0, 0.1, 2) * size
        t = np.linspace(0, 1, 12)[:, None]
        curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * end
        over = image.copy()
        points = [np.round(curve * 16).astype(np.int32)]
        width = max(1, round(size / 128))
        cv2.polylines(over, points, False, 1.0, width, cv2.LINE_AA, 4)
        pad = tuple(int(v) for v in np.round(start * 16))
        radius = int(size * rng.uniform(0.012, 0.020) * 16)
        cv2.circle(over, pad, radius, 1.0, -1, cv2.LINE_AA, 4)
        image += 0.5 * (over - image)


def finish(
    rng: np.random.Generator,
    hospital: Hospital,
    grey: np.ndarray,
    keep: tuple[int, int, int, int],
    difficulty: float,
) -> np.ndarray:
    """Add collimation, markers and leads, and store as 8-bit grey.

    Args:
        rng (np.random.Generator): Source of randomness.
        hospital (Hospital): Its habits.
        grey (np.ndarray): float32 (n, n), 0 to 1; changed in place.
        keep (tuple[int]): ``(x1, y1, x2, y2)`` in pixels that collimation
            leaves uncovered: the lungs and heart.
        difficulty (float): 0 to 1; more leads when harder.

    Returns:
        np.ndarray: uint8 (n, n).
    """
    size = len(grey)
    if rng.random() < hospital.leads + 0.2 * difficulty:
        _draw_leads(rng, grey)
    x1, y1, x2, y2 = np.clip(keep, 0, size)
    left = rng.uniform(0, max(x1, 0.0))
    right = rng.uniform(min(x2, size), size)
    top = rng.uniform(0, max(y1, 0.0))
    bottom = rng.uniform(min(y2, size), size)
    if rng.random() < hospital.collimated:
        frame = np.array(
            [[left, top], [right, top], [right, bottom], [left, bottom]]
        )
        inside: np.ndarray = np.zeros((size, size), np.float32)
        points = np.round(frame * 16).astype(np.int32)
        cv2.fillPoly(inside, [points], 1.0, cv2.LINE_AA, 4)
        inside = cv2.GaussianBlur(inside, (0, 0), 0.5 * size / 128)
        shade = rng.uniform(*hospital.border)
        grey = grey * inside + shade * (1 - inside)
    value = rng.uniform(0.85, 1.0)
    scale = size / 128 * rng.uniform(0.28, 0.42)
    if rng.random() < hospital.marker:
        row = rng.uniform(0.08, 0.30) * size
        if rng.random() < 0.7:
            spot, text = (rng.uniform(0.02, 0.10) * size, row), 'R'
        else:
            spot, text = (rng.uniform(0.86, 0.92) * size, row), 'L'
        _print_text(grey, text, spot, scale, value)
    if hospital.texts and rng.random() < 0.5:
        text = hospital.texts[rng.integers(len(hospital.texts))]
        row = rng.uniform(0.07, 0.12) if rng.random() < 0.5 else 0.97
        spot = (rng.uniform(0.02, 0.70) * size, row * size)
        _print_text(grey, text, spot, 0.8 * scale, value)
    levels = hospital.levels[rng.integers(len(hospital.levels))]
    steps = np.round(np.clip(grey, 0, 1) * (levels - 1))
    return np.round(steps * (255 / (levels - 1))).astype(np.uint8)
