"""One split of one task."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmengine.registry import DefaultScope, Registry

from fx_mm.datasets.few_shot import draw_few, draw_share
from fx_mm.datasets.readers.labels import draw_scores
from fx_mm.datasets.readers.patients import find_patients
from fx_mm.datasets.records import Records
from fx_mm.datasets.rehearsal_buffer import read_buffer
from fx_mm.image_io.errors import ImageReadError
from fx_mm.registry import DATASETS, READERS, SCOPE, TRANSFORMS
from fx_mm.tasks import Task
from fx_mm.utils.build_errors import build_errors
from fx_mm.utils.checks import suggest
from fx_mm.utils.errors import UserError

REPLACEMENTS = 10
"""Other images that are tried in place of an unreadable one."""


@DATASETS.register_module()
class TaskDataset(BaseDataset):
    """The images of one split with the annotation of one task.

    mmengine's dataset over :class:`Records` instead of its pickled list: a
    quarter of the memory and no unpickling per sample, for 400,000 rows.

    Args:
        task (Task): The task; its entry names reader, files and transforms.
        split (str): ``train``, ``val`` or ``test``.
        test_mode (bool, optional): Whether a missing or unreadable image
            raises (True) or another of the task takes its place (False), and
            whether labels that are drawn from a range stay unknown (True).
            Defaults to None: False for ``train`` alone.
        pipeline (list[dict], optional): Transforms, ending in ``PackXray``.
            Defaults to None: the task's for this split.

    Attributes:
        task (Task): The task.
        data_list (Records): What the reader returned.
        empty (np.ndarray): bool (N,), True where an image of a task with
            boxes has none; False otherwise.

    Raises:
        UserError: If the annotation is wrong (see the reader), or reader or
            pipeline are not configured rightly.
    """

    data_list: Records

    def __init__(
        self,
        task: Task,
        split: str,
        test_mode: bool | None = None,
        pipeline: list[dict[Any, Any]] | None = None,
    ) -> None:
        self.task = task
        self.split = split
        if pipeline is None:
            pipeline = task.pipeline('train' if split == 'train' else 'test')
        super().__init__(
            ann_file=task.ann_file(split),
            metainfo=task.meta,
            serialize_data=False,
            pipeline=[self._build(TRANSFORMS, step) for step in pipeline],
            test_mode=split != 'train' if test_mode is None else test_mode,
            max_refetch=REPLACEMENTS,
        )
        self.empty = np.zeros(len(self), bool)
        if self.data_list.has('boxes'):
            self.empty = self.data_list.column('boxes').lengths == 0

    @classmethod
    def _load_metainfo(
        cls, metainfo: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Take the task's names as they are: mmengine opens such files."""
        return dict(metainfo or {})

    @property
    def rehearses(self) -> bool:
        """bool: Whether only the images of a rehearsal buffer are read."""
        rehearsal = self.task.config.get('rehearsal')
        return rehearsal is not None and self.split == 'train'

    def load_data_list(self) -> Records:
        """Read the split's annotation file.

        Raises:
            UserError: If there is no image, or the annotation is wrong.
        """
        task, config = self.task, self.task.config
        reader = dict(config['reader'])
        if config.get('img_ids') is not None:
            reader['img_ids'] = list(config['img_ids'])
        if task.data_root:
            reader['data_root'] = task.data_root
        if self.rehearses:
            reader['img_ids'] = read_buffer(config['rehearsal'], task.name)
        if self.test_mode:
            reader['max_missing'] = 0.0
        read = self._build(READERS, reader)
        records = read(self.ann_file, task.image_folder, task)
        if not isinstance(records, Records):
            records = Records(records)
        if not len(records):
            raise UserError(
                f'{self.ann_file}: no images for task {task.name}.'
            )
        return records

    def filter_data(self) -> Records:
        """Keep the images of a draw, if the entry asks for one."""
        few_shot = self.task.config.get('few_shot')
        if few_shot is None or self.split != 'train' or self.rehearses:
            return self.data_list
        return self._keep_few(**few_shot)

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """Return a fresh record, whose arrays may be written to."""
        return self.data_list[idx]

    def __getitem__(self, idx: int) -> dict[str, Any]:
        """Return a sample with seed 0."""
        return self.sample(idx, 0)

    def sample(self, index: int, seed: int) -> dict[Any, Any]:
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
        for _ in range(min(self.max_refetch, len(self) - 1)):
            other = (index + others.randrange(1, len(self))) % len(self)
            with seeded(seed):
                try:
                    return self._run(other, seed, str(replaced))
                except ImageReadError:
                    continue
        raise replaced

    def _keep_few(
        self, n: int | None = None, share: float = 1.0, seed: int = 0
    ) -> Records:
        """Draw ``n`` images by their patients, or a share of these.

        Raises:
            UserError: If there are fewer.
        """
        records = self.data_list
        if n is not None and n > len(records):
            raise UserError(
                f'few_shot of task {self.task.name} asks for {n} training '
                f'images, but {self.ann_file} has {len(records)}; ask '
                'for fewer.'
            )
        names = list(records.column('img_id'))
        pattern = self.task.config.get('patient')
        patients = find_patients(self.task, self.ann_file, names, pattern)
        if n is None:
            chosen = draw_share(names, share, seed, patients)
        else:
            chosen = draw_few(names, n, seed, patients)
        return Records([records[i] for i in chosen])

    def _build(self, registry: Registry, cfg: dict[str, Any]) -> Any:
        """Build a reader or transform; a mistyped config is a UserError."""
        name = cfg.get('type')
        where = f'{registry.name} of task {self.task.name}'
        if name and isinstance(name, str) and registry.get(name) is None:
            raise UserError(
                f'Unknown {where}: "{name}"; '
                f'{suggest(name, registry.module_dict)}.'
            )
        try:
            # mmcv's RandomApply and the like look up what they hold there
            with (
                DefaultScope.overwrite_default_scope(SCOPE),
                build_errors(f'the {where}'),
            ):
                return registry.build(cfg)
        except (AssertionError, TypeError, KeyError, ValueError) as error:
            reason = str(error).strip().split('\n')[0]
            raise UserError(
                f'The {where} {dict(cfg)} cannot be built: {reason}.'
            ) from error

    def _run(
        self, index: int, seed: int, replaced: str | None
    ) -> dict[str, Any]:
        results = self.get_data_info(index)
        results.update(
            self._metainfo,
            replaced=replaced,
            sample_idx=index,
            test_mode=self.test_mode,
        )
        ranges = results.pop('score_range', None)
        if ranges is not None and not self.test_mode:
            results['gt_score'] = draw_scores(
                results['gt_score'], ranges, seed, index
            )
        for step in self.pipeline.transforms:
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
