"""Results that are lines of text below the image."""

from abc import abstractmethod
from typing import Any

import numpy as np

from fx_mm.structures import FXDataSample
from fx_mm.tasks import Task
from fx_mm.visualization.contact_sheet import draw_tile
from fx_mm.visualization.results.base import TaskResult
from fx_mm.visualization.tiles import side_by_side


class LinedResult(TaskResult):
    """A result that lies nowhere in the image, and is written below it."""

    @property
    @abstractmethod
    def lines(self) -> list[Any]:
        """list: What is written below the image."""

    @classmethod
    def draw_beside_truth(
        cls,
        task: Task,
        sample: FXDataSample,
        image: np.ndarray,
        score_thr: float,
        size: int,
    ) -> np.ndarray:
        """Draw the image twice, the lines of both below."""
        truth = cls.mark_truth(task, sample, task.classes).lines
        result = cls.from_sample(task, sample)
        return side_by_side(
            draw_tile(image, caption_lines=truth, size=size),
            result.draw(image, score_thr, size),
            f'{sample.task}  {sample.img_id}',
            '',
        )

    def draw(
        self, image: np.ndarray, score_thr: float, size: int
    ) -> np.ndarray:
        """Draw the image, the lines below."""
        return draw_tile(image, caption_lines=self.lines, size=size)
