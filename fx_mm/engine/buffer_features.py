"""Features of training images, to choose those that represent a task."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from fx_mm.datasets.collate import collate_batch
from fx_mm.datasets.task_dataset import TaskDataset
from fx_mm.models.mean_teacher import bare_model

if TYPE_CHECKING:
    from fx_mm.engine.runner import MultiTaskRunner


@torch.no_grad()
def pooled_features(
    runner: 'MultiTaskRunner', dataset: TaskDataset
) -> np.ndarray:
    """Return the mean of the last backbone map of each image.

    By the model that predicts, on images as the test pipeline prepares them.

    Args:
        runner (MultiTaskRunner): With its weights loaded.
        dataset (TaskDataset): Training images.

    Returns:
        np.ndarray: float32 (N, C).

    Raises:
        ImageReadError: If an image cannot be read.
    """
    model = bare_model(runner.model)
    plain = TaskDataset(
        dataset.task,
        dataset.split,
        test_mode=True,
        pipeline=dataset.task.pipeline('test'),
    )
    loader: DataLoader[Any] = DataLoader(
        plain,
        batch_size=int(dataset.task.config['batch_size']),
        num_workers=runner.train_loop.dataloader.num_workers,
        collate_fn=collate_batch,
    )
    model.eval()
    found = []
    for batch in loader:
        data = model.data_preprocessor(batch, False)
        maps = model.active.extract_feat(data['inputs'], dataset.task)
        last = maps[-1]
        found.append(last.float().mean((2, 3)).cpu().numpy())
    return np.concatenate(found)
