"""From contours to an attenuation image.

An X-ray image shows the path integral of the attenuation. A scene therefore
keeps thicknesses of tissue and adds them up: soft tissue, minus the air of
the lungs, plus bone and vessels. A finding replaces air by tissue (or tissue
by air), which makes its contrast physically plausible: a consolidation hides
the vessels inside it, and nothing shows behind the diaphragm.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from fx_mm.phantom.anatomy import Anatomy
from fx_mm.phantom.canvas import LEFT, RIGHT, Canvas, smooth, unit

LUNG_DEPTH = 0.66
"""Attenuation that a fully aerated lung takes away."""

CLAVICLE_WIDTH = 0.095
"""Width of a clavicle, chest units."""


def _vessel_curves(
    rng: np.random.Generator, hilum: np.ndarray, side: int, reach: float
) -> list[np.ndarray]:
    """Branching curves from a hilum, one list of arrays per generation."""
    stems = 8
    angle = np.linspace(-1.45, 1.50, stems) + rng.normal(0, 0.10, stems)
    start = hilum + rng.normal(0, 0.025, (stems, 2))
    length = reach * rng.uniform(0.30, 0.42, stems)
    steps = np.linspace(0, 1, 5)[None, :, None]
    generations = []
    for level in range(4):
        bend = rng.normal(0, 0.35, len(angle))
        along = angle[:, None] + bend[:, None] * np.linspace(0, 1, 5)
        heading = np.stack([side * np.cos(along), np.sin(along)], axis=-1)
        curve = start[:, None] + steps * length[:, None, None] * heading
        generations.append(curve)
        if level == 3:
            break
        # Two children: one from the end, one from further up.
        end = np.repeat(curve, 2, axis=0)
        pick = np.tile([4, 2], len(angle))
        start = end[np.arange(len(end)), pick]
        turn = rng.uniform(0.15, 0.55, len(end))
        turn *= np.tile([1, -1], len(angle)) * np.repeat(
            rng.choice([-1, 1], len(angle)), 2
        )
        angle = np.repeat(along[:, -1], 2) + turn
        length = np.repeat(length, 2) * rng.uniform(0.6, 0.85, len(end))
    return generations


def _ellipse(centre: Sequence[float], radii: Sequence[float]) -> np.ndarray:
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    return circle * np.asarray(radii) + centre


class Scene:
    """A chest on a canvas, before and after findings are drawn into it.

    Args:
        anatomy (Anatomy): The contours.
        canvas (Canvas): The pixel grid.
        rng (np.random.Generator): Source of randomness.
        difficulty (float): 0 (easy) to 1 (hard).

    Attributes:
        lungs (dict): Side -> uint8 lung field, without the heart.
        heart (np.ndarray): uint8 heart silhouette.
        aeration (np.ndarray): float32, share of air in the lung's depth.
        vessels (np.ndarray): float32, attenuation of the vessels.
        extra (np.ndarray): float32, attenuation added by findings.
        rib_width (float): Width of the ribs, chest units.
    """

    def __init__(
        self,
        anatomy: Anatomy,
        canvas: Canvas,
        rng: np.random.Generator,
        difficulty: float,
    ) -> None:
        self.anatomy = anatomy
        self.canvas = canvas
        self.difficulty = difficulty
        whole = {s: canvas.fill(anatomy.lungs[s]) for s in (RIGHT, LEFT)}
        mediastinum = canvas.fill(anatomy.mediastinum)
        heart = canvas.fill(anatomy.heart)
        # The silhouette ends where the abdomen hides it.
        right, left = anatomy.dome[RIGHT], anatomy.dome[LEFT]
        floor = 0.5 * (left + right) + (left - right) * canvas.x
        self.heart = heart * (canvas.y < floor + 0.08)
        central = cv2.bitwise_not(cv2.max(heart, mediastinum))
        self.lungs = {s: cv2.min(whole[s], central) for s in whole}
        self.field = cv2.max(whole[RIGHT], whole[LEFT])
        self.extra = np.zeros((canvas.size, canvas.size), np.float32)

        depth = canvas.bump(self.field, rng.uniform(0.28, 0.45))
        t_heart = canvas.bump(heart, 0.30)
        t_mid = canvas.bump(mediastinum, 0.18)
        self.aeration = depth * (1 - rng.uniform(0.75, 0.95) * t_heart)
        self.aeration *= 1 - 0.92 * t_mid
        # Lung density differs by height and from patient to patient.
        slope = rng.uniform(-0.14, 0.16)
        self.aeration *= rng.uniform(0.84, 1.06) + slope * (canvas.y - 0.9)
        self.aeration *= 1 + 0.035 * canvas.clouds(rng, 7)

        self.vessels = self._draw_vessels(rng)
        self.tissue = self._draw_tissue(rng, t_heart, t_mid)
        self.bone = self._draw_bone(rng)

    def _draw_vessels(self, rng: np.random.Generator) -> np.ndarray:
        canvas, anatomy = self.canvas, self.anatomy
        layer = canvas.blank()
        amount = rng.uniform(0.7, 1.2)
        per_side = []
        for side in (RIGHT, LEFT):
            reach = 1.15 * np.ptp(anatomy.lungs[side][:, 0])
            per_side.append(
                _vessel_curves(rng, anatomy.hila[side], side, reach)
            )
        # Thin ones first: a trunk covers its branches.
        for level in (3, 2, 1, 0):
            curves = np.concatenate([per_side[0][level], per_side[1][level]])
            width = (0.034, 0.022, 0.014, 0.009)[level]
            value = (180, 150, 120, 85)[level]
            canvas.stroke(layer, curves, width, value)
        vessels = unit(layer) * (0.19 * amount)
        hila = canvas.blank()
        for side in (RIGHT, LEFT):
            hilum = anatomy.hila[side]
            wobble = rng.normal(0, 0.03, (5, 2))
            shape = [(-0.04, -0.20), (0.08, -0.06), (0.07, 0.10)]
            shape += [(-0.02, 0.30), (-0.07, 0.05)]
            outline = (np.array(shape) + wobble) * (side, 1) + hilum
            canvas.paint(hila, smooth(outline, True, 4), 255)
        vessels += unit(canvas.blur(hila, 0.045)) * rng.uniform(0.16, 0.30)
        return vessels

    def _draw_tissue(
        self,
        rng: np.random.Generator,
        t_heart: np.ndarray,
        t_mid: np.ndarray,
    ) -> np.ndarray:
        canvas, anatomy = self.canvas, self.anatomy
        # Arms overlap the trunk, so they are added, not joined.
        body = canvas.bump(canvas.fill(anatomy.body), 0.55)
        arms = canvas.bump(canvas.fill(*anatomy.arms), 0.16)
        tissue = (0.80 + 0.9 * anatomy.wall) * body
        np.maximum(tissue, 0.62 * arms, out=tissue)
        tissue *= 1 + 0.03 * canvas.clouds(rng, 5)
        # The abdomen is dense from the diaphragm down; what lies in front
        # of the spine is about as dense there as beside it.
        low = 0.5 * sum(anatomy.dome.values())
        ramp = np.clip((canvas.y - low + 0.15) * 2.2, 0, 1)
        central = np.maximum(
            rng.uniform(0.24, 0.38) * t_heart,
            rng.uniform(0.26, 0.38) * t_mid,
        )
        belly = rng.uniform(0.30, 0.46) * body
        tissue += central + ramp * np.maximum(belly - central, 0)

        gas = canvas.blank()
        for centre, radii in anatomy.gas:
            canvas.paint(gas, _ellipse(centre, radii), 255)
        gas[self.field > 0] = 0
        airway = canvas.blank()
        canvas.stroke(airway, anatomy.trachea[:1], 0.115, 255)
        canvas.stroke(airway, anatomy.trachea[1:], 0.075, 200)
        hollow = cv2.max(gas, airway)
        tissue -= rng.uniform(0.14, 0.26) * unit(canvas.blur(hollow, 0.02))
        if anatomy.breasts:
            breast = canvas.blank()
            for centre, radii in anatomy.breasts:
                canvas.paint(breast, _ellipse(centre, radii), 255)
            thick = canvas.bump(breast, 0.40)
            tissue += rng.uniform(0.06, 0.20) * thick
        return tissue

    def _draw_bone(self, rng: np.random.Generator) -> np.ndarray:
        canvas, anatomy = self.canvas, self.anatomy
        strength = rng.uniform(0.75, 1.25)
        width = rng.uniform(0.070, 0.088)
        self.rib_width = width

        # A dense cortex around a lighter interior: two strokes.
        layer = canvas.blank()
        canvas.stroke(layer, anatomy.posterior_ribs, width, 255)
        canvas.stroke(layer, anatomy.posterior_ribs, 0.55 * width, 165)
        # The heads of the ribs hide behind the spine.
        near = np.abs(canvas.x)
        bone = unit(layer) * np.clip((near - 0.09) * 5, 0, 1) * 0.145
        layer = canvas.blank()
        canvas.stroke(layer, anatomy.anterior_ribs, width, 255)
        canvas.stroke(layer, anatomy.anterior_ribs, 0.6 * width, 175)
        # Towards the sternum the ribs turn into cartilage.
        bone += unit(layer) * np.clip((near - 0.48) * 3, 0, 1) * 0.095
        low = 0.5 * sum(anatomy.dome.values())
        bone *= 1 - 0.6 * np.clip((canvas.y - low - 0.1) * 2.5, 0, 1)

        layer = canvas.blank()
        for blade in anatomy.scapulae:
            canvas.paint(layer, blade, 60)
        canvas.stroke(layer, anatomy.scapulae, 0.03, 125, closed=True)
        canvas.stroke(layer, anatomy.clavicles, CLAVICLE_WIDTH, 255)
        canvas.stroke(layer, anatomy.clavicles, 0.050, 205)
        canvas.stroke(layer, anatomy.humeri, 0.17, 230)
        canvas.stroke(layer, anatomy.humeri, 0.10, 170)
        bone += unit(canvas.blur(layer, 0.012)) * 0.23

        layer = canvas.blank()
        canvas.stroke(layer, [anatomy.spine], 0.21, 120)
        for body in anatomy.vertebrae:
            canvas.paint(layer, body, 200)
        canvas.stroke(layer, [anatomy.spine], 0.045, 255)
        column = unit(canvas.blur(layer, 0.035)) * 0.15

        # The wall is hit along its surface at the outer border.
        layer = canvas.blank()
        rim = [
            curve + np.array([0.03 * side, 0])
            for side, curve in anatomy.lateral.items()
        ]
        canvas.stroke(layer, rim, 0.07, 255)
        column += unit(canvas.blur(layer, 0.03)) * 0.12
        return (bone + column) * strength

    def bone_masks(self) -> dict[str, np.ndarray]:
        """Return the masks of the bones that have a name.

        Returns:
            dict: ``Right clavicle``, ``Left clavicle``, ``R1`` .. ``R10``
            and ``L1`` .. ``L10`` (the posterior arcs) to uint8
            (size, size), 255 inside.
        """
        canvas, anatomy = self.canvas, self.anatomy
        masks = {}
        for side, curve in zip(('Right', 'Left'), anatomy.clavicles):
            layer = canvas.blank()
            canvas.stroke(layer, [curve], CLAVICLE_WIDTH, 255)
            masks[f'{side} clavicle'] = layer
        # Where the spine hides them, nobody outlines ribs.
        beside = np.abs(canvas.x) > 0.09
        for number, curve in enumerate(anatomy.posterior_ribs):
            layer = canvas.blank()
            canvas.stroke(layer, [curve], self.rib_width, 255)
            name = f'{"RL"[number // 10]}{number % 10 + 1}'
            masks[name] = layer * beside
        return masks

    def attenuation(self) -> np.ndarray:
        """Return all path lengths, summed: float32 (size, size)."""
        total = self.tissue + self.bone + self.vessels + self.extra
        total -= LUNG_DEPTH * self.aeration
        skin = unit(self.canvas.fill(self.anatomy.body, *self.anatomy.arms))
        return np.maximum(total * self.canvas.blur(skin, 0.01), 0)
