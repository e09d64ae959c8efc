"""One phantom X-ray with its annotations, from four integers."""

from dataclasses import dataclass, field
from itertools import combinations

import cv2
import numpy as np

from fx_mm.phantom.anatomy import sample_anatomy
from fx_mm.phantom.canvas import LEFT, RIGHT
from fx_mm.phantom.draw_findings import DRAW, FINDINGS, add_distractors
from fx_mm.phantom.hospitals import HOSPITALS, expose, finish, sample_canvas
from fx_mm.phantom.reports import (
    STYLES,
    Question,
    ask_questions,
    locate,
    write_report,
)
from fx_mm.phantom.scene import Scene

ORGANS = ('Left lung', 'Right lung', 'Heart')
TARGETS = ('Cardiothoracic ratio',)
SPLITS = ('train', 'val', 'test')

NORMAL_SHARE = 0.48
PAIR_SHARE = 0.14
"""Shares of images without findings and with two; the rest have one."""

_MIN_AREA = 6
"""Pixels that a finding needs at least to be annotated."""


@dataclass
class Phantom:
    """A rendered image and everything that is known about it.

    Attributes:
        image (np.ndarray): uint8 (size, size).
        labels (np.ndarray): uint8 (6,), in the order of FINDINGS.
        masks (dict): Class name of ORGANS or FINDINGS -> bool (size, size);
            findings that are absent have no entry.
        boxes (list): ``(class name, (x1, y1, x2, y2))``, one per instance,
            in pixels, x2 and y2 exclusive.
        instances (list): The mask of each box, bool (size, size).
        values (dict): Name of TARGETS to its number.
        bones (dict): Name of a bone (see Scene.bone_masks) to its mask, bool
            (size, size); without those that are not in the image. Empty
            unless asked for.
        report (str): What is written about it; empty where the hospital
            writes no reports.
        questions (tuple[Question]): Questions about it, with answers; none
            where the hospital writes no reports.
    """

    image: np.ndarray
    labels: np.ndarray
    masks: dict[str, np.ndarray]
    boxes: list[tuple[str, tuple[int, int, int, int]]]
    instances: list[np.ndarray] = field(default_factory=list)
    values: dict[str, float] = field(default_factory=dict)
    bones: dict[str, np.ndarray] = field(default_factory=dict)
    report: str = ''
    questions: tuple[Question, ...] = ()


def plan_findings(
    seed: int, hospital: str, split: str, index: int
) -> tuple[str, ...]:
    """Choose the findings of an image.

    A golden-ratio sequence spreads the combinations evenly, so that every
    class is equally frequent in any stretch of images.

    Returns:
        tuple[str]: Zero, one or two names of FINDINGS.
    """
    start = _generator(seed, hospital, split, -1).random()
    u = (start + index * 0.6180339887498949) % 1.0
    if u < NORMAL_SHARE:
        return ()
    u = (u - NORMAL_SHARE) / (1 - NORMAL_SHARE)
    pair = PAIR_SHARE / (1 - NORMAL_SHARE)
    if u < 1 - pair:
        return (FINDINGS[int(u / (1 - pair) * len(FINDINGS))],)
    pairs = list(combinations(FINDINGS, 2))
    return pairs[int((u - (1 - pair)) / pair * len(pairs)) % len(pairs)]


def _generator(
    seed: int, hospital: str, split: str, index: int
) -> np.random.Generator:
    key = (seed, ord(hospital), SPLITS.index(split), index + 1)
    return np.random.default_rng(np.random.SeedSequence(key))


def _shrink(mask: np.ndarray, size: int) -> np.ndarray:
    """Reduce a bool or uint8 mask to ``size`` pixels, majority rule."""
    if mask.dtype == bool:
        mask = mask.astype(np.uint8) * 255
    small = cv2.resize(mask, (size, size), interpolation=cv2.INTER_AREA)
    return small > 127


def mask_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Return the box (x1, y1, x2, y2) of a mask, x2 and y2 exclusive."""
    columns = np.flatnonzero(mask.any(axis=0))
    rows = np.flatnonzero(mask.any(axis=1))
    return (
        int(columns[0]),
        int(rows[0]),
        int(columns[-1]) + 1,
        int(rows[-1]) + 1,
    )


def render_phantom(
    seed: int,
    hospital: str,
    split: str,
    index: int,
    difficulty: float = 0.0,
    size: int = 128,
    bones: bool = False,
) -> Phantom:
    """Render one image; the same arguments result in the same pixels.

    Args:
        seed (int): Seed of the whole dataset.
        hospital (str): 'a', 'b' or 'c'.
        split (str): 'train', 'val' or 'test'.
        index (int): Number of the image in its split.
        difficulty (float): 0 (large findings of high contrast, little
            noise) to 1. Defaults to 0.
        size (int): Pixels along an edge. Defaults to 128.
        bones (bool): Whether to add masks of ribs and clavicles; they do
            not change the image. Defaults to False.

    Returns:
        Phantom: The image and its annotations.
    """
    habits = HOSPITALS[hospital]
    names = plan_findings(seed, hospital, split, index)
    # Separate streams: a change of one step leaves the others alone.
    streams = _generator(seed, hospital, split, index).spawn(6)
    body_rng, view_rng, scene_rng, finding_rng, print_rng, word_rng = streams

    anatomy = sample_anatomy(body_rng, 'Cardiomegaly' in names)
    canvas = sample_canvas(view_rng, habits, anatomy, 2 * size, difficulty)
    scene = Scene(anatomy, canvas, scene_rng, difficulty)
    taken = np.zeros((2 * size, 2 * size), bool)
    instances = []
    for name, draw in DRAW.items():
        if name not in names:
            continue
        for mask in draw(scene, finding_rng, taken):
            if name != 'Cardiomegaly':
                taken |= mask
            instances.append((name, _shrink(mask, size)))
    add_distractors(scene, finding_rng)

    film = cv2.resize(
        scene.attenuation(), (size, size), interpolation=cv2.INTER_AREA
    )
    grey = expose(print_rng, habits, film, difficulty)
    masks = {
        'Left lung': _shrink(scene.lungs[LEFT], size),
        'Right lung': _shrink(scene.lungs[RIGHT], size),
        'Heart': _shrink(scene.heart, size),
    }
    keep = mask_box(np.logical_or.reduce(list(masks.values())))
    image = finish(print_rng, habits, grey, keep, difficulty)

    labels = np.zeros(len(FINDINGS), np.uint8)
    boxes, kept = [], []
    for name, mask in instances:
        if mask.sum() < _MIN_AREA:
            continue
        labels[FINDINGS.index(name)] = 1
        masks[name] = masks.get(name, False) | mask
        boxes.append((name, mask_box(mask)))
        kept.append(mask)
    outlined = {}
    if bones:
        for name, layer in scene.bone_masks().items():
            mask = _shrink(layer, size)
            if mask.sum() >= _MIN_AREA:
                outlined[name] = mask
    values = {TARGETS[0]: anatomy.cardiothoracic_ratio}
    phantom = Phantom(image, labels, masks, boxes, kept, values, outlined)
    if hospital in STYLES:
        found = [(name, mask) for (name, _), mask in zip(boxes, kept)]
        places = locate(found, masks)
        phantom.report = write_report(places, STYLES[hospital], word_rng)
        phantom.questions = tuple(ask_questions(places, word_rng))
    return phantom
