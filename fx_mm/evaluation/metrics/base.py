"""What the metrics of all task kinds have in common."""

import inspect
import sys
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

from fx_mm.evaluation.statistics.bootstrap import (
    Interval,
    PairedInterval,
    Statistics,
)
from fx_mm.evaluation.statistics.operating_points import Thresholds
from fx_mm.utils.checks import check_keys
from fx_mm.utils.errors import UserError


class TaskMetric(BaseMetric):
    """Metric of one task.

    Subclasses append one record per image, a tuple with the image id first,
    to ``self.results``; an image that several processes saw (a sampler pads
    the last batch) counts once. Records are sorted by their image, so that
    nothing depends on the number of processes. All keys are present in every
    result, NaN where a value is undefined, so that a best checkpoint and a
    table can rely on them.

    Every metric is computed once, by :meth:`statistics`, as a function of how
    often each image counts: once for a value, as often as it was drawn for
    an interval. Validation computes the headline metrics. A report keeps the
    records (``kept``) and asks for :meth:`details` and intervals as well.

    Args:
        collect_device (str): Where results of several processes meet.
            Defaults to 'cpu'.
        prefix (str, optional): Put before the keys. Defaults to None, since
            the evaluation loops name the task themselves.
        collect_dir (str, optional): Folder shared by the processes for
            ``collect_device='cpu'``. Defaults to None.

    Raises:
        UserError: If an option is unknown.

    Attributes:
        kept (list[tuple], optional): Records and metrics of each evaluation
            since it was set to a list, on the main process; None to keep
            nothing.
    """

    record: Callable[..., Any]
    """Named tuple with what is kept per image."""
    takes_thresholds = False
    """Whether some results need thresholds from the validation split."""
    # Empty instead of None: BaseMetric warns about a prefix that is None.
    default_prefix = ''

    def __init__(
        self,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
        **unknown: Any,
    ) -> None:
        options = inspect.signature(type(self)).parameters.values()
        known = [o.name for o in options if o.kind is not o.VAR_KEYWORD]
        check_keys(unknown, known, f'the metric {type(self).__name__}')
        super().__init__(collect_device, prefix, collect_dir)
        self.kept: list[tuple[list[Any], dict[str, float]]] | None = None

    @property
    def dataset_meta(self) -> dict[str, Any]:
        """dict: Meta of the task; ``classes`` is needed."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict[str, Any]) -> None:
        self._dataset_meta: dict[str, Any] = dataset_meta
        self.check_meta()

    @property
    def classes(self) -> tuple[str, ...]:
        """tuple[str]: Class names of the task, in the order of its head."""
        return tuple(self.dataset_meta['classes'])

    @property
    def task(self) -> str:
        """str: Name of the task for messages."""
        return self.dataset_meta.get('task', 'this task')

    def check_meta(self) -> None:
        """Check the options against the class names, before any image.

        Raises:
            UserError: If an option names an unknown class.
        """

    def check_classes(self, names: Iterable[str], option: str) -> None:
        """Refuse class names that the task does not have.

        Args:
            names (Iterable[str]): Class names given by the user.
            option (str): The option they were given in.

        Raises:
            UserError: With the first unknown name and the known ones.
        """
        for name in names:
            if name not in self.classes:
                raise UserError(
                    f"metric of {self.task}: `{option}` names '{name}', "
                    'which is not a class of the task; known are '
                    f'{", ".join(self.classes)}.'
                )

    def evaluate(self, size: int) -> dict[str, float]:
        """Gather the results of all processes and compute the metrics.

        Args:
            size (int): Number of images of the task. Not used: mmengine
                would cut the gathered list at this length, which drops
                images when one process saw a padded one earlier in the
                list. Repeated images are dropped by their id instead.

        Returns:
            dict[str, float]: Metrics, the same on every process.
        """
        return super().evaluate(sys.maxsize)

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Compute the metrics of the gathered results.

        Args:
            results (list[tuple]): Results of all processes, the image id
                first.

        Returns:
            dict[str, float]: All metrics, NaN where undefined.
        """
        unique = {result[0]: result for result in reversed(results)}
        # mmengine hands named tuples on as plain ones
        records = [self.record(*unique[img_id]) for img_id in sorted(unique)]
        metrics = self.compute_unique(records)
        if self.kept is not None:
            self.kept.append((records, metrics))
        return metrics

    def by_class(self, key: str, values: Iterable[Any]) -> dict[str, Any]:
        """Return ``key/class`` to value, of one value per class."""
        return {
            f'{key}/{name}': value
            for name, value in zip(self.classes, values, strict=True)
        }

    @abstractmethod
    def compute_unique(self, records: list[Any]) -> dict[str, float]:
        """Compute the headline metrics.

        Args:
            records (list[tuple]): One per image, the image id first.

        Returns:
            dict[str, float]: NaN where undefined.
        """

    @abstractmethod
    def details(
        self, records: list[Any], thresholds: Thresholds | None = None
    ) -> dict[str, float]:
        """Compute what a report shows besides the headline metrics.

        Args:
            records (list[tuple]): As of :meth:`compute_unique`.
            thresholds (Thresholds, optional): Of another split, for metrics
                that take some. Defaults to None.

        Returns:
            dict[str, float]: NaN where undefined.
        """

    @abstractmethod
    def statistics(
        self, records: list[Any], thresholds: Thresholds | None = None
    ) -> Statistics:
        """Return the metrics as a function of the images' weights.

        Args:
            records (list[tuple]): As of :meth:`compute_unique`.
            thresholds (Thresholds, optional): As of :meth:`details`.

        Returns:
            Callable: Weights uint16 (R, N) of the images to metrics by key,
            each (R,). With weights of one they are those of
            :meth:`compute_unique` and :meth:`details`, except for counts and
            what resampling would distort.
        """

    def normal_intervals(
        self, records: list[Any], groups: np.ndarray | None
    ) -> dict[str, Interval]:
        """Return intervals by a formula, where the kind has one.

        Args:
            records (list[tuple]): As of :meth:`compute_unique`.
            groups (np.ndarray, optional): (N,) the patient of each image as
                a whole number from 0; None for independent images.

        Returns:
            dict[str, Interval]: By key; NaN where undefined.
        """
        return {}

    def normal_differences(
        self,
        records: list[Any],
        others: list[Any],
        groups: np.ndarray | None,
    ) -> dict[str, PairedInterval]:
        """Return differences to another model, and tests, by a formula.

        Args:
            records (list[tuple]): As of :meth:`compute_unique`.
            others (list[tuple]): The other's, of the same images.
            groups (np.ndarray, optional): As of :meth:`normal_intervals`.

        Returns:
            dict[str, PairedInterval]: By key; NaN where undefined.
        """
        return {}

    def choose_thresholds(self, records: list[Any]) -> Thresholds:
        """Return the best thresholds on the validation split.

        Args:
            records (list[tuple]): Of the validation split.

        Raises:
            NotImplementedError: If a metric that takes thresholds does not
                choose them.
        """
        raise NotImplementedError

    @abstractmethod
    def pack(self, records: list[Any]) -> dict[str, np.ndarray]:
        """Return records as arrays, to save predictions.

        Args:
            records (list[tuple]): As of :meth:`compute_unique`.

        Returns:
            dict[str, np.ndarray]: By any names, without objects.
        """

    @abstractmethod
    def unpack(
        self, columns: dict[str, np.ndarray], img_ids: list[str]
    ) -> Iterator[dict[str, Any]]:
        """Return the samples that :meth:`pack` saved, for :meth:`process`.

        Args:
            columns (dict[str, np.ndarray]): What :meth:`pack` returned.
            img_ids (list[str]): Names of the images, in order.

        Yields:
            dict: ``img_id`` and the fields of truth and prediction.
        """

    @abstractmethod
    def same_truth(self, own: Any, other: Any) -> bool:
        """Whether two records of an image have the same truth."""

    def notes(
        self,
        records: list[Any],
        values: Mapping[str, float],
        predict_on: str,
        has_thresholds: bool,
    ) -> list[str]:
        """Return what a reader must know to read the numbers of a report.

        Args:
            records (list[tuple]): As of :meth:`compute_unique`.
            values (Mapping[str, float]): All results of the task.
            predict_on (str): Which model predicted.
            has_thresholds (bool): Whether thresholds were chosen.
        """
        return []
