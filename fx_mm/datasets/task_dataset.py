"""One split of one task."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from mmengine.registry import DefaultScope, Registry
from torch.utils.data import Dataset

from fx_mm.datasets.few_shot import draw_few
from fx_mm.datasets.io.errors import ImageReadError
from fx_mm.datasets.readers.labels import draw_scores
from fx_mm.datasets.records import Records
from fx_mm.registry import DATASETS, READERS, SCOPE, TRANSFORMS
from fx_mm.tasks.table import Task
from fx_mm.utils.checks import suggest
from fx_mm.utils.errors import UserError

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
        test_mode (bool): Whether a missing or unreadable image raises (True)
            or another of the task takes its place (False), and whether labels
            that are drawn from a range stay unknown (True). Defaults to
            False.
        few_shot (dict, optional): ``n`` images are kept, drawn by ``seed``
            (0), see :func:`draw_few`. Defaults to None, all.
        patient (str, optional): Pattern that finds the patient in an image's
            name, for ``few_shot``, where the annotation file has none.
            Defaults to None.
        data_root (str, optional): Folder that the names of images and masks
            must not leave. Defaults to None: the folders they are relative
            to.

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
        data_root: str | None = None,
        few_shot: dict | None = None,
        patient: str | None = None,
    ) -> None:
        self.task = task if isinstance(task, Task) else Task.from_meta(task)
        self.metainfo = self.task.meta
        self.ann_file = ann_file
        self.test_mode = test_mode
        reader = dict(reader)
        if only is not None:
            reader['only'] = list(only)
        if data_root is not None:
            reader['data_root'] = data_root
        if test_mode:
            reader['max_missing'] = 0.0
        records = self._build(READERS, reader)(ann_file, img_dir, self.task)
        if not isinstance(records, Records):
            records = Records(records)
        self.records = records
        if not len(self.records):
            raise UserError(
                f'{ann_file}: gives no images for task {self.task.name}.'
            )
        if few_shot is not None:
            self._keep_few(reader, patient, **few_shot)
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

        Labels that a reader's policy gives a range (CheXpert's uncertain
        ones) are drawn here, anew for each seed.

        Args:
            index (int): Number of the image in the split.
            seed (int): Seeds the transforms and the drawn labels. The
                generators of the process are left as they were.

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

    def _keep_few(
        self, reader: dict, pattern: str | None, n: int, seed: int = 0
    ) -> None:
        """Keep a draw of the images.

        Raises:
            UserError: If there are fewer.
        """
        # evaluation reads annotation files too, by this package
        from fx_mm.datasets.readers.patients import find_patients

        if n > len(self.records):
            raise UserError(
                f'few_shot of task {self.task.name} asks for {n} training '
                f'images, but {self.ann_file} has {len(self.records)}; ask '
                'for fewer.'
            )
        task = replace(self.task, config=dict(reader=reader))
        names = list(self.records.column('img_id'))
        patients = find_patients(task, self.ann_file, names, pattern)
        chosen = draw_few(names, n, seed, patients)
        self.records = Records([self.records[i] for i in chosen])

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
            # mmcv's RandomApply and the like look up what they hold there
            with DefaultScope.overwrite_default_scope(SCOPE):
                return registry.build(cfg)
        except (AssertionError, TypeError, KeyError, ValueError) as error:
            reason = str(error).strip().split('\n')[0]
            raise UserError(
                f'The {where} {dict(cfg)} cannot be built: {reason}.'
            ) from error

    def _run(self, index: int, seed: int, replaced: str | None) -> dict:
        results = self.records[index]
        results.update(
            self.metainfo,
            replaced=replaced,
            sample_idx=index,
            test_mode=self.test_mode,
        )
        ranges = results.pop('score_range', None)
        if ranges is not None and not self.test_mode:
            results['gt_score'] = draw_scores(
                results['gt_score'], ranges, seed, index
            )
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
