"""What the metrics of the three task kinds have in common."""

import sys
from abc import abstractmethod

import numpy as np
from mmengine.evaluator import BaseMetric

from fx_mm.utils.errors import UserError


class TaskMetric(BaseMetric):
    """Metric of one task.

    Subclasses append ``(img_id, ...)`` tuples to ``self.results``; an image
    that several processes saw (a sampler pads the last batch) counts once.
    All keys are present in every result, NaN where a value is undefined, so
    that a best checkpoint and a table can rely on them.

    Args:
        collect_device (str): Where results of several processes meet.
            Defaults to 'cpu'.
        prefix (str, optional): Put before the keys. Defaults to None, since
            the evaluation loops name the task themselves.
        collect_dir (str, optional): Folder shared by the processes for
            ``collect_device='cpu'``. Defaults to None.
    """

    # Empty instead of None: BaseMetric warns about a prefix that is None.
    default_prefix = ''

    @property
    def dataset_meta(self) -> dict | None:
        """dict: Meta of the task; ``classes`` is needed."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict) -> None:
        self._dataset_meta = dataset_meta
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

    def check_classes(self, names, option: str) -> None:
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

    def evaluate(self, size: int) -> dict:
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

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Compute the metrics of the gathered results.

        Args:
            results (list[tuple]): Results of all processes, the image id
                first.

        Returns:
            dict[str, float]: All metrics, NaN where undefined.
        """
        first_seen = {}
        for result in results:
            first_seen.setdefault(result[0], result)
        return self.compute_unique(list(first_seen.values()))

    @abstractmethod
    def compute_unique(self, results: list) -> dict[str, float]:
        """Compute the metrics of results with one entry per image.

        Args:
            results (list[tuple]): The image id and what ``process`` kept.

        Returns:
            dict[str, float]: All metrics, NaN where undefined.
        """


def mean_or_nan(values) -> float:
    """Average what is defined.

    Args:
        values (Iterable[float]): Values, NaN where undefined.

    Returns:
        float: Mean of the values that are not NaN; NaN if there is none.
    """
    values = np.asarray(list(values), dtype=np.float64)
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float('nan')
