"""Predict on images: one line to load, one call to run."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config

from fx_mm.apis.image_pipeline import ImagePipeline, sample_meta
from fx_mm.apis.model import load_model, stored_config
from fx_mm.apis.sources import Source, list_sources, read_source
from fx_mm.config import load_config
from fx_mm.datasets.io.errors import ImageReadError
from fx_mm.datasets.transforms.formatting import META_KEYS
from fx_mm.models import RegionGuidance
from fx_mm.structures import FXDataSample
from fx_mm.tasks import Task, TaskTable
from fx_mm.utils.checkpoint import load_source
from fx_mm.utils.checks import check_choice, check_number
from fx_mm.utils.errors import UserError
from fx_mm.utils.parallel import progress_bar
from fx_mm.utils.predictors import PREDICTORS
from fx_mm.visualization.results import ImageResult, result_class


class FoundationXInferencer:
    """Run all heads of a trained model, or the named ones, on images.

    .. code-block:: python

        infer = FoundationXInferencer('iter_900.pth')
        result, = infer('chest.dcm')
        result['nih14/cls'].probabilities

    Each task sees the image through its own test pipeline, normalisation and
    test-time augmentation, as in ``tools/test.py``; where these agree, the
    tasks share one run of the backbone.

    Args:
        config (str | Path | Config): The experiment's config. Given alone,
            it is the checkpoint, whose meta holds the config as text, which
            is read and not executed.
        checkpoint (str | Path, optional): Checkpoint file or URL. Defaults
            to None.
        predict_on (str): Which model predicts, ``teacher`` or ``student``.
            Defaults to ``teacher``.
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
        checkpoint: str | Path | None = None,
        predict_on: str = 'teacher',
        tasks: Sequence[str] | None = None,
        device: str = 'cpu',
        trust: bool = False,
    ) -> None:
        check_choice('predict_on', predict_on, PREDICTORS)
        self.device = _device(device)
        alone = checkpoint is None
        if alone and (isinstance(config, Config) or _is_config_file(config)):
            raise UserError(
                'the inferencer has a config but no checkpoint; give '
                '(config, checkpoint), or the checkpoint alone.'
            )
        self.checkpoint = str(config if alone else checkpoint)
        self.predict_on = predict_on
        loaded = load_source(self.checkpoint, trust)
        if alone:
            config = stored_config(loaded, self.checkpoint)
        elif not isinstance(config, Config):
            config = load_config(str(config))
        config, self.tasks = _choose_tasks(config, tasks)
        self.model = load_model(
            config, self.checkpoint, self.device, loaded=loaded
        )
        self.model.predict_on = predict_on
        self.amp_dtype = (config.get('test_cfg') or {}).get('amp_dtype')
        self._pipelines = {
            task.name: ImagePipeline(task) for task in self.tasks
        }

    def __call__(
        self,
        inputs: Source | Iterable[Source],
        batch_size: int = 8,
        skip_unreadable: bool = False,
        progress: bool | None = None,
    ) -> list[ImageResult]:
        """Predict on images.

        Args:
            inputs (str | Path | np.ndarray | Iterable): A file that
                :func:`fx_mm.datasets.read_xray` knows, DICOM too; a folder
                (with its subfolders); an array of shape (H, W) or, RGB,
                (H, W, 3); or several of these, also from a generator. The
                values of arrays other than uint8 are mapped from their own
                range to 0..255, as those of deeper files are.
            batch_size (int): Images that go through the model at once.
                Defaults to 8.
            skip_unreadable (bool): Give a result with ``error`` for what
                cannot be read instead of raising. Defaults to False.
            progress (bool, optional): Show a progress bar. Defaults to None:
                where somebody looks, on a terminal.

        Returns:
            list[ImageResult]: One an image, in the order of the inputs,
            files of a folder by name. Pixels of files are not kept.

        Raises:
            UserError: If there is no image.
            ImageReadError: If one cannot be read.
        """
        results = []
        for result in self.iterate(
            inputs, batch_size, skip_unreadable, progress
        ):
            if result.path is not None:
                result.image = None
            results.append(result)
        return results

    def iterate(
        self,
        inputs: Source | Iterable[Source],
        batch_size: int = 8,
        skip_unreadable: bool = False,
        progress: bool | None = None,
    ) -> Iterator[ImageResult]:
        """Predict on images one batch at a time, for long lists.

        Args:
            inputs: As of :meth:`__call__`.
            batch_size (int): Defaults to 8.
            skip_unreadable (bool): Defaults to False.
            progress (bool, optional): Defaults to None.

        Yields:
            ImageResult: With ``image``.

        Raises:
            UserError: If there is no image.
            ImageReadError: If one cannot be read.
        """
        check_number('batch_size', batch_size, 1, whole=True)
        sources, total = list_sources(inputs)
        numbered = enumerate(sources)
        with progress_bar('predict', total, shown=progress) as advance:
            shown = self._pipelines[self.tasks[0].name].percentiles
            while group := list(islice(numbered, batch_size)):
                images = [
                    _Image(source, index, skip_unreadable, shown)
                    for index, source in group
                ]
                self._predict([i for i in images if i.result.error is None])
                for image in images:
                    advance(1)
                    yield image.result

    @torch.no_grad()
    def _predict(self, images: list['_Image']) -> None:
        """Add the predictions of all tasks to the results."""
        if not images:
            return
        prepared: dict[str, list[dict]] = {}
        with self.model.active.sharing_features(), self._autocast():
            for task in self.tasks:
                pipeline = self._pipelines[task.name]
                if pipeline.key not in prepared:
                    prepared[pipeline.key] = self._prepare(pipeline, images)
                batch = _batch(task, prepared[pipeline.key])
                samples = self.model.test_step(batch)
                for image, sample in zip(images, samples, strict=True):
                    result = result_class(task).from_sample(task, sample)
                    image.result.predictions[task.name] = result

    def _prepare(
        self, pipeline: ImagePipeline, images: list['_Image']
    ) -> list[dict]:
        """Give what a test pipeline makes of the images, on the device."""
        prepared = []
        for image in images:
            grey = image.pixels(pipeline.percentiles)
            data = pipeline(grey, image.result.name, image.result.path)
            pixels = np.ascontiguousarray(data['img'].transpose(2, 0, 1))
            data['img'] = torch.from_numpy(pixels).to(self.device)
            prepared.append(data)
        return prepared

    def _autocast(self):
        if self.amp_dtype is None:
            return contextlib.nullcontext()
        dtype = getattr(torch, self.amp_dtype)
        return torch.autocast(self.device.type, dtype=dtype)


class _Image:
    """One image of a batch with its result.

    Args:
        source (str | np.ndarray): File or array.
        index (int): Its place in the inputs.
        skip_unreadable (bool): Keep the error instead of raising it.
        percentiles (Sequence[float], optional): The pixels read with these
            are those of the result.
    """

    def __init__(
        self,
        source: str | np.ndarray,
        index: int,
        skip_unreadable: bool,
        percentiles: Sequence[float] | None,
    ) -> None:
        is_array = isinstance(source, np.ndarray)
        self._source = source
        self._known: dict[str, np.ndarray] = {}
        self.result = ImageResult(
            name=f'array {index}' if is_array else Path(source).name,
            path=None if is_array else source,
        )
        try:
            self.result.image = self.pixels(percentiles)
        except ImageReadError as error:
            if not skip_unreadable:
                raise
            self.result.error = str(error)
        else:
            self.result.size = self.result.image.shape

    def pixels(self, percentiles: Sequence[float] | None) -> np.ndarray:
        """8-bit grey of shape (H, W), see ``LoadXray``."""
        key = repr(percentiles)
        if key not in self._known:
            self._known[key] = read_source(
                self._source, self.result.name, percentiles
            )
        return self._known[key]


def _batch(task: Task, prepared: list[dict]) -> dict[str, list]:
    """Give a batch for the model's preprocessor."""
    own = sample_meta(task)
    return dict(
        inputs=[data['img'] for data in prepared],
        data_samples=[
            FXDataSample(metainfo={key: data[key] for key in META_KEYS} | own)
            for data in prepared
        ],
    )


def _choose_tasks(
    config: Config, names: Sequence[str] | None
) -> tuple[Config, list[Task]]:
    """Give the config of a model for the tasks, and the tasks.

    Raises:
        UserError: If a task is unknown.
    """
    table = TaskTable.from_cfg(config)
    if not names:
        return config, list(table)
    names = [names] if isinstance(names, str) else names
    chosen = [table[name] for name in dict.fromkeys(names)]
    needed = dict.fromkeys(task.name for task in chosen)
    student = (config.get('model') or {}).get('student') or {}
    if student.get('region_guidance') is not None:
        # Masks are then guided by boxes, which the model has to predict.
        boxes = RegionGuidance.needed_tasks(chosen, table.names)
        needed.update(dict.fromkeys(boxes))
    config = Config(config.to_dict(), filename=config.filename)
    config.tasks = list(needed)
    return config, chosen


def _device(name: str | torch.device) -> torch.device:
    """Give a device that is there.

    Raises:
        UserError: If it is not.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f'device is "{name}", which this torch cannot use '
            f'({str(error).splitlines()[0][:100]}); use "cpu".'
        ) from error
    return device


def _is_config_file(path: str | Path) -> bool:
    return Path(path).suffix in ('.py', '.json', '.yaml', '.yml')
