"""Predict on images: one line to load, one call to run."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config

from fx_mm.datasets.transforms.formatting import META_KEYS
from fx_mm.datasets.xray_io import (
    IMAGE_SUFFIXES,
    ImageReadError,
    is_dicom,
    read_xray,
)
from fx_mm.registry import TRANSFORMS
from fx_mm.structures import FXDataSample
from fx_mm.tasks import Task, TaskTable
from fx_mm.utils.errors import UserError

from .model import load_model
from .results import ClsResult, ImageResult, LocResult, SegResult
from .runner import load_config

Source = str | Path | np.ndarray
# Steps of a test pipeline that are about files and annotations.
FILE_STEPS = ('LoadXray', 'LoadXrayAnnotations', 'PackXray')


class FoundationXInferencer:
    """Run all heads of a trained model, or the named ones, on images.

    .. code-block:: python

        infer = FoundationXInferencer('config.py', 'iter_900.pth')
        result, = infer('chest.dcm')
        result['nih14/cls'].scores

    Each task sees the image through its own test pipeline and
    normalisation, as in ``tools/test.py``.

    Args:
        config (str | Path | Config): The experiment's config.
        checkpoint (str | Path): Checkpoint file or URL.
        weights (str): Who answers, ``teacher`` or ``student``. A model
            without a teacher answers itself. Defaults to ``teacher``.
        tasks (Sequence[str], optional): Task names. Defaults to all.
        device (str): Defaults to ``cpu``.
        trust (bool): Unpickle anything in the checkpoint.
            Defaults to False.

    Raises:
        UserError: If config, checkpoint, weights, a task or the device is
            wrong.
    """

    def __init__(
        self,
        config: str | Path | Config,
        checkpoint: str | Path,
        weights: str = 'teacher',
        tasks: Sequence[str] | None = None,
        device: str = 'cpu',
        trust: bool = False,
    ) -> None:
        if weights not in ('teacher', 'student'):
            raise UserError(
                f'weights is "{weights}"; it must be "teacher" or "student".'
            )
        if str(device).startswith('cuda') and not torch.cuda.is_available():
            raise UserError(
                f'device is "{device}", but this torch sees no GPU; use "cpu".'
            )
        if not isinstance(config, Config):
            config = load_config(str(config))
        if tasks:
            table = TaskTable.from_cfg(config)
            config = Config(config.to_dict(), filename=config.filename)
            config.tasks = [table[name].name for name in tasks]
        self.tasks = list(TaskTable.from_cfg(config))
        self.checkpoint = str(checkpoint)
        self.device = torch.device(device)
        self.model = load_model(config, self.checkpoint, self.device, trust)
        if hasattr(self.model, 'using'):
            self.model.weights = weights
            self.weights = weights
        else:
            self.weights = 'model'
        test_cfg = config.get('test_cfg') or {}
        self.amp_dtype = test_cfg.get('amp_dtype')
        self._pipelines = {
            task.name: _image_steps(task.pipeline('test'))
            for task in self.tasks
        }

    def __call__(
        self,
        inputs: Source | Sequence[Source],
        batch_size: int = 8,
        skip_unreadable: bool = False,
    ) -> list[ImageResult]:
        """Predict on images.

        Args:
            inputs (str | Path | np.ndarray | Sequence): A file, a folder
                (with its subfolders), a grey array of shape (H, W), or
                several of these.
            batch_size (int): Images that go through the model at once.
                Defaults to 8.
            skip_unreadable (bool): Give a result with ``error`` for an
                unreadable file instead of raising. Defaults to False.

        Returns:
            list[ImageResult]: One an image, in the order of the inputs,
            files of a folder by name. Pixels of files are not kept.

        Raises:
            UserError: If there is no image.
            ImageReadError: If a file cannot be read.
        """
        results = []
        for result in self.iterate(inputs, batch_size, skip_unreadable):
            if result.path is not None:
                result.image = None
            results.append(result)
        return results

    def iterate(
        self,
        inputs: Source | Sequence[Source],
        batch_size: int = 8,
        skip_unreadable: bool = False,
    ) -> Iterator[ImageResult]:
        """Predict on images one batch at a time, for long lists.

        Args:
            inputs: As of :meth:`__call__`.
            batch_size (int): Defaults to 8.
            skip_unreadable (bool): Defaults to False.

        Yields:
            ImageResult: With ``image``.

        Raises:
            UserError: If there is no image.
            ImageReadError: If a file cannot be read.
        """
        sources = list_sources(inputs)
        for start in range(0, len(sources), batch_size):
            results = []
            for index in range(start, min(start + batch_size, len(sources))):
                results.append(_load(sources[index], index, skip_unreadable))
            readable = [r for r in results if r.error is None]
            for task in self.tasks if readable else ():
                self._predict(task, readable)
            yield from results

    @torch.no_grad()
    def _predict(self, task: Task, results: list[ImageResult]) -> None:
        """Add the predictions of one task to the results."""
        batch = dict(inputs=[], data_samples=[])
        for result in results:
            data = self._prepare(task, result)
            image = np.ascontiguousarray(data['img'].transpose(2, 0, 1))
            batch['inputs'].append(torch.from_numpy(image))
            batch['data_samples'].append(
                FXDataSample(metainfo={key: data[key] for key in META_KEYS})
            )
        with self._autocast():
            samples = self.model.test_step(batch)
        for result, sample in zip(results, samples, strict=True):
            result.predictions[task.name] = _typed(task, sample)

    def _prepare(self, task: Task, result: ImageResult) -> dict:
        data = dict(
            img=np.repeat(result.image[..., None], 3, axis=2),
            img_path=result.path,
            img_id=result.name,
            img_shape=result.size,
            ori_shape=result.size,
            scale_factor=(1.0, 1.0),
            task=task.name,
            dataset=task.dataset,
            kind=task.kind,
            replaced=None,
        )
        for step in self._pipelines[task.name]:
            data = step(data)
        return data

    def _autocast(self):
        if self.amp_dtype is None:
            return contextlib.nullcontext()
        dtype = getattr(torch, self.amp_dtype)
        return torch.autocast(self.device.type, dtype=dtype)


def list_sources(inputs: Source | Iterable[Source]) -> list[Source]:
    """Spread folders into their files.

    Args:
        inputs (str | Path | np.ndarray | Iterable): See
            :class:`FoundationXInferencer`.

    Returns:
        list[str | np.ndarray]: Files and arrays.

    Raises:
        UserError: If there is no image at all, or an array is not grey.
    """
    if isinstance(inputs, str | Path | np.ndarray):
        inputs = [inputs]
    sources = []
    for source in inputs:
        if isinstance(source, np.ndarray):
            if source.dtype != np.uint8 or source.ndim != 2:
                raise UserError(
                    'an image array must be grey, uint8 of shape (H, W), '
                    f'not {source.dtype} of shape {source.shape}.'
                )
            sources.append(source)
        elif Path(source).is_dir():
            sources += find_images(source)
        else:
            sources.append(str(source))
    if not sources:
        raise UserError('no image to predict on: the list is empty.')
    return sources


def find_images(
    folder: str | Path, exclude: str | Path | None = None
) -> list[str]:
    """List the images of a folder and its subfolders.

    Args:
        folder (str | Path): The folder.
        exclude (str | Path, optional): A folder within that is left out.
            Defaults to None.

    Returns:
        list[str]: Files with the suffix of an image and DICOM files of any
        name, sorted; hidden ones are left out.

    Raises:
        UserError: If there is none.
    """
    folder = Path(folder)
    skip = None if exclude is None else Path(exclude).resolve()
    images = []
    for path in sorted(folder.rglob('*')):
        hidden = any(
            part.startswith('.') for part in path.relative_to(folder).parts
        )
        if hidden or not path.is_file():
            continue
        if skip is not None and skip in path.resolve().parents:
            continue
        if path.suffix.lower() in IMAGE_SUFFIXES or _is_dicom_file(path):
            images.append(str(path))
    if not images:
        raise UserError(
            f'{folder}: no image in this folder; known are '
            f'{", ".join(IMAGE_SUFFIXES)} and DICOM files of any name.'
        )
    return images


def _is_dicom_file(path: Path) -> bool:
    try:
        with path.open('rb') as file:
            return is_dicom(file.read(132))
    except OSError:
        return False


def _load(source: Source, index: int, skip_unreadable: bool) -> ImageResult:
    if isinstance(source, np.ndarray):
        return ImageResult(f'array {index}', None, source.shape, image=source)
    result = ImageResult(Path(source).name, source)
    try:
        result.image = read_xray(source)
    except ImageReadError as error:
        if not skip_unreadable:
            raise
        result.error = str(error)
    else:
        result.size = result.image.shape
    return result


def _image_steps(pipeline: list[dict]) -> list:
    """Build the steps of a test pipeline that change the image."""
    return [
        TRANSFORMS.build(step)
        for step in pipeline
        if step['type'].removeprefix('fx_mm.') not in FILE_STEPS
    ]


def _typed(
    task: Task, sample: FXDataSample
) -> ClsResult | LocResult | SegResult:
    if task.kind == 'cls':
        scores = sample.pred_score.float().cpu().numpy()
        return ClsResult(task.name, task.classes, scores)
    if task.kind == 'loc':
        found = sample.pred_instances
        found = found[torch.argsort(found.scores, descending=True)].cpu()
        return LocResult(
            task.name,
            task.classes,
            boxes=found.bboxes.float().numpy(),
            scores=found.scores.float().numpy(),
            labels=found.labels.numpy(),
        )
    masks = sample.pred_sem_seg.data.cpu().numpy() > 0
    return SegResult(task.name, task.classes, masks)
