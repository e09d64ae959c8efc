"""Made-up samples: to measure and try a config without its data."""

from typing import Any

import numpy as np
import torch
from mmengine.structures import InstanceData, PixelData
from torch.utils.data import Dataset

from fx_mm.datasets.multi_task_dataset import MultiTaskDataset
from fx_mm.datasets.transforms.formatting import as_field
from fx_mm.registry import DATASETS, READERS
from fx_mm.structures import FXDataSample
from fx_mm.tasks import Task


class SyntheticTask(Dataset):
    """Images of noise with the annotation of one task.

    Args:
        task (Task): The task; its reader's class makes up the annotation.
        length (int): Number of images. Defaults to 1000.

    Attributes:
        task (Task): The task.
        metainfo (dict): As of :class:`TaskDataset`.
        empty (np.ndarray): bool (length,), all False.
    """

    def __init__(
        self,
        task: Task,
        length: int = 1000,
    ) -> None:
        self.task = task
        self.metainfo = task.meta
        self.length = length
        self.empty = np.zeros(length, bool)
        self._reader = READERS.get(task.config['reader']['type'])

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[Any, Any]:
        """Return a sample with seed 0."""
        return self.sample(index, 0)

    def sample(self, index: int, seed: int) -> dict[Any, Any]:
        """Draw a sample.

        Args:
            index (int): Number of the image.
            seed (int): Draws another image of the same number.

        Returns:
            dict: ``inputs`` (uint8 Tensor (3, H, W)) and ``data_samples``
            (FXDataSample), as of a pipeline that ends in ``PackXray``.
        """
        rng = np.random.default_rng([seed, index])
        size = self.task.config['img_size']
        sample = FXDataSample(
            metainfo=dict(
                self.metainfo,
                img_id=str(index),
                img_path='',
                ori_shape=(size, size),
                img_shape=(size, size),
                scale_factor=(1.0, 1.0),
                replaced=None,
            )
        )
        made = self._reader.made_up(self.task, index, size, rng)
        fields = {k: as_field(value) for k, value in made.items()}
        if 'gt_bboxes' in fields:
            sample.gt_instances = InstanceData(
                bboxes=fields['gt_bboxes'], labels=fields['gt_bboxes_labels']
            )
        elif 'gt_masks' in fields:
            sample.gt_sem_seg = PixelData(data=fields['gt_masks'])
        else:
            for key, value in fields.items():
                setattr(sample, key, value)
        image = rng.integers(256, size=(3, size, size), dtype=np.uint8)
        return dict(inputs=torch.from_numpy(image), data_samples=sample)


@DATASETS.register_module()
class SyntheticDataset(MultiTaskDataset):
    """Made-up tasks side by side, where there are no data."""

    def open_task(self, task: Task, split: str) -> SyntheticTask:
        """Make a task up; its splits are alike."""
        return SyntheticTask(task)
