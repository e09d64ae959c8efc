"""The functions of the app: page, HTTP API and agents call the same ones."""

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from fx_mm.analysis.image_report.comparison_sentences import write_comparison
from fx_mm.analysis.image_report.grounded_report import Sentence
from fx_mm.apis.explanation import explain
from fx_mm.apis.image_report import ImageReporter, plain, to_dict, to_text
from fx_mm.apis.image_sources import ImageSource
from fx_mm.apis.inference import FoundationXInferencer
from fx_mm.apis.prior_image import check_same_patient
from fx_mm.app.answers import (
    NOTICE,
    Base64,
    Box,
    Boxes,
    Comparison,
    DatasetCard,
    Dropped,
    Evidence,
    Explanation,
    Figures,
    Handle,
    ImageList,
    Label,
    Labels,
    LoadedImage,
    Mask,
    Masks,
    Measured,
    Number,
    Picture,
    Prior,
    Report,
    Said,
    Score,
    Shift,
    TaskList,
    TaskNames,
    TaskRow,
    Text,
)
from fx_mm.app.figures import TestFigures
from fx_mm.app.image_store import MAX_BYTES, ImageStore, Loaded
from fx_mm.tasks import Task
from fx_mm.utils.checkpoint import local_path
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import hash_file
from fx_mm.visualization.measurements import Measurements
from fx_mm.visualization.results import (
    SCORE_THR,
    ClsResult,
    ImageResult,
    LocResult,
    RegResult,
    SegResult,
)
from fx_mm.visualization.tiles import to_png

MOST_NAMES = 1000
"""Images of a folder that one answer lists."""
PICTURE_SIZE = 768
PICTURES = 'pictures'


class Head(TypedDict):
    """The part that all answers share."""

    model: str
    checkpoint: str
    sha256: str
    predict_on: str
    notice: str


class ChestService:
    """One model and the images that are loaded.

    Not to be used by two threads at once, see :class:`fx_mm.app.in_order`.

    Args:
        infer (FoundationXInferencer): The model.
        root (str | Path): Folder that images may be read from.
        results (str | Path, optional): results.json of a test of the
            checkpoint. Defaults to None: the one beside it.
        max_bytes (int): Size of an image file. Defaults to 64 MiB.

    Raises:
        UserError: If the root is no folder, or the results are of another
            checkpoint.
    """

    def __init__(
        self,
        infer: FoundationXInferencer,
        root: str | Path,
        results: str | Path | None = None,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self.infer = infer
        self.tasks = {task.name: task for task in infer.tasks}
        self.figures = TestFigures(infer.checkpoint, infer.predict_on, results)
        self.reporter = ImageReporter(infer)
        self.images = ImageStore(root, self._predict, max_bytes)
        sha256 = hash_file(local_path(infer.checkpoint))
        model = infer.cfg.model
        kind = (model.get('student') or model).type
        self.head = Head(
            model=f'{kind}-{sha256[:12]}',
            checkpoint=Path(infer.checkpoint).name,
            sha256=sha256,
            predict_on=infer.predict_on,
            notice=NOTICE,
        )

    def tools(self) -> list[Callable[..., Any]]:
        """Return what clients may call, in the order of their lists."""
        return [
            *(self.list_tasks, self.list_images),
            *(self.load_image, self.upload_image, self.drop_image),
            *(self.classify, self.locate, self.segment, self.explain),
            *(self.measure, self.report, self.compare),
            *(self.dataset_card, self.metrics_of),
        ]

    def close(self) -> None:
        """Forget all images and delete their copies."""
        self.images.close()

    def _predict(self, source: ImageSource) -> ImageResult:
        (result,) = self.infer.iterate([source.origin], skip_unreadable=True)
        return result

    # ---------------------------------------------------------------- images

    def list_tasks(self) -> TaskList:
        """List the tasks of the model with their classes and main figure."""
        return TaskList(
            **self.head, tasks=[self._row(task) for task in self.infer.tasks]
        )

    def _row(self, task: Task) -> TaskRow:
        return TaskRow(
            task=task.name,
            dataset=task.dataset,
            kind=task.kind.name,
            classes=list(task.classes),
            figure=self.figures.headline(task),
        )

    def list_images(self, folder: Text = '') -> ImageList:
        """List the images below a folder of the root, at most 1000."""
        names = self.images.names(folder)
        return ImageList(
            **self.head, images=names[:MOST_NAMES], total=len(names)
        )

    def load_image(self, path: Text) -> LoadedImage:
        """Load an image below the root and return its handle.

        The model runs once, on all tasks. The handle is for the other calls;
        it is good until half an hour passed without one.
        """
        return self._loaded(self.images.load(path))

    def upload_image(self, name: Text, content: Base64) -> LoadedImage:
        """Load an image that is sent along; it is not kept.

        The copy on the server is deleted with its handle.
        """
        # before it is decoded, a third smaller
        if len(content) > self.images.max_bytes * 4 / 3 + 4:
            raise UserError('the image is larger than this app reads.')
        try:
            data = base64.b64decode(content, validate=True)
        except (binascii.Error, ValueError):
            raise UserError('content is not base64.') from None
        return self._loaded(self.images.add(name, data))

    def _loaded(self, image: Loaded) -> LoadedImage:
        height, width = image.result.size
        return LoadedImage(
            **self.head,
            image=image.handle,
            name=image.source.name,
            height=int(height),
            width=int(width),
            reading=plain(image.result.reading or {}),
        )

    def drop_image(self, image: Handle) -> Dropped:
        """Forget a loaded image."""
        self.images.drop(image)
        return Dropped(**self.head, dropped=image)

    # -------------------------------------------------------------- findings

    def classify(self, image: Handle, tasks: TaskNames = None) -> Labels:
        """Return the probability of each class, with the figure of its test.

        Numbers of regression tasks are returned too.
        """
        loaded = self.images.get(image)
        labels: dict[str, list[Label]] = {}
        numbers: dict[str, list[Number]] = {}
        for task in self._chosen(tasks, ('cls', 'reg')):
            found = loaded.result[task.name]
            if isinstance(found, ClsResult):
                probabilities = found.to_dict()['probabilities']
                labels[task.name] = [
                    Label(
                        name=name,
                        probability=value,
                        figure=self.figures.of_class(task, name),
                    )
                    for name, value in probabilities.items()
                ]
            elif isinstance(found, RegResult):
                values = found.to_dict()
                numbers[task.name] = [
                    Number(
                        name=name,
                        value=value,
                        std=values.get('std', {}).get(name),
                        figure=self.figures.of_class(task, name),
                    )
                    for name, value in values['values'].items()
                ]
        return Labels(**self.head, image=image, labels=labels, numbers=numbers)

    def locate(
        self,
        image: Handle,
        tasks: TaskNames = None,
        min_score: Score = SCORE_THR,
    ) -> Boxes:
        """Return boxes in pixels of the image, and a picture of each task."""
        loaded = self.images.get(image)
        boxes: dict[str, list[Box]] = {}
        pictures = []
        for task in self._chosen(tasks, ('loc',)):
            found = loaded.result[task.name]
            if not isinstance(found, LocResult):
                continue
            boxes[task.name] = [
                Box(
                    name=each['label'],
                    score=each['score'],
                    box=each['box'],
                    figure=self.figures.of_class(task, each['label']),
                )
                for each in found.to_dict(min_score)['boxes']
            ]
            drawn = found.draw(_pixels(loaded), min_score, PICTURE_SIZE)
            name = f'{task.name} boxes from {min_score:g}'
            pictures.append(self._picture(loaded, name, drawn))
        return Boxes(**self.head, image=image, boxes=boxes, pictures=pictures)

    def segment(self, image: Handle, tasks: TaskNames = None) -> Masks:
        """Return masks as pictures with their areas in pixels."""
        loaded = self.images.get(image)
        masks: dict[str, list[Mask]] = {}
        pictures = []
        for task in self._chosen(tasks, ('seg',)):
            found = loaded.result[task.name]
            if not isinstance(found, SegResult):
                continue
            masks[task.name] = [
                Mask(
                    name=name,
                    area=int(np.count_nonzero(mask)),
                    picture=self._picture(
                        *(loaded, f'{task.name} {name}'),
                        mask.astype(np.uint8) * 255,
                    ),
                    figure=self.figures.of_class(task, name),
                )
                for name, mask in zip(found.classes, found.masks, strict=True)
            ]
            drawn = found.draw(_pixels(loaded), SCORE_THR, PICTURE_SIZE)
            pictures.append(self._picture(loaded, f'{task.name} masks', drawn))
        return Masks(**self.head, image=image, masks=masks, pictures=pictures)

    def explain(
        self,
        image: Handle,
        tasks: TaskNames = None,
        min_score: Score = SCORE_THR,
    ) -> Explanation:
        """Return pictures of what findings of labels and boxes rest on."""
        loaded = self.images.get(image)
        chosen = self._chosen(tasks, ('cls', 'loc'))
        findings = [
            Evidence(
                task=found.task.name,
                name=found.name,
                score=round(found.score, 6),
                picture=self._picture(
                    loaded,
                    f'{found.task.name} {found.number} {found.name} explained',
                    found.picture,
                ),
            )
            for found in explain(self.infer, loaded.source, min_score, chosen)
        ]
        return Explanation(**self.head, image=image, findings=findings)

    def _chosen(
        self, names: Sequence[str] | None, kinds: tuple[str, ...]
    ) -> list[Task]:
        """Return tasks of some kinds.

        Raises:
            UserError: If one is unknown, or of another kind.
        """
        fit = {
            name: task
            for name, task in self.tasks.items()
            if task.kind.name in kinds
        }
        for name in names or ():
            if name not in fit:
                raise UserError(
                    f'no task "{name}" for this; there are '
                    f'{", ".join(fit) or "none"}.'
                )
        if names is None:
            return list(fit.values())
        return [fit[name] for name in dict.fromkeys(names)]

    # -------------------------------------------------------------- pictures

    def _picture(
        self, image: Loaded, title: str, pixels: np.ndarray
    ) -> Picture:
        name = re.sub(r'\W+', '_', title)
        image.pictures[name] = to_png(pixels)
        place = f'{PICTURES}/{image.handle}/{name}.png'
        return Picture(title=title, uri=f'fx-mm://{place}', url=f'/{place}')

    def picture(self, image: Handle, name: Text) -> bytes:
        """Return a picture of an earlier answer as PNG.

        Raises:
            UserError: If there is none.
        """
        pictures = self.images.get(image).pictures
        if name not in pictures:
            raise UserError(f'image "{image}" has no picture "{name}".')
        return pictures[name]

    # --------------------------------------------------- numbers and sentences

    def _measurements(self, image: Loaded) -> Measurements:
        if image.measured is None:
            image.measured = self.reporter.measure(image.source, image.result)
        return image.measured

    def measure(self, image: Handle) -> Measured:
        """Measure heart, lungs and findings, in mm where the file has a scale.

        Each number has its spread over other readings of the image.
        """
        found = self._measurements(self.images.get(image))
        content = plain(to_dict(found))
        return Measured(
            **self.head,
            image=image,
            geometry=content['geometry'],
            sides=content['sides'],
            measurements=content['measurements'],
            findings=content['findings'],
            dropped_pieces=content['dropped_pieces'],
        )

    def report(self, image: Handle, prior: Prior = None) -> Report:
        """Write what was found in sentences, each with what it came from."""
        loaded = self.images.get(image)
        found = self._measurements(loaded)
        said = self.reporter.writer.write(found)
        if prior is not None:
            said += self._changes(loaded, self.images.get(prior))[0]
        return Report(
            **self.head,
            image=image,
            prior=prior,
            sentences=_said(said),
            text=to_text(NOTICE, said),
        )

    def compare(self, image: Handle, prior: Handle) -> Comparison:
        """Compare an image with an earlier one of the same patient."""
        now, before = self.images.get(image), self.images.get(prior)
        said, same = self._changes(now, before)
        labels = []
        for task in self._chosen(None, ('cls',)):
            earlier = before.result[task.name].to_dict()['probabilities']
            values = now.result[task.name].to_dict()['probabilities']
            labels += [
                Shift(
                    task=task.name,
                    name=name,
                    now=value,
                    before=earlier[name],
                )
                for name, value in values.items()
            ]
        return Comparison(
            **self.head,
            image=image,
            prior=prior,
            same_patient=same,
            sentences=_said(said),
            labels=labels,
        )

    def _changes(
        self, now: Loaded, before: Loaded
    ) -> tuple[list[Sentence], bool]:
        """Return what changed, and whether the files say: one patient."""
        formats = tuple(
            (each.result.reading or {}).get('format') for each in (now, before)
        )
        same = check_same_patient(
            now.source, before.source, (formats[0], formats[1])
        )
        writer = self.reporter.writer
        said = list(
            write_comparison(
                writer, self._measurements(now), self._measurements(before)
            )
        )
        if not same:
            text = writer.wording.say('note_patient')
            said.append(Sentence('notes', text))
        return said, same

    # ----------------------------------------------------------------- model

    def dataset_card(self, dataset: Text) -> DatasetCard:
        """Return what the checkpoint says of one of its datasets."""
        own = [t for t in self.infer.tasks if t.dataset == dataset]
        if not own:
            names = dict.fromkeys(t.dataset for t in self.infer.tasks)
            raise UserError(
                f'no dataset "{dataset}"; there are {", ".join(names)}.'
            )
        return DatasetCard(
            **self.head,
            dataset=dataset,
            tasks=[self._row(task) for task in own],
            settings={task.name: _settings(task) for task in own},
        )

    def metrics_of(self, task: Text) -> Figures:
        """Return all figures of a task's test, with their intervals."""
        if task not in self.tasks:
            raise UserError(
                f'no task "{task}"; there are {", ".join(self.tasks)}.'
            )
        own = self.tasks[task]
        figures = self.figures.all(own)
        reason = self.figures.reason
        if not figures and not reason:
            reason = 'The test did not include this task.'
        return Figures(
            **self.head,
            task=task,
            n_images=self.figures.n_images(own),
            figures=figures,
            reason=reason,
        )


def _pixels(image: Loaded) -> np.ndarray:
    if image.result.image is None:
        raise ValueError('results are kept with their pixels')
    return image.result.image


def _said(sentences: list[Sentence]) -> list[Said]:
    return [
        Said(
            section=each.section,
            text=each.text,
            evidence=plain(dict(each.evidence)),
        )
        for each in sentences
    ]


def _settings(task: Task) -> dict[str, Any]:
    """Return what a config says of a task, without its paths."""
    config = task.config
    splits = config.get('splits') or {}
    return dict(
        **({'label_type': task.label_type} if task.label_type else {}),
        splits=[name for name, file in splits.items() if file],
        **{
            key: plain(config[key])
            for key in ('img_size', 'class_groups')
            if config.get(key)
        },
    )
