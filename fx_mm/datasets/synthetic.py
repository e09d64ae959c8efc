"""Made-up samples: to measure and try a config without its data."""

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.structures import InstanceData, PixelData
from torch.utils.data import Dataset

from fx_mm.datasets.multi_task_dataset import MultiTaskDataset
from fx_mm.registry import DATASETS
from fx_mm.structures import FXDataSample
from fx_mm.tasks.table import Task


class SyntheticTask(Dataset):
    """Images of noise with the annotation of one task.

    Args:
        task (Task | dict): The task, or its ``meta``.
        img_size (int): Side of the images in pixels.
        length (int): Number of images. Defaults to 1000.
        boxes (int): Boxes of each image of a loc task. Defaults to 2.

    Attributes:
        task (Task): The task.
        metainfo (dict): As of :class:`TaskDataset`.
        empty (np.ndarray): bool (length,), True where a loc image has no box.
    """

    def __init__(
        self,
        task: Task | dict,
        img_size: int,
        length: int = 1000,
        boxes: int = 2,
    ) -> None:
        self.task = task if isinstance(task, Task) else Task.from_meta(task)
        self.metainfo = self.task.meta
        self.img_size = img_size
        self.length = length
        self.boxes = boxes
        free = self.task.kind == 'loc' and boxes == 0
        self.empty = np.full(length, free)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict:
        """Give a sample with seed 0."""
        return self.sample(index, 0)

    def sample(self, index: int, seed: int) -> dict:
        """Draw a sample.

        Args:
            index (int): Number of the image.
            seed (int): Draws another image of the same number.

        Returns:
            dict: ``inputs`` (uint8 Tensor (3, H, W)) and ``data_samples``
            (FXDataSample), as of a pipeline that ends in ``PackXray``.
        """
        rng = np.random.default_rng([seed, index])
        size, classes = self.img_size, len(self.task.classes)
        sample = FXDataSample(
            metainfo=dict(
                self.metainfo,
                task=self.task.name,
                img_id=str(index),
                img_path='',
                ori_shape=(size, size),
                img_shape=(size, size),
                scale_factor=(1.0, 1.0),
                replaced=None,
            )
        )
        if self.task.kind == 'cls':
            sample.gt_score = torch.eye(classes)[index % classes]
        elif self.task.kind == 'loc':
            sample.gt_instances = InstanceData(
                bboxes=torch.from_numpy(self._boxes(rng)),
                labels=torch.from_numpy(
                    rng.integers(classes, size=self.boxes)
                ),
            )
        else:
            masks = torch.zeros(classes, size, size, dtype=torch.uint8)
            low, high = size // 4, size // 2
            masks[:, low:high, low:high] = 1
            sample.gt_sem_seg = PixelData(data=masks)
        image = rng.integers(256, size=(3, size, size), dtype=np.uint8)
        return dict(inputs=torch.from_numpy(image), data_samples=sample)

    def _boxes(self, rng: np.random.Generator) -> np.ndarray:
        """Boxes (n, 4), xyxy in pixels, an eighth to a half of the side."""
        sides = rng.uniform(0.125, 0.5, (self.boxes, 2))
        corners = rng.uniform(0, 1 - sides)
        boxes = np.concatenate([corners, corners + sides], axis=1)
        return (boxes * self.img_size).astype(np.float32)


@DATASETS.register_module()
class SyntheticDataset(MultiTaskDataset):
    """Made-up tasks side by side, where there are no data.

    Args:
        tasks (Sequence[dict]): The ``meta`` of each task, in order.
        img_sizes (dict): Task name to the side of its images in pixels.
        **kwargs: Further arguments of :class:`SyntheticTask`.

    Attributes:
        datasets (list[SyntheticTask]): In the order of the tasks.
        metainfo (dict): ``tasks``: the metainfo of each.
    """

    def __init__(
        self, tasks: Sequence[dict], img_sizes: dict, **kwargs
    ) -> None:
        self._join(
            [
                SyntheticTask(task, img_sizes[task['task']], **kwargs)
                for task in tasks
            ]
        )
