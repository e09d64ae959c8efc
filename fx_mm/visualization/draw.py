"""Pictures of predictions: beside the truth, or alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from mmengine.structures import BaseDataElement

from fx_mm.datasets.io.xray import read_xray
from fx_mm.utils.files import write_whole
from fx_mm.visualization.contact_sheet import (
    Color,
    color_of,
    draw_tile,
    make_grid,
)

if TYPE_CHECKING:
    from fx_mm.apis.results import ImageResult

TRUTH: Color = (90, 220, 90)
PREDICTION: Color = (255, 165, 40)
UNKNOWN: Color = (170, 170, 170)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_BACKGROUND = 24


def draw_comparison(
    sample: BaseDataElement,
    classes: Sequence[str],
    score_thr: float = 0.3,
    size: int = 256,
) -> np.ndarray:
    """Draw the truth of one sample beside its prediction.

    True boxes are green and predicted ones orange; masks have one colour a
    class, the same on both sides; labels are a list with a bar for each
    probability, true labels in green.

    Args:
        sample (FXDataSample): Output of the model's ``predict`` with the
            truth; boxes and masks in pixels of the original image, which is
            read from ``img_path``.
        classes (Sequence[str]): Class names of the sample's task.
        score_thr (float): Boxes below this score are not drawn.
            Defaults to 0.3.
        size (int): Width of each of the two halves, in pixels.
            Defaults to 256.

    Returns:
        np.ndarray: uint8 RGB tile of width ``2 * size``.

    Raises:
        ImageReadError: If the image cannot be read.
    """
    image = read_xray(sample.img_path)
    caption = f'{sample.task}  {sample.img_id}'
    if sample.kind == 'cls':
        left = draw_tile(image, caption_lines=[caption], size=size)
        right = draw_probabilities(
            _numpy(sample.pred_score),
            classes,
            truth=_numpy(sample.gt_score),
            shape=left.shape[:2],
        )
        return np.concatenate([left, right], axis=1)
    if sample.kind == 'loc':
        truth, pred = sample.gt_instances, sample.pred_instances
        boxes = getattr(truth.bboxes, 'tensor', truth.bboxes)
        left = box_tile(
            image, _numpy(boxes), _numpy(truth.labels), classes, size=size
        )
        scores = _numpy(pred.scores)
        keep = scores >= score_thr
        right = box_tile(
            image,
            _numpy(pred.bboxes)[keep],
            _numpy(pred.labels)[keep],
            classes,
            scores=scores[keep],
            size=size,
        )
        captions = caption, f'{keep.sum()} boxes with score >= {score_thr:g}'
    else:
        truth = _numpy(sample.gt_sem_seg.data) > 0
        pred = _numpy(sample.pred_sem_seg.data) > 0
        left = mask_tile(image, truth, classes, size=size)
        notes = _dice_notes(truth, pred, classes)
        right = mask_tile(image, pred, classes, notes=notes, size=size)
        captions = caption, 'with Dice'
    return np.concatenate(
        [
            _below(left, captions[0], 'truth', TRUTH),
            _below(right, captions[1], 'prediction', PREDICTION),
        ],
        axis=1,
    )


def prediction_sheet(
    samples: Sequence[BaseDataElement],
    classes: Mapping[str, Sequence[str]],
    out_file: str | Path,
    score_thr: float = 0.3,
    columns: int = 2,
    title: str = '',
) -> Path:
    """Write a sheet of predictions beside the truth.

    Args:
        samples (Sequence[FXDataSample]): Outputs of the model's ``predict``
            with the truth, of any tasks.
        classes (Mapping[str, Sequence[str]]): Task name to class names.
        out_file (str | Path): The picture, e.g. ``predictions.png``.
        score_thr (float): Boxes below this score are not drawn.
            Defaults to 0.3.
        columns (int): Samples per row. Defaults to 2.
        title (str): Text above the sheet. Defaults to none.

    Returns:
        Path: ``out_file``.

    Raises:
        ValueError: Without samples.
        ImageReadError: If an image cannot be read.
    """
    tiles = [
        draw_comparison(sample, classes[sample.task], score_thr)
        for sample in samples
    ]
    return save_picture(make_grid(tiles, columns, title), out_file)


def draw_result(
    result: 'ImageResult', score_thr: float = 0.3, size: int = 384
) -> np.ndarray:
    """Draw all predictions of one image, one tile a task.

    Args:
        result (ImageResult): Of :class:`fx_mm.apis.FoundationXInferencer`.
        score_thr (float): Boxes below this score are not drawn.
            Defaults to 0.3.
        size (int): Width of a tile in pixels. Defaults to 384.

    Returns:
        np.ndarray: uint8 RGB picture.

    Raises:
        ImageReadError: If the image has to be read again and cannot be.
    """
    image = read_xray(result.path) if result.image is None else result.image
    tiles = [draw_tile(image, size=size)]
    for prediction in result.predictions.values():
        classes = prediction.classes
        if prediction.kind == 'cls':
            tile = draw_probabilities(
                prediction.scores, classes, shape=(size, size)
            )
        elif prediction.kind == 'loc':
            keep = prediction.scores >= score_thr
            tile = box_tile(
                image,
                prediction.boxes[keep],
                prediction.labels[keep],
                classes,
                scores=prediction.scores[keep],
                size=size,
            )
        else:
            tile = mask_tile(image, prediction.masks, classes, size=size)
        tiles.append(_below(tile, '', prediction.task, PREDICTION))
    return make_grid(tiles, min(len(tiles), 4), result.name)


def save_picture(picture: np.ndarray, out_file: str | Path) -> Path:
    """Write a picture as PNG, making its folder.

    Args:
        picture (np.ndarray): uint8 RGB, shape (H, W, 3), or a single
            channel, shape (H, W).
        out_file (str | Path): Where to.

    Returns:
        Path: ``out_file``.

    Raises:
        OSError: If it cannot be written.
    """
    if picture.ndim == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    # Not cv2.imwrite: it fails without an exception.
    return write_whole(out_file, cv2.imencode('.png', picture)[1].tobytes())


def box_tile(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    scores: np.ndarray | None = None,
    size: int = 256,
) -> np.ndarray:
    """Draw boxes: orange with scores, green without.

    Args:
        image (np.ndarray): uint8 grey, shape (H, W).
        boxes (np.ndarray): x1, y1, x2, y2 in pixels, shape (n, 4).
        labels (np.ndarray): Class indices, shape (n,).
        classes (Sequence[str]): Class names.
        scores (np.ndarray, optional): Scores, shape (n,).
        size (int): Width of the tile. Defaults to 256.

    Returns:
        np.ndarray: uint8 RGB tile.
    """
    drawn = []
    for index, (box, label) in enumerate(zip(boxes, labels, strict=True)):
        name, color = classes[int(label)], TRUTH
        if scores is not None:
            name, color = f'{name} {scores[index]:.2f}', PREDICTION
        drawn.append((*map(float, box), name, color))
    return draw_tile(image, boxes=drawn, size=size)


def mask_tile(
    image: np.ndarray,
    masks: np.ndarray,
    classes: Sequence[str],
    notes: Mapping[str, str] | None = None,
    size: int = 256,
) -> np.ndarray:
    """Draw masks in one colour a class, with a list of the classes.

    Args:
        image (np.ndarray): uint8 grey, shape (H, W).
        masks (np.ndarray): bool, shape (C, H, W).
        classes (Sequence[str]): Class names.
        notes (Mapping[str, str], optional): Class name to what is written
            beside it; such a class is listed even if its mask is empty.
            Defaults to None: the classes present are listed by name.
        size (int): Width of the tile. Defaults to 256.

    Returns:
        np.ndarray: uint8 RGB tile.
    """
    notes = notes or {}
    drawn, lines = [], []
    for name, mask in zip(classes, masks, strict=True):
        color = color_of(name, classes)
        if mask.any():
            drawn.append((mask, color))
        if mask.any() or name in notes:
            lines.append((f'{name} {notes.get(name, "")}', color))
    tile = draw_tile(image, masks=drawn, size=size)
    for index, (text, color) in enumerate(lines):
        _put(tile, text, (4, 13 + 14 * index), color, outline=True)
    return tile


def draw_probabilities(
    scores: np.ndarray,
    classes: Sequence[str],
    truth: np.ndarray | None = None,
    shape: tuple[int, int] = (256, 256),
) -> np.ndarray:
    """Draw a bar and a line of text for each class.

    With more classes than lines, the true ones and then the most probable
    ones are kept, in the order of the head.

    Args:
        scores (np.ndarray): Probabilities, shape (C,).
        classes (Sequence[str]): Class names.
        truth (np.ndarray, optional): 1, 0 or NaN (unknown), shape (C,).
        shape (tuple[int]): Height and width. Defaults to (256, 256).

    Returns:
        np.ndarray: uint8 RGB panel.
    """
    panel = np.full((*shape, 3), _BACKGROUND, np.uint8)
    heading = 'probability' + (' (true: green)' if truth is not None else '')
    _put(panel, heading, (4, 13), UNKNOWN)
    n_lines = (shape[0] - 20) // 16
    positive = np.zeros(len(classes), bool) if truth is None else truth == 1
    kept = sorted(np.lexsort((-scores, ~positive))[:n_lines])
    for line, index in enumerate(kept):
        top = 20 + 16 * line
        color = TRUTH if positive[index] else PREDICTION
        if truth is not None and np.isnan(truth[index]):
            color = UNKNOWN
        width = round(float(np.nan_to_num(scores[index])) * (shape[1] - 4))
        bar = panel[top : top + 14, 2 : 2 + width]
        bar[:] = np.array(color) // 3
        text = f'{scores[index]:.2f} {classes[index]}'
        if color == UNKNOWN:
            text += ' (unknown)'
        _put(panel, text, (4, top + 11), color)
    return panel


def _dice_notes(truth, pred, classes: Sequence[str]) -> dict[str, str]:
    notes = {}
    for name, mask, guess in zip(classes, truth, pred, strict=True):
        total = mask.sum() + guess.sum()
        if total:
            notes[name] = f'{2 * (mask & guess).sum() / total:.2f}'
    return notes


def _below(tile: np.ndarray, text: str, head: str, color) -> np.ndarray:
    """Add a line below: a coloured word, then text."""
    strip = np.full((15, tile.shape[1], 3), _BACKGROUND, np.uint8)
    _put(strip, head, (2, 11), color)
    (width, _), _ = cv2.getTextSize(head, _FONT, 0.4, 1)
    _put(strip, text, (width + 12, 11), (235, 235, 235))
    return np.concatenate([tile, strip])


def _put(tile, text, origin, color, outline: bool = False) -> None:
    # The built-in fonts of OpenCV draw ASCII only.
    text = text.encode('ascii', 'replace').decode()
    if outline:
        cv2.putText(tile, text, origin, _FONT, 0.4, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(tile, text, origin, _FONT, 0.4, color, 1, cv2.LINE_AA)


def _numpy(values) -> np.ndarray:
    return values.detach().cpu().numpy()
