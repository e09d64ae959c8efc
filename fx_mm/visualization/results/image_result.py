"""All predictions of one image."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fx_mm.image_io.errors import ImageReadError
from fx_mm.image_io.xray import read_xray
from fx_mm.visualization.contact_sheet import draw_tile, make_grid
from fx_mm.visualization.results.base import SCORE_THR, TaskResult
from fx_mm.visualization.tiles import PREDICTION, caption_below, save_picture

SCHEMA_VERSION = 1


@dataclass(eq=False)
class ImageResult:
    """All predictions of one image.

    Args:
        name (str): Short name for people: the file name or ``array 0``.
        path (str, optional): The file; None for an array.
        size (tuple[int]): Height and width in pixels; (0, 0) if the image
            could not be read.
        predictions (dict): Task name to the result of its kind.
        image (np.ndarray, optional): uint8 of shape (H, W).
        error (str, optional): Why the image could not be read.
        reading (dict, optional): What was decided when it was read, such as
            window, orientation and warnings; see
            :func:`fx_mm.apis.read_xray`.
    """

    name: str
    path: str | None = None
    size: tuple[int, int] = (0, 0)
    predictions: dict[str, TaskResult] = field(default_factory=dict)
    image: np.ndarray | None = field(default=None, repr=False)
    error: str | None = None
    reading: dict[str, Any] | None = None

    def __getitem__(self, task: str) -> TaskResult:
        """Return the result of a task.

        Raises:
            KeyError: If the task was not asked for.
        """
        return self.predictions[task]

    def draw(
        self,
        out_file: str | Path | None = None,
        score_thr: float = SCORE_THR,
        size: int = 384,
    ) -> np.ndarray:
        """Draw the image and each task's prediction, side by side.

        Args:
            out_file (str | Path, optional): PNG file to write. Defaults to
                None.
            score_thr (float): Boxes below this score are not drawn.
                Defaults to 0.3.
            size (int): Width of a tile in pixels. Defaults to 384.

        Returns:
            np.ndarray: uint8 RGB picture.

        Raises:
            ImageReadError: If the image has to be read and cannot be.
        """
        if self.error is not None:
            raise ImageReadError(self.error)
        image = self.image
        if image is None:
            image = read_xray(self.path or self.name)
        tiles = [draw_tile(image, size=size)]
        for name, prediction in self.predictions.items():
            tile = prediction.draw(image, score_thr, size)
            tiles.append(caption_below(tile, '', name, PREDICTION))
        picture = make_grid(tiles, min(len(tiles), 4), self.name)
        if out_file is not None:
            save_picture(picture, out_file)
        return picture

    def to_dict(
        self,
        score_thr: float = 0.0,
        files: Mapping[str, Mapping[str, str]] | None = None,
    ) -> dict[str, Any]:
        """Return everything but pixels, ready for JSON.

        Args:
            score_thr (float): Boxes below it are skipped. Defaults to 0.
            files (Mapping, optional): Task name to (class name to file).
                Defaults to None.

        Returns:
            dict: ``schema_version``, ``image``, ``height``, ``width``,
            ``reading``, ``tasks`` and, of an image that could not be read,
            ``error``.
        """
        tasks = {
            task: prediction.to_dict(score_thr, (files or {}).get(task))
            for task, prediction in self.predictions.items()
        }
        content = dict(
            schema_version=SCHEMA_VERSION,
            image=self.path or self.name,
            height=self.size[0],
            width=self.size[1],
            reading=self.reading,
            tasks=tasks,
        )
        if self.error is not None:
            content['error'] = self.error
        return content
