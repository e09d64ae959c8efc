"""Findings drawn into a scene, each with its mask.

Every function takes the scene, a generator and a mask of pixels that are
taken by other findings, changes the scene and returns the masks (bool, one
per instance, on the scene's canvas). ``ease`` runs from 1 (easy) to 0 (hard)
and steers size and contrast.
"""

from collections.abc import Callable

import cv2
import numpy as np

from fx_mm.phantom.canvas import LEFT, RIGHT, smooth, unit
from fx_mm.phantom.hospitals import Range
from fx_mm.phantom.scene import Scene

FINDINGS = (
    'Nodule',
    'Mass',
    'Consolidation',
    'Pleural effusion',
    'Pneumothorax',
    'Cardiomegaly',
)


def _between(
    rng: np.random.Generator, hard: Range, easy: Range, ease: float
) -> float:
    """Draw uniformly from a range that slides from hard to easy."""
    low = hard[0] + (easy[0] - hard[0]) * ease
    high = hard[1] + (easy[1] - hard[1]) * ease
    return rng.uniform(low, high)


def _pick_centre(
    rng: np.random.Generator, allowed: np.ndarray, margin: float
) -> tuple[int, int]:
    """Draw a pixel (x, y) at least ``margin`` pixels inside a mask."""
    allowed = allowed.copy()
    # A lesion that the image's border cuts off would be hard to recognise.
    allowed[[0, -1]] = 0
    allowed[:, [0, -1]] = 0
    depth = cv2.distanceTransform(allowed, cv2.DIST_L2, 3)
    # Where no place is deep enough, take the deepest ones.
    limit = min(margin, 0.9 * float(depth.max()))
    spots = np.flatnonzero(depth >= max(limit, 1))
    y, x = divmod(int(spots[rng.integers(len(spots))]), allowed.shape[1])
    return x, y


def _largest(mask: np.ndarray) -> np.ndarray:
    """Return the largest connected component of a mask."""
    count, components, stats, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=4
    )
    if count < 3:
        return mask
    return components == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()


def _free_field(scene: Scene, taken: np.ndarray) -> np.ndarray:
    field = cv2.max(scene.lungs[RIGHT], scene.lungs[LEFT])
    # Where little air is in the way, a lesion would not show.
    aerated = (field > 127) & (scene.aeration > 0.45)
    free = (aerated & ~taken).astype(np.uint8)
    return free if free.any() else (field > 127).astype(np.uint8)


def _round_lesion(
    scene: Scene,
    rng: np.random.Generator,
    centre: tuple[int, int],
    radius: float,
    wobble: float,
    edge: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return thickness (0..1) and mask of a lesion of irregular outline.

    Args:
        scene (Scene): Has the canvas.
        rng (np.random.Generator): Source of randomness.
        centre (tuple): Pixel (x, y).
        radius (float): In pixels.
        wobble (float): Irregularity of the outline, share of the radius.
        edge (float): Blur of the outline, share of the radius.
    """
    turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    profile = np.ones(20)
    for wave in range(2, 6):
        phase = rng.uniform(0, 2 * np.pi)
        profile += rng.normal(0, wobble / wave) * np.cos(wave * turn + phase)
    squeeze, tilt = rng.uniform(0.85, 1.18), rng.uniform(0, np.pi)
    x = radius * profile * np.cos(turn) * squeeze
    y = radius * profile * np.sin(turn) / squeeze
    outline = np.stack(
        [
            centre[0] + x * np.cos(tilt) - y * np.sin(tilt),
            centre[1] + x * np.sin(tilt) + y * np.cos(tilt),
        ],
        axis=1,
    )
    outline = smooth(outline, closed=True, per_span=3)
    layer = scene.canvas.blank()
    cv2.fillPoly(
        layer, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, 4
    )
    mask = layer > 127
    solid = cv2.threshold(layer, 127, 255, cv2.THRESH_BINARY)[1]
    depth = cv2.distanceTransform(solid, cv2.DIST_L2, 3) / (0.8 * radius)
    thick = np.sqrt(np.clip(depth * (2 - depth), 0, 1))
    thick[depth >= 1] = 1
    return cv2.GaussianBlur(thick, (0, 0), max(edge * radius, 0.6)), mask


def _lesions(
    scene: Scene,
    rng: np.random.Generator,
    taken: np.ndarray,
    number: int,
    radius: Callable[[], float],
    contrast: float,
    wobble: float,
    edge: float,
) -> list[np.ndarray]:
    masks = []
    for _ in range(number):
        pixels = radius() * scene.canvas.scale
        centre = _pick_centre(rng, _free_field(scene, taken), 0.9 * pixels)
        thick, mask = _round_lesion(scene, rng, centre, pixels, wobble, edge)
        scene.aeration *= 1 - 0.45 * contrast * thick
        scene.extra += 0.36 * contrast * thick
        masks.append(mask)
        taken = taken | mask
    return masks


def add_nodule(
    scene: Scene, rng: np.random.Generator, taken: np.ndarray
) -> list[np.ndarray]:
    """One or two small, round, well-defined opacities (1.6 to 2.1 cm)."""
    ease = 1 - scene.difficulty
    return _lesions(
        scene,
        rng,
        taken,
        number=1 + (rng.random() < 0.15),
        radius=lambda: _between(rng, (0.06, 0.11), (0.120, 0.155), ease),
        contrast=_between(rng, (0.35, 0.60), (0.85, 1.15), ease),
        wobble=0.05,
        edge=0.13,
    )


def add_mass(
    scene: Scene, rng: np.random.Generator, taken: np.ndarray
) -> list[np.ndarray]:
    """A large opacity with a lobulated outline (above 3 cm across)."""
    ease = 1 - scene.difficulty
    return _lesions(
        scene,
        rng,
        taken,
        number=1,
        radius=lambda: _between(rng, (0.15, 0.22), (0.220, 0.285), ease),
        contrast=_between(rng, (0.40, 0.70), (0.85, 1.20), ease),
        wobble=0.16,
        edge=0.10,
    )


def add_consolidation(
    scene: Scene, rng: np.random.Generator, taken: np.ndarray
) -> list[np.ndarray]:
    """Airspace filling: ill-defined, patchy, with dark air bronchograms."""
    canvas, ease = scene.canvas, 1 - scene.difficulty
    side = RIGHT if rng.random() < 0.55 else LEFT
    lung = scene.lungs[side]
    free = ((lung > 127) & ~taken).astype(np.uint8)
    if free.sum() < 0.3 * (lung > 127).sum():
        side = -side
        lung = scene.lungs[side]
        free = ((lung > 127) & ~taken).astype(np.uint8)
    if not free.any():
        free = (lung > 127).astype(np.uint8)
    x, y = _pick_centre(rng, free, 0.16 * canvas.scale)
    width = _between(rng, (0.18, 0.30), (0.30, 0.44), ease)
    height = _between(rng, (0.16, 0.28), (0.27, 0.42), ease)
    dx = (canvas.x - canvas.x[y, x]) / width
    dy = (canvas.y - canvas.y[y, x]) / height
    reach = dx * dx + dy * dy
    reach += 0.30 * canvas.clouds(rng, 9) + 0.16 * canvas.clouds(rng, 22)
    alpha = np.clip((1.15 - reach) * 1.5, 0, 1)
    if rng.random() < 0.4:
        # A fissure bounds the lobe: straight and sharp.
        edge = rng.uniform(-0.35, 0.1) * rng.choice([-1, 1])
        lean = rng.uniform(-0.15, 0.15)
        keep = (dy - edge - lean * dx) * (-1 if edge > 0 else 1)
        alpha *= np.clip(keep * height * canvas.scale + 0.5, 0, 1)
    alpha *= unit(lung) * ~taken
    mask = _largest(alpha > 0.38)

    strength = _between(rng, (0.40, 0.60), (0.72, 0.95), ease)
    alpha *= strength * (1 + 0.14 * canvas.clouds(rng, 30))
    hilum = scene.anatomy.hila[side]
    layer = canvas.blank()
    target = np.array([canvas.x[y, x], canvas.y[y, x]])
    for _ in range(4):
        end = target + rng.normal(0, 0.75, 2) * (width, height)
        middle = 0.4 * hilum + 0.6 * end + rng.normal(0, 0.04, 2)
        canvas.stroke(layer, [smooth([hilum, middle, end])], 0.020, 255)
    alpha *= 1 - 0.35 * unit(canvas.blur(layer, 0.009))
    np.clip(alpha, 0, 1, out=alpha)
    scene.aeration *= 1 - alpha
    scene.vessels *= 1 - 0.9 * alpha
    scene.extra += 0.08 * alpha
    return [mask]


def add_effusion(
    scene: Scene, rng: np.random.Generator, taken: np.ndarray
) -> list[np.ndarray]:
    """Fluid over the diaphragm whose surface rises towards the wall."""
    canvas, ease = scene.canvas, 1 - scene.difficulty
    sides = [RIGHT, LEFT]
    rng.shuffle(sides)
    masks = []
    for side in sides[: 1 + (rng.random() < 0.15)]:
        lung = scene.anatomy.lungs[side]
        wall = float(np.abs(lung[:, 0]).max())
        base, top = float(lung[:, 1].max()), float(lung[:, 1].min())
        share = _between(rng, (0.13, 0.22), (0.24, 0.48), ease)
        level = base - share * (base - top)
        # Meniscus: lowest in the middle, high at the lateral wall.
        across = np.clip(side * canvas.x / wall, 0, 1.05)
        climb = rng.uniform(0.30, 0.48) * ease + 0.20 * (1 - ease)
        surface = level - climb * across**4 - 0.10 * (1 - across) ** 3
        soft = rng.uniform(0.03, 0.06)
        wet = np.clip((canvas.y - surface) / soft + 0.5, 0, 1)
        wet *= unit(canvas.fill(lung))
        scene.aeration *= 1 - wet * rng.uniform(0.90, 0.98)
        scene.vessels *= 1 - 0.95 * wet
        wet *= unit(scene.lungs[side])
        scene.extra += rng.uniform(0.05, 0.14) * wet
        masks.append(_largest((wet > 0.5) & ~taken))
    return masks


def add_pneumothorax(
    scene: Scene, rng: np.random.Generator, taken: np.ndarray
) -> list[np.ndarray]:
    """Air between lung and wall: no vessels, and a thin pleural line."""
    canvas, ease = scene.canvas, 1 - scene.difficulty
    side = RIGHT if rng.random() < 0.5 else LEFT
    lung = scene.anatomy.lungs[side]
    hilum = scene.anatomy.hila[side]
    top, low = lung[:, 1].min(), lung[:, 1].max()
    collapse = _between(rng, (0.14, 0.24), (0.28, 0.46), ease)
    height = (lung[:, 1] - top) / (low - top)
    reach = np.clip(side * (lung[:, 0] - hilum[0]), 0, None)
    reach /= reach.max()
    # The apex empties first; the base stays at the diaphragm.
    pull = collapse * (1 - np.clip(height, 0, 1) ** rng.uniform(1.5, 3))
    pull *= np.clip(1.6 * reach, 0.25, 1)
    free = len(scene.anatomy.lateral[side])
    base = lung[:, 1] > scene.anatomy.dome[side]
    base[:free] = False
    pull[base] = 0
    anchor = hilum + np.array([0.0, 0.15])
    shrunk = lung + pull[:, None] * (anchor - lung)
    inner = unit(canvas.fill(shrunk))
    space = unit(scene.lungs[side]) * (1 - inner)
    # Medially the shrunken contour leaves the mediastinum; no air there.
    outward = side * (canvas.x - hilum[0])
    space *= np.clip(outward * canvas.scale / 6 + 1.5, 0, 1)
    scene.vessels *= 1 - space
    scene.aeration *= 1 + (0.10 + 0.12 * ease) * space
    # The rest of the lung holds less air.
    left = unit(scene.lungs[side]) * (1 - space)
    scene.aeration *= 1 - (rng.uniform(0.10, 0.40) * collapse * 2) * left
    line = canvas.blank()
    curve = np.concatenate([shrunk[-8:], shrunk[: int(0.97 * free)]])
    canvas.stroke(line, [curve], 0.020, 255)
    line = unit(line) * unit(scene.lungs[side])
    line *= canvas.blur(space, 0.02) > 0.08
    scene.extra += (0.10 + 0.12 * ease) * line
    return [_largest((space > 0.5) & ~taken)]


def add_cardiomegaly(
    scene: Scene, rng: np.random.Generator, taken: np.ndarray
) -> list[np.ndarray]:
    """The heart's mask; the anatomy already has the enlarged heart."""
    return [scene.heart > 127]


def add_distractors(scene: Scene, rng: np.random.Generator) -> None:
    """Harmless look-alikes: nipple shadows and linear scars."""
    canvas = scene.canvas
    if rng.random() < 0.5 * scene.difficulty:
        layer, y = canvas.blank(), rng.uniform(1.1, 1.5)
        for side in (RIGHT, LEFT):
            spot = (side * rng.uniform(0.48, 0.62), y + rng.normal(0, 0.04))
            canvas.stroke(layer, [[spot, spot]], 0.13, 255)
        scene.extra += unit(canvas.blur(layer, 0.02)) * rng.uniform(0.06, 0.13)
    if rng.random() < 0.5 * scene.difficulty:
        layer = canvas.blank()
        for _ in range(rng.integers(1, 4)):
            start = rng.uniform((-0.8, 0.4), (0.8, 1.3))
            reach = rng.uniform((-0.3, -0.1), (0.3, 0.1))
            sag = np.array([0, rng.uniform(-0.05, 0.05)])
            curve = [start, start + 0.5 * reach + sag, start + reach]
            canvas.stroke(layer, [smooth(curve)], 0.025, 255)
        scar = unit(canvas.blur(layer, 0.01)) * unit(scene.field)
        scene.extra += scar * rng.uniform(0.05, 0.14)


# In the order of drawing: what moves the lung's borders comes first.
DRAW: dict[
    str,
    Callable[[Scene, np.random.Generator, np.ndarray], list[np.ndarray]],
] = {
    'Cardiomegaly': add_cardiomegaly,
    'Pneumothorax': add_pneumothorax,
    'Pleural effusion': add_effusion,
    'Consolidation': add_consolidation,
    'Mass': add_mass,
    'Nodule': add_nodule,
}
