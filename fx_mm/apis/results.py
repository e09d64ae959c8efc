"""What the inferencer returns: one typed result a task and image."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

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

    def to_dict(self) -> dict:
        """dict: ``probabilities`` by class, None where not finite."""
        scores = zip(self.classes, self.scores, strict=True)
        return dict(
            kind=self.kind,
            probabilities={name: _number(score) for name, score in scores},
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
                    label=self.classes[label],
                )
                for box, score, label in zip(
                    self.boxes, self.scores, self.labels, strict=True
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
            dict: ``schema_version``, ``image``, ``height``, ``width`` and
            ``tasks``.
        """
        tasks = {}
        for task, prediction in self.predictions.items():
            if prediction.kind == 'loc':
                tasks[task] = prediction.to_dict(score_thr)
            elif prediction.kind == 'seg':
                tasks[task] = prediction.to_dict((mask_files or {}).get(task))
            else:
                tasks[task] = prediction.to_dict()
        return dict(
            schema_version=SCHEMA_VERSION,
            image=self.path or self.name,
            height=self.size[0],
            width=self.size[1],
            tasks=tasks,
        )


def _number(value: float) -> float | None:
    return round(float(value), 6) if math.isfinite(value) else None
