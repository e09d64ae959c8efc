"""A task's test pipeline for images without files and annotations."""

from typing import Any

import numpy as np

from fx_mm.registry import TRANSFORMS
from fx_mm.tasks import Task

# Steps of a test pipeline that are about files and annotations.
FILE_STEPS = ('LoadXray', 'LoadXrayAnnotations', 'PackXray')


def sample_meta(task: Task) -> dict[str, str]:
    """Return what a sample's metainfo says of its task."""
    return dict(task=task.name, dataset=task.dataset, kind=task.kind.name)


class ImagePipeline:
    """What a task's test pipeline does with the pixels of an image.

    Args:
        task (Task): The task.

    Attributes:
        percentiles (Sequence[float] | None): Of the pipeline's ``LoadXray``,
            with which the image is to be read.
        key (str): Pipelines of equal keys give equal pixels.
    """

    def __init__(self, task: Task) -> None:
        steps = task.pipeline('test')
        named = [(s['type'].removeprefix('fx_mm.'), s) for s in steps]
        loading = [step for name, step in named if name == 'LoadXray']
        self.percentiles = loading[0].get('percentiles') if loading else None
        kept = [step for name, step in named if name not in FILE_STEPS]
        self.key = repr((self.percentiles, kept))
        self.steps = [TRANSFORMS.build(step) for step in kept]
        self.meta = sample_meta(task)

    def __call__(
        self, grey: np.ndarray, name: str, path: str | None = None
    ) -> dict[str, Any]:
        """Run the steps.

        Args:
            grey (np.ndarray): uint8 of shape (H, W).
            name (str): The image's name.
            path (str, optional): Its file. Defaults to None.

        Returns:
            dict: What the pipeline hands on: ``img``, uint8 (h, w, 3), and
            the metainfo of a sample.
        """
        data = dict(
            img=np.repeat(grey[..., None], 3, axis=2),
            img_path=path,
            img_id=name,
            img_shape=grey.shape,
            ori_shape=grey.shape,
            scale_factor=(1.0, 1.0),
            replaced=None,
            **self.meta,
        )
        for step in self.steps:
            data = step(data)
        return data
