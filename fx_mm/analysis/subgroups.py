"""AUC by sex and age group, and the gaps between groups."""

import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fx_mm.analysis.reports import LABEL
from fx_mm.datasets.readers.csv_table import CsvTable
from fx_mm.datasets.readers.patient_ids import (
    find_patient_name,
    read_patient,
    unify_patients,
)
from fx_mm.evaluation.metrics.cls_metric import ClsMetric
from fx_mm.evaluation.report.predictions import read_predictions
from fx_mm.evaluation.statistics.bootstrap import (
    RESAMPLES,
    Estimate,
    sample,
)
from fx_mm.evaluation.statistics.multiplicity import adjust
from fx_mm.evaluation.statistics.nan_mean import nan_mean
from fx_mm.evaluation.statistics.ranking import auc_statistics
from fx_mm.preparation.cell_values import parse_age, parse_sex
from fx_mm.tasks import ClassificationKind
from fx_mm.utils.checks import suggest
from fx_mm.utils.errors import UserError

AGES = (18, 40, 60, 80)
ALL, OTHERS = 'all', 'others'
MEAN = 'mean'
SEXES = dict(F='female', M='male')
NO_GAP = Estimate(math.nan, math.nan, math.nan)


class Group(NamedTuple):
    """One group of one class.

    Attributes:
        positive (int): Images of the group with the class.
        negative (int): Those without.
        auc (Estimate): Within the group.
        gap (Estimate): AUC of the group minus that of all others whose sex
            (or age) is known.
        p (float): Two-sided p-value of no gap, NaN where it is undefined.
        p_adjusted (float): The same for all gaps that are read together.
    """

    positive: int
    negative: int
    auc: Estimate
    gap: Estimate
    p: float
    p_adjusted: float


class ScoredImages(NamedTuple):
    """Labels and scores of images.

    Attributes:
        names (list[str]): Of N images.
        classes (list[str]): C names.
        labels (np.ndarray, optional): (N, C) 0, 1 or NaN; None where the
            table has them.
        scores (np.ndarray): (N, C).
        patients (list[str], optional): Of each image.
    """

    names: list[str]
    classes: list[str]
    labels: np.ndarray | None
    scores: np.ndarray
    patients: list[str] | None


def read_scores(file: str | Path, task: str | None = None) -> ScoredImages:
    """Read scores of labels.

    Args:
        file (str | Path): Predictions of ``tools/test.py
            --save-predictions`` (.npz), or a CSV file with a column
            ``image``, one per class, and labels in none or all of the
            columns ``label:CLASS``.
        task (str, optional): Keep the columns ``task/class`` of a CSV file,
            as ``tools/predict.py`` writes them. Defaults to None.

    Raises:
        UserError: If there are none.
    """
    if zipfile.is_zipfile(file):  # as an .npz is
        return _from_predictions(file)
    table = CsvTable(file, 'it has the scores')
    table.column('image')
    prefix = f'{task}/' if task else ''
    chosen = [
        name
        for name in table.header
        if name.startswith(prefix) and name not in ('', 'image', 'error')
    ]
    if not chosen:
        raise UserError(
            f'{file}: has no column "{prefix}..."; '
            f'{suggest(prefix, table.header)}.'
        )
    names: list[str] = []
    values: list[list[float]] = []
    for where, (image, *cells) in table.rows('image', *chosen):
        names.append(image)
        try:
            values.append([float(c) if c else math.nan for c in cells])
        except ValueError as error:
            raise UserError(
                f'{where}: a score is not a number ({error}).'
            ) from error
    chosen = [name.removeprefix(prefix) for name in chosen]
    numbers = np.array(values).reshape(len(names), len(chosen))
    places = {name: place for place, name in enumerate(chosen)}
    classes = [name for name in chosen if not name.startswith(LABEL)]
    labels = None
    if len(classes) < len(chosen):
        # what has no labels, such as the single heads of a zero-shot test
        classes = [name for name in classes if LABEL + name in places]
        labels = numbers[:, [places[LABEL + name] for name in classes]]
    scores = numbers[:, [places[name] for name in classes]]
    return ScoredImages(names, classes, labels, scores, None)


def _from_predictions(file: str | Path) -> ScoredImages:
    def metric_of(meta: dict[str, Any]) -> ClsMetric | None:
        if meta['kind'] != ClassificationKind.name:
            return None
        metric = ClsMetric()
        metric.dataset_meta = meta
        metric.kept = []
        return metric

    found = read_predictions(file, metric_of)
    if found is None:
        raise UserError(
            f'{file}: holds no labels; give the predictions of a task '
            f'{ClassificationKind.name}.'
        )
    names, labels, scores = zip(*found.records)
    return ScoredImages(
        list(names),
        list(found.task['classes']),
        np.stack(labels),
        np.stack(scores),
        found.patients,
    )


def read_metadata(
    file: str | Path, names: Sequence[str]
) -> dict[str, list[str]]:
    """Read columns of a prepared table for some of its images.

    Args:
        file (str | Path): With a column ``image``.
        names (Sequence[str]): The images, as the table writes them, or
            paths that end so.

    Returns:
        dict[str, list[str]]: Column to its text for each image.

    Raises:
        UserError: If an image is not in the table.
    """
    table = CsvTable(file, 'it has the metadata')
    image = table.column('image')
    known = {row[image].strip(): row for _, row in table}
    found = []
    for name in names:
        parts = Path(name).parts
        ends = ('/'.join(parts[i:]) for i in range(len(parts)))
        key = next((end for end in (name, *ends) if end in known), None)
        if key is None:
            raise UserError(
                f'{file}: has no row for image "{name}"; give the table of '
                'the same split.'
            )
        found.append(known[key])
    return {
        name: [row[i].strip() for row in found]
        for i, name in enumerate(table.header)
    }


def patients_of(
    metadata: Mapping[str, Sequence[str]], names: Sequence[str]
) -> list[str] | None:
    """Return the patients that a table tells.

    Args:
        metadata (Mapping): Of :func:`read_metadata`.
        names (Sequence[str]): The images.

    Returns:
        list[str], optional: Of each image, its own name where the patient is
        unknown; None if the table has no column of them.
    """
    column = find_patient_name(metadata)
    if column is None:
        return None
    found = list(map(read_patient, metadata[column]))
    unified = unify_patients(filter(None, found))
    return [
        unified.names[patient] if patient else f'image {name}'
        for name, patient in zip(names, found, strict=True)
    ]


def labels_of(
    metadata: Mapping[str, Sequence[str]], classes: Sequence[str]
) -> np.ndarray:
    """Return the labels of a table, NaN for what is neither 0 nor 1.

    Args:
        metadata (Mapping): Of :func:`read_metadata`.
        classes (Sequence[str]): Columns.

    Returns:
        np.ndarray: (N, C).

    Raises:
        UserError: If a class has no column.
    """
    values = dict(zip(('0', '1', '0.0', '1.0'), (0.0, 1.0) * 2))
    for name in classes:
        if name not in metadata:
            raise UserError(
                f'The table has no column "{name}"; {suggest(name, metadata)}.'
            )
    columns = [
        [values.get(text, math.nan) for text in metadata[name]]
        for name in classes
    ]
    return np.array(columns).T


def sex_groups(texts: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the images of each sex, bool (N,)."""
    sexes = np.array([parse_sex(text) or '' for text in texts])
    return {name: sexes == key for key, name in SEXES.items()}


def age_groups(
    texts: Sequence[str], edges: Sequence[int] = AGES
) -> dict[str, np.ndarray]:
    """Return the images of each age group, bool (N,).

    Args:
        texts (Sequence[str]): Ages, such as ``45`` or ``058Y``.
        edges (Sequence[int]): First years of all groups but the first.
            Defaults to 18, 40, 60, 80.
    """
    parsed = [parse_age(text) for text in texts]
    ages = np.array(
        [math.nan if age is None else age for age in parsed], float
    )
    ends = [-math.inf, *edges, math.inf]
    names = [f'below {edges[0]}']
    names += [f'{a} to {b - 1}' for a, b in zip(edges, edges[1:])]
    names.append(f'from {edges[-1]}')
    return {
        name: (ages >= low) & (ages < high)
        for name, low, high in zip(names, ends, ends[1:])
    }


def compare_groups(
    labels: np.ndarray,
    scores: np.ndarray,
    classes: Sequence[str],
    groups: Mapping[str, np.ndarray],
    resamples: int = RESAMPLES,
    seed: int = 0,
    patients: Sequence[str] | None = None,
    bca: bool = False,
    correction: str = 'holm',
) -> dict[str, dict[str, Group]]:
    """Compute AUCs by group, and gaps, on the same draws.

    The p-values of all classes and groups are adjusted together, those of
    the mean over classes likewise. Two groups have one gap, which counts
    once.

    Args:
        labels (np.ndarray): (N, C) 0, 1 or NaN (unknown).
        scores (np.ndarray): (N, C).
        classes (Sequence[str]): C names.
        groups (Mapping[str, np.ndarray]): Group to its images, bool (N,).
        resamples (int): Defaults to 1000.
        seed (int): Defaults to 0.
        patients (Sequence[str], optional): Patient of each image. Defaults
            to None.
        bca (bool): Whether intervals are bias-corrected and accelerated.
            Defaults to False.
        correction (str): Of the p-values, ``holm`` or ``bh``. Defaults to
            ``holm``.

    Returns:
        dict[str, dict[str, Group]]: Class (and :data:`MEAN`, of the classes
        that are defined) to group (and :data:`ALL`) to :class:`Group`.
    """
    known = np.any(list(groups.values()), axis=0)
    parts: dict[Any, np.ndarray] = {ALL: known}
    for name, mask in groups.items():
        parts[name] = mask
        parts[OTHERS, name] = known & ~mask
    columns = {
        (number, part): (
            np.where(mask, labels[:, number], np.nan),
            scores[:, number],
        )
        for number in range(len(classes))
        for part, mask in parts.items()
    }
    aucs = auc_statistics(columns)
    numbers = range(len(classes))

    def statistics(weights: np.ndarray) -> dict[Any, np.ndarray]:
        found = aucs(weights)
        values: dict[Any, np.ndarray] = {
            ('auc', *key): value for key, value in found.items()
        }
        for number in numbers:
            for name in groups:
                ours, theirs = (
                    found[number, part] for part in (name, (OTHERS, name))
                )
                values['gap', number, name] = ours - theirs
        for what, names in (('auc', [ALL, *groups]), ('gap', groups)):
            for name in names:
                values[what, MEAN, name] = nan_mean(
                    [values[what, number, name] for number in numbers], axis=0
                )
        return values

    drawn = sample(statistics, len(labels), resamples, seed, patients, bca)
    found = {
        key: Estimate(value, *drawn.interval(key))
        for key, value in drawn.values.items()
    }
    distinct = list(groups)[:1] if len(groups) == 2 else list(groups)
    adjusted: dict[Any, float] = {}
    for family in (numbers, [MEAN]):
        keys = [('gap', c, name) for c in family for name in distinct]
        p_values = adjust([drawn.p_value(key) for key in keys], correction)
        adjusted |= dict(zip(keys, map(float, p_values)))
    report: dict[str, dict[str, Group]] = {}
    columns_of: dict[str, Any] = dict(zip(classes, numbers)) | {MEAN: MEAN}
    for title, column in columns_of.items():
        chosen = labels if column == MEAN else labels[:, [column]]
        report[title] = {ALL: _group(chosen[known], found['auc', column, ALL])}
        for name in groups:
            key = ('gap', column, name)
            first = ('gap', column, distinct[0])
            report[title][name] = _group(
                chosen[parts[name]],
                found['auc', column, name],
                found[key],
                drawn.p_value(key),
                adjusted.get(key, adjusted[first]),
            )
    return report


def _group(
    labels: np.ndarray,
    auc: Estimate,
    gap: Estimate = NO_GAP,
    p: float = math.nan,
    p_adjusted: float = math.nan,
) -> Group:
    """Count the labels of a group; see :class:`Group`."""
    positive, negative = (int((labels == outcome).sum()) for outcome in (1, 0))
    return Group(positive, negative, auc, gap, p, p_adjusted)
