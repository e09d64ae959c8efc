"""What the inferencer returns: one typed result a task and image."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from fx_mm.datasets.io.errors import ImageReadError
from fx_mm.visualization.draw import draw_result, save_picture

SCHEMA_VERSION = 1


@dataclass(frozen=True, eq=False)
class ClsResult:
    """Probabilities of the classes of a task.

    Args:
        task (str): Task name, ``dataset/kind``.
        classes (tuple[str]): Class names in the order of the head.
        scores (np.ndarray): Probabilities, float32 of shape (C,).
    """

    kind: ClassVar[str] = 'cls'
    task: str
    classes: tuple[str, ...]
    scores: np.ndarray

    @property
    def probabilities(self) -> dict[str, float]:
        """dict: Probability by class."""
        return dict(zip(self.classes, map(float, self.scores), strict=True))

    def to_dict(self) -> dict:
        """dict: ``probabilities`` by class, None where not finite."""
        return dict(
            kind=self.kind,
            probabilities={
                name: _number(value)
                for name, value in self.probabilities.items()
            },
        )


@dataclass(frozen=True, eq=False)
class LocResult:
    """Boxes of a task, the highest score first.

    Args:
        task (str): Task name, ``dataset/kind``.
        classes (tuple[str]): Class names.
        boxes (np.ndarray): x1, y1, x2, y2 in pixels of the original image,
            float32 of shape (n, 4).
        scores (np.ndarray): float32 of shape (n,).
        labels (np.ndarray): Indices into ``classes``, int64 of shape (n,).
    """

    kind: ClassVar[str] = 'loc'
    task: str
    classes: tuple[str, ...]
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    @property
    def names(self) -> list[str]:
        """list[str]: Class name of each box."""
        return [self.classes[label] for label in self.labels]

    def to_dict(self, score_thr: float = 0.0) -> dict:
        """List the boxes from ``score_thr`` on.

        Args:
            score_thr (float): Defaults to 0, all.

        Returns:
            dict: ``boxes``, each with ``box``, ``score`` and ``label``.
        """
        return dict(
            kind=self.kind,
            score_thr=score_thr,
            boxes=[
                dict(
                    box=[round(float(value), 2) for value in box],
                    score=_number(score),
                    label=name,
                )
                for box, score, name in zip(
                    self.boxes, self.scores, self.names, strict=True
                )
                if score >= score_thr
            ],
        )


@dataclass(frozen=True, eq=False)
class SegResult:
    """Masks of a task; they may overlap.

    Args:
        task (str): Task name, ``dataset/kind``.
        classes (tuple[str]): Class names, one a channel.
        masks (np.ndarray): bool of shape (C, H, W), in pixels of the
            original image.
    """

    kind: ClassVar[str] = 'seg'
    task: str
    classes: tuple[str, ...]
    masks: np.ndarray

    def to_dict(self, files: Mapping[str, str] | None = None) -> dict:
        """List the areas.

        Args:
            files (Mapping[str, str], optional): Class name to the file its
                mask was written to. Defaults to None.

        Returns:
            dict: ``masks`` by class, with ``area`` in pixels of the
            original image and ``file``.
        """
        files = files or {}
        return dict(
            kind=self.kind,
            masks={
                name: dict(
                    area=int(np.count_nonzero(mask)), file=files.get(name)
                )
                for name, mask in zip(self.classes, self.masks, strict=True)
            },
        )


@dataclass(eq=False)
class ImageResult:
    """All predictions of one image.

    Args:
        name (str): Short name for people: the file name or ``array 0``.
        path (str, optional): The file; None for an array.
        size (tuple[int]): Height and width in pixels; (0, 0) if the image
            could not be read.
        predictions (dict): Task name to :class:`ClsResult`,
            :class:`LocResult` or :class:`SegResult`.
        image (np.ndarray, optional): uint8 of shape (H, W).
        error (str, optional): Why the image could not be read.
    """

    name: str
    path: str | None = None
    size: tuple[int, int] = (0, 0)
    predictions: dict[str, ClsResult | LocResult | SegResult] = field(
        default_factory=dict
    )
    image: np.ndarray | None = field(default=None, repr=False)
    error: str | None = None

    def __getitem__(self, task: str) -> ClsResult | LocResult | SegResult:
        """Give the result of a task.

        Raises:
            KeyError: If the task was not asked for.
        """
        return self.predictions[task]

    def draw(
        self,
        out_file: str | Path | None = None,
        score_thr: float = 0.3,
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
        picture = draw_result(self, score_thr, size)
        if out_file is not None:
            save_picture(picture, out_file)
        return picture

    def to_dict(
        self,
        score_thr: float = 0.0,
        mask_files: Mapping[str, Mapping[str, str]] | None = None,
    ) -> dict:
        """Give everything but pixels, ready for JSON.

        Args:
            score_thr (float): Boxes below it are left out. Defaults to 0.
            mask_files (Mapping, optional): Task name to (class name to
                file). Defaults to None.

        Returns:
            dict: ``schema_version``, ``image``, ``height``, ``width``,
            ``tasks`` and, of an image that could not be read, ``error``.
        """
        tasks = {}
        for task, prediction in self.predictions.items():
            if prediction.kind == 'loc':
                tasks[task] = prediction.to_dict(score_thr)
            elif prediction.kind == 'seg':
                tasks[task] = prediction.to_dict((mask_files or {}).get(task))
            else:
                tasks[task] = prediction.to_dict()
        content = dict(
            schema_version=SCHEMA_VERSION,
            image=self.path or self.name,
            height=self.size[0],
            width=self.size[1],
            tasks=tasks,
        )
        if self.error is not None:
            content['error'] = self.error
        return content


def _number(value: float) -> float | None:
    return round(float(value), 6) if math.isfinite(value) else None
