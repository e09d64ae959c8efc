"""Zero-shot: the heads of other datasets that know a class by its name."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fx_mm.evaluation.statistics.bootstrap import (
    RESAMPLES,
    Estimate,
    estimate,
)
from fx_mm.evaluation.statistics.ranking import auc_statistics
from fx_mm.tasks import ClassificationKind, Task

MEAN = 'mean of heads'
SYNONYMS = {
    'pleural effusion': ('effusion', 'pe'),  # VinDr-CXR calls it PE
    'tuberculosis': ('tb', 'active tuberculosis'),
    'no finding': ('normal', 'no findings', 'healthy'),
    'lung opacity': ('opacity', 'airspace opacity'),
    'fibrosis': ('pulmonary fibrosis',),
    'edema': ('pulmonary edema', 'oedema'),
    'covid 19': ('covid19', 'covid'),
}
_SAME = {other: name for name, each in SYNONYMS.items() for other in each}
SOURCES = {
    'rsna': ('nih14',),
    'siim_acr': ('nih14',),
    'chestx_det': ('nih14',),
    'node21': ('nih14', 'jsrt'),
    'covidx': ('rsna',),
    'vindr_organs': ('vindr_cxr',),
    'vindr_findings': ('vindr_cxr',),
}
"""Datasets that took images from others (docs/datasets.md)."""


@dataclass(frozen=True)
class Head:
    """An output of a classification head.

    Attributes:
        task (str): Name of the task.
        name (str): Its class.
        index (int): Its place in the head.
    """

    task: str
    name: str
    output: int

    def __str__(self) -> str:
        return f'{self.task}/{self.name}'


def normalise(name: str) -> str:
    """Return the name that a class shares with its synonyms.

    >>> normalise('Pleural_Effusion') == normalise('PE')
    True
    """
    plain = ' '.join(re.sub(r'[\W_]+', ' ', name.casefold()).split())
    return _SAME.get(plain, plain)


def find_heads(
    tasks: Iterable[Task], name: str, also: Sequence[str] = ()
) -> list[Head]:
    """List the outputs that mean a class.

    Args:
        tasks (Iterable[Task]): Those without labels are skipped.
        name (str): The class.
        also (Sequence[str]): Further names to accept, such as ``Mass`` for
            ``Nodule``. Defaults to none.

    Returns:
        list[Head]: In the order of the tasks and their classes.
    """
    wanted = {normalise(each) for each in (name, *also)}
    return [
        Head(task.name, each, index)
        for task in tasks
        if task.kind is ClassificationKind
        for index, each in enumerate(task.classes)
        if normalise(each) in wanted
    ]


def origins(dataset: str) -> set[str]:
    """Return a dataset and those that its images are from."""
    found = {dataset}
    for source in SOURCES.get(dataset, ()):
        found |= origins(source)
    return found


def shared_images(dataset: str, target: str) -> str:
    """Return why two datasets may share images; empty if nothing is known."""
    if dataset == target:
        return 'it is the target'
    common = sorted(origins(dataset) & origins(target))
    return f'both have images of {", ".join(common)}' if common else ''


def evaluate_heads(
    labels: np.ndarray,
    scores: Mapping[str, np.ndarray],
    resamples: int = RESAMPLES,
    seed: int = 0,
    patients: Sequence[str] | None = None,
) -> dict[str, Estimate]:
    """Compute the AUC of each head and, of several, of their mean.

    Args:
        labels (np.ndarray): (N,) 0, 1 or NaN (unknown).
        scores (Mapping[str, np.ndarray]): Head to probabilities (N,).
        resamples (int): Defaults to 1000.
        seed (int): Defaults to 0.
        patients (Sequence[str], optional): Patient of each image. Defaults
            to None.

    Returns:
        dict[str, Estimate]: By head, and :data:`MEAN`.
    """
    columns = {head: (labels, values) for head, values in scores.items()}
    if len(scores) > 1:
        columns[MEAN] = labels, np.mean(list(scores.values()), axis=0)
    return estimate(
        auc_statistics(columns), len(labels), resamples, seed, patients
    )
