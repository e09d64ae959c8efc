"""Other readings of an image: the other model, and views of the image."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np

from fx_mm.apis.image_sources import ImageSource
from fx_mm.apis.inference import FoundationXInferencer
from fx_mm.visualization.results import (
    ImageResult,
    LocResult,
    SegResult,
    TaskResult,
)

MARGIN = 0.02
"""Width of the added margin, as a share of the longer edge."""
GAMMAS = dict(brighter=0.8, darker=1.25)


@dataclass(frozen=True, eq=False)
class _View(ImageSource):
    """A source whose pixels are changed when they are read."""

    change: Callable[[np.ndarray], np.ndarray] = field(repr=False)

    def read(
        self, percentiles: Sequence[float] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Read the pixels and change them."""
        pixels, reading = super().read(percentiles)
        return self.change(pixels), reading


def other_readings(
    infer: FoundationXInferencer, source: ImageSource, size: tuple[int, int]
) -> dict[str, ImageResult]:
    """Read an image again: by the other model, and in other views.

    The views are those that no class with a side minds: a margin of 2 %
    around the image, and two gammas. Mirror images are none of them.

    Args:
        infer (FoundationXInferencer): The model and its tasks.
        source (ImageSource): An image that can be read.
        size (tuple[int]): Its height and width in pixels.

    Returns:
        dict[str, ImageResult]: ``student`` or ``teacher``, where the
        checkpoint holds both, ``margin``, ``brighter`` and ``darker`` to
        predictions in pixels of the image.
    """
    pad = max(1, round(MARGIN * max(size)))
    views: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        'margin': lambda pixels: cv2.copyMakeBorder(
            pixels, *(4 * (pad,)), cv2.BORDER_REPLICATE
        ),
        **{name: _gamma(value) for name, value in GAMMAS.items()},
    }
    sources = [
        _View(source.name, source.place, source.origin, change)
        for change in views.values()
    ]
    found = {}
    for name in infer.model.predictors:
        if name != infer.predict_on:
            with infer.model.using(name):
                (found[name],) = _run(infer, [source])
    found |= dict(zip(views, _run(infer, sources), strict=True))
    found['margin'] = _move_back(found['margin'], pad)
    return found


def _run(
    infer: FoundationXInferencer, sources: Sequence[ImageSource]
) -> list[ImageResult]:
    predictions = infer.pipeline
    batch = [predictions(source) for source in sources]
    return [each.result for each in infer.forward(batch)]


def _gamma(value: float) -> Callable[[np.ndarray], np.ndarray]:
    table = np.round(255 * np.linspace(0, 1, 256) ** value).astype(np.uint8)
    return lambda pixels: table[pixels]


def _move_back(result: ImageResult, pad: int) -> ImageResult:
    """Return predictions in pixels of the image without its margin."""
    height, width = result.size

    def move(found: TaskResult) -> TaskResult:
        if isinstance(found, LocResult):
            edges = 2 * (width - 2 * pad, height - 2 * pad)
            boxes = np.clip(found.boxes - pad, 0, edges)
            return replace(found, boxes=boxes.astype(np.float32))
        if isinstance(found, SegResult):
            inner = found.masks[:, pad : height - pad, pad : width - pad]
            return replace(found, masks=inner)
        return found

    return replace(
        result,
        size=(height - 2 * pad, width - 2 * pad),
        predictions={k: move(v) for k, v in result.predictions.items()},
    )
