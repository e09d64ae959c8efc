"""A typed prediction of one task: drawn, saved, written to JSON."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from matplotlib.axes import Axes

from fx_mm.evaluation.metrics.base import TaskMetric
from fx_mm.registry import RESULTS
from fx_mm.structures import FXDataSample
from fx_mm.tasks import Task
from fx_mm.visualization.contact_sheet import Box
from fx_mm.visualization.text import Color, Piece

SCORE_THR = 0.3
"""Boxes with a lower score are left out of pictures and files."""


@dataclass
class Marks:
    """What a contact sheet draws of an image's annotation.

    Attributes:
        boxes (list[tuple]): x1, y1, x2, y2 in pixels, name and colour.
        masks (list[tuple]): bool (H, W) and colour.
        lines (list): Lines of text, each a string or coloured pieces.
        ignored (np.ndarray, optional): bool (H, W), pixels that nobody
            annotated.
    """

    boxes: list[Box] = field(default_factory=list)
    masks: list[tuple[np.ndarray, Color]] = field(default_factory=list)
    lines: list[str | list[Piece]] = field(default_factory=list)
    ignored: np.ndarray | None = None


class TaskResult(ABC):
    """One typed result per task and image; a kind names its class.

    Attributes:
        task (Task): The task.
        panels (int): Plots that :meth:`plot` draws side by side; 0 for none.
        table (str): File of the table with a row per image, to which tasks
            with the same file add their :meth:`columns`; '' for none.
    """

    panels: ClassVar[int] = 0
    table: ClassVar[str] = ''
    task: Task

    @property
    def classes(self) -> tuple[str, ...]:
        """tuple[str]: Class names in the order of the head."""
        return self.task.classes

    @classmethod
    @abstractmethod
    def from_sample(cls, task: Task, sample: FXDataSample) -> 'TaskResult':
        """Return the prediction that the model wrote into a sample."""

    @classmethod
    @abstractmethod
    def has_finding(cls, sample: FXDataSample) -> bool:
        """Whether anything is annotated on a sample."""

    @classmethod
    @abstractmethod
    def mark_truth(
        cls, task: Task, sample: FXDataSample, names: Sequence[str]
    ) -> Marks:
        """Return what a contact sheet draws of a sample's annotation.

        Args:
            task (Task): The task.
            sample (FXDataSample): In pixels of the original image.
            names (Sequence[str]): All class names, which colours depend on.
        """

    @classmethod
    @abstractmethod
    def draw_beside_truth(
        cls,
        task: Task,
        sample: FXDataSample,
        image: np.ndarray,
        score_thr: float,
        size: int,
    ) -> np.ndarray:
        """Draw the truth of a sample beside its prediction.

        Args:
            task (Task): The task.
            sample (FXDataSample): With truth and prediction, in pixels of the
                original image.
            image (np.ndarray): uint8 of shape (H, W).
            score_thr (float): Boxes below this score are not drawn.
            size (int): Width of each half in pixels.

        Returns:
            np.ndarray: uint8 RGB tile of width ``2 * size``.
        """

    @abstractmethod
    def draw(
        self, image: np.ndarray, score_thr: float, size: int
    ) -> np.ndarray:
        """Draw the prediction as one tile, uint8 RGB of width ``size``."""

    @abstractmethod
    def to_dict(
        self,
        score_thr: float = 0.0,
        files: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Return everything but pixels, ready for JSON.

        Args:
            score_thr (float): Boxes below this score are skipped. Defaults
                to 0: all.
            files (Mapping[str, str], optional): What :meth:`save_files`
                returned. Defaults to None.
        """

    def save_files(self, folder: Path) -> dict[str, str]:
        """Write what JSON cannot hold, such as masks.

        Args:
            folder (Path): Folder of its own for the image.

        Returns:
            dict[str, str]: Class to name of its file in the folder; by
            default nothing is written.
        """
        return {}

    @classmethod
    def plot(
        cls,
        axes: Sequence[Axes],
        metric: TaskMetric,
        records: list[Any],
        metrics: Mapping[str, float],
    ) -> None:
        """Draw the curves and histograms behind a task's metrics.

        Args:
            axes (Sequence[Axes]): :attr:`panels` of them.
            metric (TaskMetric): The task's metric.
            records (list[tuple]): What it kept, one per image.
            metrics (Mapping[str, float]): Its results, for the legends.

        Raises:
            NotImplementedError: If a kind has panels and does not draw them.
        """
        raise NotImplementedError

    @classmethod
    def columns(cls, task: Task) -> list[str]:
        """Return the columns of the task in a table with a row per image."""
        return []

    def row(self) -> dict[str, str]:
        """Return the cells of :meth:`columns`."""
        return {}


def result_class(task: Task) -> type[TaskResult]:
    """Return the class of a task's results."""
    return RESULTS.get(task.kind.result)


def finite(value: float) -> float | None:
    """Return a rounded number for JSON, None where it is not finite."""
    return round(float(value), 6) if math.isfinite(value) else None
