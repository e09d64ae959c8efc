"""A finding with what it rests on."""

import cv2
import numpy as np

from fx_mm.visualization.contact_sheet import color_of
from fx_mm.visualization.text import Color
from fx_mm.visualization.tiles import caption_below

HEAT = 0.45
"""How strongly the warmest place of a map is coloured."""


def draw_heat(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Colour an image by a map.

    Args:
        image (np.ndarray): uint8 (H, W).
        heat (np.ndarray): (H, W), at least 0; its largest value is warmest.

    Returns:
        np.ndarray: uint8 RGB (H, W, 3).
    """
    top = heat.max()
    share = heat / top if top > 0 else np.zeros_like(heat)
    colors = cv2.applyColorMap(
        (share * 255).astype(np.uint8), cv2.COLORMAP_JET
    )
    alpha = HEAT * share[..., None]
    mixed = image[..., None] * (1 - alpha) + colors[..., ::-1] * alpha
    return mixed.round().astype(np.uint8)


def draw_points(
    image: np.ndarray,
    box: np.ndarray,
    points: np.ndarray,
    shares: np.ndarray,
    color: Color,
) -> np.ndarray:
    """Draw a box and the points that it was found by.

    Args:
        image (np.ndarray): uint8 (H, W).
        box (np.ndarray): x1, y1, x2, y2 in pixels (4,).
        points (np.ndarray): x and y in pixels (n, 2); those outside are not
            seen.
        shares (np.ndarray): How much each counts (n,): its size.
        color (tuple[int]): Of the box.

    Returns:
        np.ndarray: uint8 RGB (H, W, 3).
    """
    picture = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    line = max(round(max(image.shape) / 400), 1)
    x1, y1, x2, y2 = np.round(box).astype(int).tolist()
    cv2.rectangle(picture, (x1, y1), (x2, y2), color, line)
    order = np.argsort(shares)
    largest = max(image.shape) / 90
    warmth = cv2.applyColorMap(
        (shares / shares.max() * 255).astype(np.uint8), cv2.COLORMAP_JET
    )[:, 0, ::-1]
    for index in order:
        radius = largest * float(shares[index] / shares.max()) ** 0.5
        cv2.circle(
            picture,
            np.round(points[index]).astype(int),
            max(round(radius), 1),
            warmth[index].tolist(),
            -1,
            cv2.LINE_AA,
        )
    return picture


def draw_finding(
    image: np.ndarray,
    task: str,
    label: str,
    score: float,
    heat: np.ndarray | None = None,
    box: np.ndarray | None = None,
    points: np.ndarray | None = None,
    shares: np.ndarray | None = None,
    size: int = 512,
) -> np.ndarray:
    """Draw a finding with its map or its points, and a caption.

    Args:
        image (np.ndarray): uint8 (H, W).
        task (str): Name of the task.
        label (str): Name of the class.
        score (float): Of the finding.
        heat (np.ndarray, optional): See :func:`draw_heat`.
        box (np.ndarray, optional): See :func:`draw_points`, as the others.
        points (np.ndarray, optional): Points.
        shares (np.ndarray, optional): How much they count.
        size (int): Width of the picture. Defaults to 512.

    Returns:
        np.ndarray: uint8 RGB.
    """
    factor = size / image.shape[1]
    shape = (size, max(round(image.shape[0] * factor), 1))
    image = cv2.resize(image, shape, interpolation=cv2.INTER_AREA)
    color = color_of(label)
    if heat is not None:
        picture = draw_heat(image, cv2.resize(heat, shape))
    elif box is not None and points is not None and shares is not None:
        picture = draw_points(
            image, box * factor, points * factor, shares, color
        )
    else:
        raise ValueError('a finding has a map, or a box with points')
    return caption_below(picture, f'{score:.2f}  {task}', label, color)
