"""Bones of a random chest, in chest units (see canvas.py)."""

from collections.abc import Mapping

import numpy as np

from fx_mm.phantom.canvas import LEFT, RIGHT, mirror, smooth


def sample_ribs(
    rng: np.random.Generator,
    widths: Mapping[int, float],
    top: float,
    bottom: float,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Draw the ribs of both sides.

    Args:
        rng (np.random.Generator): Source of randomness.
        widths (Mapping): Side -> half width of the thorax, chest units.
        top (float): y of the first rib.
        bottom (float): y of the tenth rib.

    Returns:
        tuple[list, list]: Open curves (n, 2) of the posterior ribs, which
        go on to the bend at the wall, and of the anterior ones from there.
    """
    posterior, anterior = [], []
    step = (bottom - top) / 9.2
    slope = rng.uniform(0.22, 0.40)
    for side in (RIGHT, LEFT):
        lean = rng.normal(0, 0.03)
        for rib in range(10):
            y = top + step * (rib - 0.35) + rng.normal(0, 0.008)
            reach = min(1.0, 0.56 + 0.13 * rib) * widths[side]
            fall = slope * (0.65 + 0.05 * rib) + lean
            posterior.append(
                mirror(
                    smooth(
                        [
                            (0.10, y + 0.03),
                            (0.28 * reach, y - 0.035),
                            (0.58 * reach, y + 0.02),
                            (0.86 * reach, y + 0.5 * fall),
                            (0.985 * reach, y + fall),
                            (0.96 * reach, y + fall + 0.11),
                        ],
                        per_span=4,
                    ),
                    side,
                )
            )
            if rib >= 8:
                continue
            bend = y + fall
            end = (0.50 + 0.02 * rib) * reach
            anterior.append(
                mirror(
                    smooth(
                        [
                            (0.96 * reach, bend + 0.11),
                            (0.5 * (0.9 * reach + end), bend + 0.33),
                            (end, bend + 0.42),
                        ],
                        per_span=4,
                    ),
                    side,
                )
            )
    return posterior, anterior


def sample_girdle(
    rng: np.random.Generator, drop: float, yaw: float
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Draw the shoulder girdle.

    Args:
        rng (np.random.Generator): Source of randomness.
        drop (float): How far the shoulders hang, chest units.
        yaw (float): Turn of the patient, -1 to 1; it moves the inner ends
            of the clavicles.

    Returns:
        tuple[list, list]: Open curves of the clavicles and closed ones of
        the scapulae.
    """
    clavicles, scapulae = [], []
    for side in (RIGHT, LEFT):
        lift = drop + rng.normal(0, 0.03)
        inner = 0.13 + 0.05 * side * yaw
        clavicles.append(
            mirror(
                smooth(
                    [
                        (inner, 0.24 + 0.5 * lift),
                        (0.36, 0.17 + 0.7 * lift),
                        (0.68, 0.05 + lift),
                        (1.02, -0.04 + lift),
                        (1.20, 0.00 + lift),
                    ],
                    per_span=5,
                ),
                side,
            )
        )
        out = rng.uniform(-0.06, 0.16)
        scapulae.append(
            mirror(
                smooth(
                    [
                        (0.90 + out, 0.02 + lift),
                        (1.15 + out, 0.10 + lift),
                        (1.20 + out, 0.32 + lift),
                        (1.08 + out, 0.80 + lift),
                        (0.98 + out, 1.12 + lift),
                        (0.86 + out, 0.62 + lift),
                    ],
                    closed=True,
                    per_span=5,
                ),
                side,
            )
        )
    return clavicles, scapulae


def sample_vertebrae(
    rng: np.random.Generator, axis: np.ndarray
) -> list[list[tuple[float, float]]]:
    """Draw the vertebral bodies.

    Args:
        rng (np.random.Generator): Source of randomness.
        axis (np.ndarray): Centre line of the spine, (n, 2), y ascending.

    Returns:
        list: A quadrilateral for each body.
    """
    bodies = []
    height = rng.uniform(0.150, 0.175)
    for level in range(-4, 16):
        y = level * height
        centre = np.interp(y, axis[:, 1], axis[:, 0])
        half = 0.105 + 0.0022 * (level + 4)
        bodies.append(
            [
                (centre - half, y + 0.02),
                (centre + half, y + 0.02),
                (centre + half, y + height - 0.02),
                (centre - half, y + height - 0.02),
            ]
        )
    return bodies
