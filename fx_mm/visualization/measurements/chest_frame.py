"""Where things lie in a frontal chest X-ray: side and zone.

Side and zone are the patient's: the patient's left is at the image's right,
as X-rays are shown, unless the file says otherwise.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from fx_mm.image_io.dicom_geometry import Geometry

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels, the last two exclusive."""

LEFT, RIGHT, BOTH, UNKNOWN = 'left', 'right', 'both', 'unknown'
ZONES = ('upper', 'middle', 'lower')
ONE_SIDE = 0.75
"""Share of an extent on one side of the middle from which on it lies
there."""
SAME = 0.3
"""IoU of two boxes that show one thing."""
LEAST_AREA = 0.01
"""Of a lung or heart, as a share of the image."""
LEAST_PIECE = 0.8
"""Share of a mask that its largest piece has."""
LEAST_RATIO = 0.2
"""Area of the smaller lung by that of the larger."""


class Place(NamedTuple):
    """Where a box or mask lies.

    Attributes:
        side (str): The patient's ``left`` or ``right``, ``both``, or
            ``unknown``.
        zone (str): ``upper``, ``middle`` or ``lower`` third of the lung's
            height, or ``unknown``.
        by (str): What says so: ``lung masks`` or ``image halves``.
        reason (str): Why side or zone is unknown.
    """

    side: str
    zone: str
    by: str
    reason: str = ''


@dataclass(frozen=True)
class Region:
    """A mask that passed the checks, or why it did not.

    Attributes:
        mask (np.ndarray): bool (H, W), its largest piece.
        box (tuple[float]): Its extent.
        refusal (str): '' for a mask that can be measured.
    """

    mask: np.ndarray
    box: Box
    refusal: str = ''


@dataclass(frozen=True)
class ChestFrame:
    """The two lungs of an image, or its halves where they are not known.

    Attributes:
        size (tuple[int]): Height and width in pixels.
        left_at (str): Edge of the image towards the patient's left,
            ``left`` or ``right``.
        lungs (dict): Side to its :class:`Region`; empty without masks that
            can be used.
        refusal (str): Why there are no lungs.
        task (str): The task whose masks they are.
        unusable (str): Why the image has no sides at all; '' if it has.
        said (bool): Whether the file says where the patient's left is.
    """

    size: tuple[int, int]
    left_at: str
    lungs: dict[str, Region]
    refusal: str = ''
    task: str = ''
    unusable: str = ''
    said: bool = False

    @property
    def middle(self) -> float:
        """float: x that parts the sides: between the lungs' centres."""
        if not self.lungs:
            return self.size[1] / 2
        centres = [_centre(lung.mask)[0] for lung in self.lungs.values()]
        return float(np.mean(centres))

    def locate(self, box: Box) -> Place:
        """Return side and zone of an extent.

        Args:
            box (tuple[float]): Of a box or of a mask.

        Returns:
            Place: ``both`` where less than three quarters of its width are
            on one side.
        """
        if self.unusable:
            return Place(UNKNOWN, UNKNOWN, 'nothing', self.unusable)
        x1, y1, x2, y2 = box
        width = max(x2 - x1, 1e-6)
        at_right = float(np.clip((x2 - self.middle) / width, 0, 1))
        side = BOTH
        if max(at_right, 1 - at_right) >= ONE_SIDE:
            edge = 'right' if at_right > 0.5 else 'left'
            side = LEFT if edge == self.left_at else RIGHT
        if not self.lungs:
            return Place(side, UNKNOWN, 'image halves', self.refusal)
        own = [self.lungs[s].box for s in (LEFT, RIGHT) if side in (s, BOTH)]
        top, bottom = min(b[1] for b in own), max(b[3] for b in own)
        depth = ((y1 + y2) / 2 - top) / (bottom - top)
        zone = ZONES[int(np.clip(depth * len(ZONES), 0, len(ZONES) - 1))]
        return Place(side, zone, 'lung masks')


def make_frame(
    size: tuple[int, int],
    geometry: Geometry,
    lungs: dict[str, np.ndarray] | None = None,
    task: str = '',
) -> ChestFrame:
    """Return the frame of an image.

    Args:
        size (tuple[int]): Height and width in pixels.
        geometry (Geometry): What the file says of directions.
        lungs (dict, optional): ``left`` and ``right`` to a mask, bool (H, W);
            or ``lung`` to one of both. Defaults to None.
        task (str): Whose masks they are. Defaults to ''.

    Returns:
        ChestFrame: Without lungs where the masks fail a check, and why.
    """
    left_at = geometry.left_at or 'right'
    said = bool(geometry.left_at)
    if geometry.refusal:
        why = geometry.refusal
        return ChestFrame(size, left_at, {}, why, task, why, said)
    if not lungs:
        why = 'no task draws the lungs'
        return ChestFrame(size, left_at, {}, why, said=said)
    if 'lung' in lungs:
        lungs, why = _split(lungs['lung'], left_at)
        if why:
            return ChestFrame(size, left_at, {}, why, task, said=said)
    regions = {
        side: check_mask(lungs[side], f'the {side} lung')
        for side in (LEFT, RIGHT)
    }
    why = next((r.refusal for r in regions.values() if r.refusal), '')
    if why:
        return ChestFrame(size, left_at, {}, why, task, said=said)
    apart, why = _check_pair(regions, left_at)
    if why:
        unusable = '' if apart else why
        return ChestFrame(size, left_at, {}, why, task, unusable, said)
    return ChestFrame(size, left_at, regions, '', task, said=said)


def check_mask(mask: np.ndarray, what: str) -> Region:
    """Check the mask of an organ that is in one piece.

    Args:
        mask (np.ndarray): bool (H, W).
        what (str): For the refusal, such as ``the heart``.

    Returns:
        Region: Its largest piece.
    """
    area = int(np.count_nonzero(mask))
    if area < LEAST_AREA * mask.size:
        has = f'{area / mask.size:.1%} of the image' if area else 'no pixels'
        return Region(mask, (0, 0, 0, 0), f'the mask of {what} has {has}')
    (largest, *_), _ = pieces(mask)
    share = largest.sum() / area
    why = ''
    if share < LEAST_PIECE:
        why = f'the mask of {what} is in pieces, the largest {share:.0%} of it'
    return Region(largest, extent(largest), why)


def pieces(mask: np.ndarray, least: int = 1) -> tuple[list[np.ndarray], int]:
    """Return the connected pieces of a mask, the largest first.

    Args:
        mask (np.ndarray): bool (H, W).
        least (int): Pixels of a piece. Defaults to 1.

    Returns:
        tuple: bool masks, and the number of those that are smaller.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=8
    )
    areas = stats[1:, cv2.CC_STAT_AREA]
    order = [int(i) for i in np.argsort(-areas, kind='stable')]
    kept = [labels == i + 1 for i in order if areas[i] >= least]
    return kept, count - 1 - len(kept)


def extent(mask: np.ndarray) -> Box:
    """Return the box of a mask that has pixels."""
    columns = np.flatnonzero(mask.any(axis=0))
    rows = np.flatnonzero(mask.any(axis=1))
    return (
        float(columns[0]),
        float(rows[0]),
        float(columns[-1] + 1),
        float(rows[-1] + 1),
    )


def overlap(one: Box, other: Box) -> float:
    """Return the IoU of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    both = max(width, 0.0) * max(height, 0.0)
    areas = ((b[2] - b[0]) * (b[3] - b[1]) for b in (one, other))
    union = sum(areas) - both
    return both / union if union > 0 else 0.0


def _centre(mask: np.ndarray) -> tuple[float, float]:
    rows, columns = np.nonzero(mask)
    return float(columns.mean()) + 0.5, float(rows.mean()) + 0.5


def _split(
    mask: np.ndarray, left_at: str
) -> tuple[dict[str, np.ndarray], str]:
    """Part one mask of both lungs by where its two largest pieces lie."""
    found, _ = pieces(mask)
    if len(found) < 2 or found[1].sum() < LEAST_RATIO * found[0].sum():
        return {}, 'the mask of the lungs is not in two pieces'
    both = found[0].sum() + found[1].sum()
    if both < LEAST_PIECE * mask.sum():
        return {}, 'the mask of the lungs is in pieces'
    one, other = sorted(found[:2], key=lambda m: _centre(m)[0])
    if left_at == 'right':
        one, other = other, one
    return {LEFT: one, RIGHT: other}, ''


def _check_pair(lungs: dict[str, Region], left_at: str) -> tuple[bool, str]:
    """Return whether each lung is on its side, and why they are no pair."""
    (left, _), (right, _) = (_centre(lungs[s].mask) for s in (LEFT, RIGHT))
    widths = [lung.box[2] - lung.box[0] for lung in lungs.values()]
    apart = left - right if left_at == 'right' else right - left
    if apart < 0.5 * min(widths):
        return False, (
            "the mask of the left lung is not at the image's "
            f"{left_at} of the right lung's"
        )
    areas = sorted(int(lung.mask.sum()) for lung in lungs.values())
    if areas[0] < LEAST_RATIO * areas[1]:
        return True, 'one lung is less than a fifth of the other'
    return True, ''
