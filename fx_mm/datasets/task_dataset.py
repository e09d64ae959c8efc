"""One split of one task."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from mmengine.registry import Registry
from torch.utils.data import Dataset

from ..registry import DATASETS, READERS, TRANSFORMS
from ..tasks import Task, suggest
from ..utils.errors import UserError
from .records import Records
from .xray_io import ImageReadError

REPLACEMENTS = 10
"""Other images that are tried in place of an unreadable one."""


@DATASETS.register_module()
class TaskDataset(Dataset):
    """The images of one split with the annotation of one task.

    Args:
        task (Task | dict): The task, or its ``meta``.
        reader (dict): Config of a reader; see :mod:`fx_mm.datasets.readers`.
        ann_file (str): Path of the split's annotation file.
        img_dir (str): Folder of the images.
        pipeline (list[dict]): Transforms, ending in ``PackXray``.
        only (Sequence[str], optional): Names of the images to keep. Defaults
            to None, which keeps all.
        test_mode (bool): Whether an unreadable image raises (True) or another
            of the task takes its place (False). Defaults to False.

    Attributes:
        task (Task): The task.
        metainfo (dict): task (its name), dataset, kind, classes, labels.
        records (Sequence[dict]): What the reader gave.
        empty (np.ndarray): bool (N,), True where a loc image has no box;
            False for the other kinds.

    Raises:
        UserError: If the annotation is wrong (see the reader), or reader or
            pipeline are not configured rightly.
    """

    def __init__(
        self,
        task: Task | dict,
        reader: dict,
        ann_file: str,
        img_dir: str,
        pipeline: list[dict],
        only: Sequence[str] | None = None,
        test_mode: bool = False,
    ) -> None:
        self.task = task if isinstance(task, Task) else Task.from_meta(task)
        self.metainfo = self.task.meta
        self.ann_file = ann_file
        self.test_mode = test_mode
        if only is not None:
            reader = dict(reader, only=list(only))
        read = self._build(READERS, reader)
        self.records = Records(read(ann_file, img_dir, self.task))
        if not len(self.records):
            raise UserError(
                f'{ann_file}: gives no images for task {self.task.name}.'
            )
        self.empty = np.zeros(len(self.records), bool)
        if self.task.kind == 'loc':
            self.empty = self.records.column('boxes').lengths == 0
        self.pipeline = [self._build(TRANSFORMS, step) for step in pipeline]

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict:
        """Give a sample with seed 0."""
        return self.sample(index, 0)

    def sample(self, index: int, seed: int) -> dict:
        """Load an image and run the pipeline, reproducibly.

        Args:
            index (int): Number of the image in the split.
            seed (int): Seeds the transforms. The generators of the process
                are left as they were.

        Returns:
            dict: ``inputs`` (uint8 Tensor (3, H, W)) and ``data_samples``
            (FXDataSample).

        Raises:
            ImageReadError: If the image cannot be read in test mode, or
                neither can others in training.
            UserError: If the annotation does not fit the image.
        """
        with seeded(seed):
            try:
                return self._run(index, seed, None)
            except ImageReadError as error:
                if self.test_mode:
                    raise
                replaced = error
        # a generator of its own, so that no transform shifts the choice
        others = random.Random(seed)
        for _ in range(min(REPLACEMENTS, len(self) - 1)):
            other = (index + others.randrange(1, len(self))) % len(self)
            with seeded(seed):
                try:
                    return self._run(other, seed, str(replaced))
                except ImageReadError:
                    continue
        raise replaced

    def _build(self, registry: Registry, cfg: dict):
        """Build a reader or transform; a mistyped config is a UserError."""
        name = cfg.get('type')
        where = f'{registry.name} of task {self.task.name}'
        if isinstance(name, str) and registry.get(name) is None:
            raise UserError(
                f'Unknown {where}: "{name}"; '
                f'{suggest(name, registry.module_dict)}.'
            )
        try:
            return registry.build(cfg)
        except (AssertionError, TypeError, KeyError, ValueError) as error:
            reason = str(error).strip().split('\n')[0]
            raise UserError(
                f'The {where} {dict(cfg)} cannot be built: {reason}.'
            ) from error

    def _run(self, index: int, seed: int, replaced: str | None) -> dict:
        results = self.records[index]
        results.update(self.metainfo, replaced=replaced, sample_idx=index)
        for step in self.pipeline:
            results = step(results)
            if results is None:
                raise UserError(
                    f'Transform {type(step).__name__} of task '
                    f'{self.task.name} dropped an image; images without '
                    'objects must stay (keep_empty=False).'
                )
        return results


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python's, numpy's and torch's CPU generator for a block.

    Args:
        seed (int): 0 or above; numpy gets its lower 32 bits.
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
