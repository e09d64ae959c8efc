"""Predict on images: one line to load, one call to run."""

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.infer import BaseInferencer
from mmengine.visualization import Visualizer
from torch import Tensor

from fx_mm.apis.image_sources import ImageInput, ImageSource, list_sources
from fx_mm.apis.result_files import output_names, save_result
from fx_mm.config import load_config
from fx_mm.converters.hub import PREFIX, fetch_folder
from fx_mm.converters.hub_folder import read_folder
from fx_mm.datasets.image_pipeline import ImagePipeline, sample_meta
from fx_mm.datasets.transforms.formatting import META_KEYS
from fx_mm.engine.start_summary import import_quietly
from fx_mm.image_io.errors import ImageReadError
from fx_mm.models import MeanTeacher, open_model
from fx_mm.registry import INFERENCERS, SCOPE
from fx_mm.structures import FXDataSample
from fx_mm.tasks import Task
from fx_mm.utils.checks import check_number
from fx_mm.utils.device import find_device
from fx_mm.utils.errors import UserError
from fx_mm.utils.parallel import progress_bar
from fx_mm.visualization.results import (
    SCORE_THR,
    ImageResult,
    result_class,
)

HUB_NAME = re.compile(r'[\w.-]+/[\w.-]+')
BATCH_SIZE = 8
"""Images that go through the model at once."""


@dataclass
class Prediction:
    """An image on its way through the inferencer.

    Attributes:
        result (ImageResult): What the user gets.
        inputs (dict[str, dict]): Key of a test pipeline to what it made of
            the image; empty after the model ran.
        samples (dict[str, FXDataSample]): Task name to the model's sample,
            if they are asked for.
    """

    result: ImageResult
    inputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    samples: dict[str, FXDataSample] = field(default_factory=dict)


class TaskPipelines:
    """Read an image and run the test pipelines of all tasks on it.

    Args:
        tasks (Sequence[Task]): The tasks; the result shows the pixels that
            the first one sees.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.of_task = {task.name: ImagePipeline(task) for task in tasks}

    def __call__(self, source: ImageSource) -> Prediction:
        """Return the inputs of the model; a result with ``error`` if none."""
        result = ImageResult(source.name, source.path)
        pixels: dict[str, np.ndarray] = {}
        readings: list[dict[str, Any]] = []
        inputs: dict[str, dict[str, Any]] = {}
        try:
            for pipeline in self.of_task.values():
                read_with = repr(pipeline.percentiles)
                if read_with not in pixels:
                    pixels[read_with], reading = source.read(
                        pipeline.percentiles
                    )
                    readings.append(reading)
                if pipeline.key not in inputs:
                    grey = pixels[read_with]
                    data = pipeline(grey, source.name, source.path)
                    image = np.ascontiguousarray(
                        data['img'].transpose(2, 0, 1)
                    )
                    data['img'] = torch.from_numpy(image)
                    inputs[pipeline.key] = data
        except ImageReadError as error:
            result.error = str(error)
            return Prediction(result)
        result.image = next(iter(pixels.values()))
        result.reading = readings[0]
        result.size = result.image.shape
        return Prediction(result, inputs)


@INFERENCERS.register_module()
class FoundationXInferencer(BaseInferencer):
    """Run all heads of a trained model, or the named ones, on images.

    .. code-block:: python

        infer = FoundationXInferencer('iter_900.pth')
        result, = infer('chest.dcm')
        result['nih14/cls'].probabilities

    Each task sees the image through its own test pipeline, normalisation and
    test-time augmentation, as in ``tools/test.py``; where these agree, the
    tasks share one run of the backbone.

    Args:
        model (str | Path | Config | dict, optional): The experiment's config.
            The path of a checkpoint without ``weights`` is taken for
            ``weights``. Defaults to None: the config that the checkpoint
            holds as text, which is read and not executed.
        weights (str | Path, optional): Checkpoint file or URL.
        device (str, optional): Defaults to None: a GPU if there is one.
        scope (str): Where types without a scope are looked up. Defaults to
            ``fx_mm``.
        show_progress (bool, optional): Show a progress bar. Defaults to None:
            on a terminal alone.
        predict_on (str, optional): Which model predicts, ``teacher`` or
            ``student``. Defaults to None: as the checkpoint says.
        tasks (str | Sequence[str], optional): Task names. Defaults to None:
            all.
        trust (bool): Unpickle anything in the checkpoint.
            Defaults to False.
        question (str, optional): What tasks that answer questions are asked
            about each image. Defaults to None: nothing.

    Raises:
        UserError: If config, checkpoint, ``predict_on``, a task or the device
            cannot be used.
    """

    preprocess_kwargs = {'skip_unreadable'}
    forward_kwargs = {'keep_pixels', 'keep_samples'}
    visualize_kwargs = {'show', 'wait_time', 'pred_score_thr', 'out_dir'}
    postprocess_kwargs: set[str] = set()

    def __init__(
        self,
        model: str | Path | Config | ConfigDict | dict[str, Any] | None = None,
        weights: str | Path | None = None,
        device: str | None = None,
        scope: str = SCOPE,
        show_progress: bool | None = None,
        predict_on: str | None = None,
        tasks: str | Sequence[str] | None = None,
        trust: bool = False,
        question: str | None = None,
    ) -> None:
        import_quietly()
        if weights is None and _is_checkpoint(model):
            model, weights = None, model
        if weights is None:
            raise UserError(
                'the inferencer has no checkpoint; give (config, '
                'checkpoint), or the checkpoint alone.'
            )
        if isinstance(model, str | Path):
            model = load_config(str(model))
        self.checkpoint = str(weights)
        self._asked = predict_on
        self.tasks: list[Task] = []
        self._chosen = tasks
        self._trust = trust
        self.question = question
        self._bar = show_progress
        # mmengine's bar writes to the output and starts a thread, whose lock
        # a fork could take along; ours is that of the other tools
        super().__init__(
            *(model, self.checkpoint, str(find_device(device)), scope),
            show_progress=False,
        )
        self.amp_dtype = (self.cfg.get('test_cfg') or {}).get('amp_dtype')
        asked = any(task.config.get('questions') for task in self.tasks)
        if question is not None and not asked:
            raise UserError(
                f'"{question}" is asked, but no task of this model answers '
                'questions.'
            )

    # -------------------------------------------------------------- building

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        revision: str | None = None,
        token: str | None = None,
        **kwargs: Any,
    ) -> 'FoundationXInferencer':
        """Open a model that ``publish.py --to`` wrote.

        Nothing in it is executed: the weights are safetensors, the config is
        JSON, and its types are those that are registered.

        Args:
            source (str | Path): A folder, or ``owner/name`` on a hub, which
                needs huggingface_hub; a folder that exists goes first.
            revision (str, optional): Branch, tag or commit on the hub.
                Defaults to None: the newest.
            token (str, optional): Of the hub. Defaults to None:
                ``HF_TOKEN``, or that of ``hf auth login``.
            **kwargs: Of the constructor, but ``model`` and ``weights``.

        Raises:
            UserError: If it is not found, incomplete, of another format, or
                as the constructor.
        """
        name = str(source).removeprefix(PREFIX)
        folder = Path(source).expanduser()
        if not folder.is_dir():
            if not HUB_NAME.fullmatch(name):
                raise UserError(
                    f'"{source}" is neither a folder nor owner/name on a hub.'
                )
            folder = fetch_folder(name, revision, token)
        config, weights = read_folder(folder, name)
        return cls(config, weights, **kwargs)

    def _init_model(
        self, cfg: Config | ConfigDict, weights: str, device: str = 'cpu'
    ) -> MeanTeacher:
        """Build the model and load the weights.

        mmengine's unpickles whatever the checkpoint holds, executes its
        config, and fills up weights that are missing with random ones.
        """
        given = cfg if isinstance(cfg, Config) else Config(cfg)
        model, self.tasks, used = open_model(
            given if len(given) else None,
            weights,
            self._chosen,
            self._trust,
            self._asked,
        )
        cfg.update(used.to_dict())
        self.device = torch.device(device)
        self.predict_on = model.predict_on
        return model.to(self.device)

    def _init_pipeline(self, cfg: Config | ConfigDict) -> TaskPipelines:
        """Return the test pipelines of the tasks."""
        return TaskPipelines(self.tasks)

    def _init_collate(
        self, cfg: Config | ConfigDict
    ) -> Callable[[list[Prediction]], list[Prediction]]:
        """Return the identity: an image has several inputs, by pipeline."""
        return list

    def _init_visualizer(self, cfg: Config | ConfigDict) -> Visualizer:
        """Return one that shows; the config's writes a training's log."""
        return Visualizer()

    # --------------------------------------------------------------- running

    def __call__(
        self,
        inputs: ImageInput | Iterable[ImageInput],
        return_datasamples: bool = False,
        batch_size: int = BATCH_SIZE,
        **kwargs: Any,
    ) -> list[ImageResult] | list[dict[str, FXDataSample]]:
        """Predict on images.

        Args:
            inputs (str | Path | np.ndarray | Iterable): A file that
                :func:`fx_mm.apis.read_xray` knows, DICOM too; a folder
                (with its subfolders); an array of shape (H, W) or, RGB,
                (H, W, 3); or several of these, also from a generator. The
                values of arrays other than uint8 are mapped from their own
                range to 0..255, as those of deeper files are.
            return_datasamples (bool): Return the model's own samples, on the
                CPU, by task. Defaults to False.
            batch_size (int): Images that go through the model at once.
                Defaults to 8.
            **kwargs: ``skip_unreadable`` (bool): return a result with
                ``error`` for what cannot be read instead of raising.
                ``out_dir`` (str | Path): write for each image what
                ``tools/predict.py`` writes. ``show`` (bool) and
                ``wait_time`` (float): show each picture. ``pred_score_thr``
                (float): leave boxes below it out of pictures and files.
                Defaults to 0.3.

        Returns:
            list[ImageResult]: One per image, in the order of the inputs,
            files of a folder by name. Pixels of files are not kept.

        Raises:
            UserError: If there is no image.
            ImageReadError: If one cannot be read.
        """
        return super().__call__(
            inputs,
            return_datasamples,
            batch_size,
            keep_samples=return_datasamples,
            **kwargs,
        )

    def iterate(
        self,
        inputs: ImageInput | Iterable[ImageInput],
        batch_size: int = BATCH_SIZE,
        skip_unreadable: bool = False,
    ) -> Iterator[ImageResult]:
        """Predict on images one batch at a time, for long lists.

        Args:
            inputs: As of :meth:`__call__`; a generator is read step by step.
            batch_size (int): Defaults to 8.
            skip_unreadable (bool): Defaults to False.

        Yields:
            ImageResult: With ``image``.

        Raises:
            UserError: If there is no image.
            ImageReadError: If one cannot be read.
        """
        sources, total = list_sources(inputs)
        batches = self.preprocess(sources, batch_size, skip_unreadable, total)
        for batch in batches:
            for prediction in self.forward(batch, keep_pixels=True):
                yield prediction.result

    def _inputs_to_list(
        self, inputs: ImageInput | Iterable[ImageInput]
    ) -> list[ImageSource]:
        """List the images.

        mmengine's takes any file of a folder for an image, leaves out its
        subfolders, and takes a path for a file that has no name yet.
        """
        return list(list_sources(inputs)[0])

    def preprocess(
        self,
        inputs: Iterable[ImageSource],
        batch_size: int = BATCH_SIZE,
        skip_unreadable: bool = False,
        total: int | None = None,
    ) -> Iterator[list[Prediction]]:
        """Read images and run the test pipelines.

        Args:
            inputs (Iterable[ImageSource]): The images.
            batch_size (int): Defaults to 8.
            skip_unreadable (bool): Defaults to False.
            total (int, optional): Number of images, where ``inputs`` has no
                length. Defaults to None: unknown.

        Yields:
            list[Prediction]: Without predictions.

        Raises:
            ImageReadError: If an image cannot be read.
        """
        check_number('batch_size', batch_size, 1, whole=True)
        if isinstance(inputs, Sequence):
            total = len(inputs)
        with progress_bar('predict', total, shown=self._bar) as advance:
            for batch in super().preprocess(inputs, batch_size):
                errors = (p.result.error for p in batch if p.result.error)
                error = next(errors, None)
                if error is not None and not skip_unreadable:
                    raise ImageReadError(error)
                yield batch
                advance(len(batch))

    @torch.no_grad()
    def forward(
        self,
        inputs: list[Prediction],
        keep_pixels: bool = False,
        keep_samples: bool = False,
    ) -> list[Prediction]:
        """Run all tasks on a batch of images.

        Args:
            inputs (list[Prediction]): What :meth:`preprocess` yields.
            keep_pixels (bool): Keep the pixels of files. Defaults to False.
            keep_samples (bool): Keep the model's samples. Defaults to False.

        Returns:
            list[Prediction]: The same, with the predictions of all tasks.
        """
        read = [p for p in inputs if p.result.error is None]
        if read:
            with self.model.active.sharing_features(), self.autocast():
                self._run_tasks(read, keep_samples)
        for prediction in inputs:
            prediction.inputs.clear()
            if prediction.result.path is not None and not keep_pixels:
                prediction.result.image = None
        return inputs

    def _run_tasks(self, images: list[Prediction], keep_samples: bool) -> None:
        moved: dict[str, list[Tensor]] = {}
        for task in self.tasks:
            key = self.pipeline.of_task[task.name].key
            if key not in moved:
                moved[key] = [
                    p.inputs[key]['img'].to(self.device) for p in images
                ]
            meta = dict(sample_meta(task), question=self.question)
            samples = [
                FXDataSample(
                    metainfo={k: p.inputs[key][k] for k in META_KEYS} | meta
                )
                for p in images
            ]
            batch = dict(inputs=moved[key], data_samples=samples)
            answers = self.model.test_step(batch)
            for image, sample in zip(images, answers, strict=True):
                result = result_class(task).from_sample(task, sample)
                image.result.predictions[task.name] = result
                if keep_samples:
                    image.samples[task.name] = sample.cpu()

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Return a context with the arithmetic of the test."""
        if self.amp_dtype is None:
            return contextlib.nullcontext()
        dtype = getattr(torch, self.amp_dtype)
        return torch.autocast(self.device.type, dtype=dtype)

    def visualize(
        self,
        inputs: list[ImageSource],
        preds: list[Prediction],
        show: bool = False,
        wait_time: float = 0.0,
        pred_score_thr: float = SCORE_THR,
        out_dir: str | Path | None = None,
    ) -> None:
        """Show pictures, and write them with what belongs to them.

        Args:
            inputs (list[ImageSource]): The images.
            preds (list[Prediction]): One per image.
            show (bool): Open a window per image. Defaults to False.
            wait_time (float): Seconds that it stays; 0 until a key is
                pressed. Defaults to 0.
            pred_score_thr (float): Boxes below it are left out. Defaults to
                0.3.
            out_dir (str | Path, optional): Folder to write into. Defaults to
                None: nothing is written.
        """
        if out_dir is not None:
            for name, prediction in zip(output_names(inputs), preds):
                if prediction.result.error is None:
                    save_result(
                        prediction.result,
                        Path(out_dir, name),
                        pred_score_thr,
                        self.checkpoint,
                        self.predict_on,
                    )
        for result in (p.result for p in preds if show):
            if result.error is None:
                picture = result.draw(score_thr=pred_score_thr)
                self.visualizer.show(picture, result.name, wait_time)

    def postprocess(
        self,
        preds: list[Prediction],
        visualization: None,
        return_datasamples: bool = False,
    ) -> list[ImageResult] | list[dict[str, FXDataSample]]:
        """Return the results, or the model's samples by task."""
        if return_datasamples:
            return [prediction.samples for prediction in preds]
        return [prediction.result for prediction in preds]


def _is_checkpoint(model: object) -> bool:
    """Whether something is a path or URL, and not that of a config."""
    configs = ('.py', '.json', '.yaml', '.yml')
    return isinstance(model, str | Path) and Path(model).suffix not in configs
