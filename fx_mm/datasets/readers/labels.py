"""Label values of images: what cells say, and what -1 and blanks mean."""

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from fx_mm.datasets.readers.images import ImageNames
from fx_mm.datasets.readers.rows import RowReader
from fx_mm.datasets.records import Records
from fx_mm.tasks import Task
from fx_mm.utils.checks import suggest
from fx_mm.utils.errors import UserError

POLICIES = dict(ones=1.0, zeros=0.0, ignore=math.nan)
KINDS = ('uncertain', 'blank')
DRAWN = dict(uncertain=-1.0, blank=-2.0)
"""Marks in a column of values: drawn again for each sample."""
CACHED = 1000
Policy = str | float | Mapping[str, Any] | None
"""What a label stands for, see :class:`LabelReader`."""


class LabelReader(RowReader):
    """A reader of image labels: one value per class and image.

    A **policy** says what a class's value stands for where the file does not
    say it: ``'ones'``, ``'zeros'``, ``'ignore'`` (unknown: NaN, no loss), a
    number in 0..1, or ``dict(uniform=(low, high))``. A range is drawn again
    each time the sample is loaded in training, in
    :meth:`TaskDataset.sample` from the sample's seed and a generator of its
    own, so that neither resuming nor the transforms' random stream notices.
    In evaluation a range, and a number that is neither 0 nor 1, is unknown.

    Args:
        uncertain (str | float | dict, optional): Policy of -1 (CheXpert's
            "uncertain"): one for all classes, or a dict of class name to
            policy, with the others under ``'default'``. Ark's LSR-Ones is
            ``dict(uniform=(0.55, 0.85))``, LSR-Zeros
            ``dict(uniform=(0.0, 0.3))``. Defaults to None, which refuses -1.
        blank (str | float | dict): Policy of a blank cell, ``nan`` included.
            Defaults to 'ignore'.
        kwargs: See :class:`BaseReader`.

    Examples:
        >>> ark = dict(
        ...     type='CsvLabelReader', blank='zeros',
        ...     uncertain=dict(uniform=(0.55, 0.85)))
        >>> by_class = dict(
        ...     type='CsvLabelReader',
        ...     uncertain=dict(default='ignore', Edema='ones'))
    """

    def __init__(
        self,
        uncertain: Policy = None,
        blank: Policy = 'ignore',
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.uncertain = uncertain
        self.blank = blank

    @classmethod
    def made_up(
        cls, task: Task, index: int, size: int, rng: np.random.Generator
    ) -> dict[str, Any]:
        """Make up ``gt_score``: each image has one of the classes."""
        classes = len(task.classes)
        return dict(
            gt_score=np.eye(classes, dtype=np.float32)[index % classes]
        )

    def parser(self, task: Task) -> 'LabelColumns':
        """Return what turns the texts of labels into values."""
        return LabelColumns(task, self.uncertain, self.blank)


class LabelColumns:
    """Turns the texts of labels into values, class by class.

    Args:
        task (Task): Says which classes there are.
        uncertain (str | float | dict, optional): See :class:`LabelReader`.
        blank (str | float | dict): See :class:`LabelReader`.

    Raises:
        UserError: If a policy is not valid, or is for an unknown class.
    """

    def __init__(
        self,
        task: Task,
        uncertain: Policy = None,
        blank: Policy = 'ignore',
    ) -> None:
        self.task = task
        size = (len(KINDS), len(task.classes), 2)
        self._ranges = np.full(size, np.nan, np.float32)
        stands_for: dict[str, list[float | None]] = {}
        for kind, policy in zip(KINDS, (uncertain, blank)):
            default = None if kind == 'uncertain' else 'ignore'
            where = f'{kind} of the reader of task {task.name}'
            per_class = _by_class(policy, task.classes, default, where)
            stands_for[kind] = values = []
            for number, value in enumerate(per_class):
                if isinstance(value, tuple):
                    self._ranges[KINDS.index(kind), number] = value
                    value = DRAWN[kind]
                values.append(value)
        self._values = [_Values(*pair) for pair in zip(*stands_for.values())]

    def parse(
        self, rows: Sequence[Sequence[str]], places: Sequence[str]
    ) -> np.ndarray:
        """Read the labels of some images.

        Args:
            rows (Sequence[Sequence[str]]): One text per class and image.
            places (Sequence[str]): File and row of each, for the messages.

        Returns:
            np.ndarray: float32 (n, C); NaN is unknown, below 0 is drawn.

        Raises:
            UserError: Names file, row and class of what is not a label.
        """
        scores = np.empty((len(rows), len(self._values)), np.float32)
        for column, (values, texts) in enumerate(
            zip(self._values, zip(*rows))
        ):
            try:
                scores[:, column] = np.fromiter(
                    map(values.__getitem__, texts), np.float32, len(rows)
                )
            except UserError:
                name = self.task.classes[column]
                for place, text in zip(places, texts):
                    where = f'{place}, class "{name}"'
                    parse_label(text, where, values.uncertain)
                raise
        if self.task.label_type == 'multi-class':
            known = (scores == 0).sum(1) == scores.shape[1] - 1
            wrong = ~(known & ((scores == 1).sum(1) == 1))
            for row in wrong.nonzero()[0][:1]:
                raise UserError(
                    f'{places[row]}: a multi-class row needs one 1 and '
                    f'otherwise 0, not {list(rows[row])}; correct it or set '
                    'label_type="multi-label".'
                )
        return scores

    def records(self, images: ImageNames, scores: np.ndarray) -> Records:
        """Put images and values together.

        Args:
            images (ImageNames): The images.
            scores (np.ndarray): Of :meth:`parse`, float32 (n, C).

        Returns:
            Records: See :class:`BaseReader`.
        """
        columns = dict(img_path=images.paths, img_id=images.names)
        if np.isnan(self._ranges).all():
            return Records.of_columns(**columns, gt_score=scores)
        ranges = np.full((*scores.shape, 2), np.nan, np.float32)
        for kind, of_class in zip(KINDS, self._ranges):
            row, column = np.nonzero(scores == DRAWN[kind])
            ranges[row, column] = of_class[column]
        scores[scores < 0] = np.nan
        return Records.of_columns(
            **columns, gt_score=scores, score_range=ranges
        )


class _Values(dict[str, float]):
    """Text of a label to its value; what is new is parsed and kept."""

    def __init__(self, uncertain: float | None, blank: float) -> None:
        super().__init__()
        self.uncertain = uncertain
        self.blank = blank

    def __missing__(self, text: str) -> float:
        value = parse_label(text, '', self.uncertain, self.blank)
        if len(self) < CACHED:
            self[text] = value
        return value


def parse_label(
    text: str,
    where: str,
    uncertain: float | None = None,
    blank: float = math.nan,
) -> float:
    """Read one label value.

    Args:
        text (str): A number in 0..1, or blank or ``nan``.
        where (str): File, row and column, for the message.
        uncertain (float, optional): What -1 (CheXpert's "uncertain") stands
            for. Defaults to None, which refuses it.
        blank (float): What a blank stands for. Defaults to NaN, unknown.

    Returns:
        float: The value, NaN if unknown.

    Raises:
        UserError: If the text is something else.
    """
    text = text.strip()
    if not text or text.lower() == 'nan':
        return blank
    try:
        value = float(text)
    except ValueError:
        raise UserError(
            f'{where}: label "{text}" is not a number; write 0, 1, or '
            'nothing if it is unknown.'
        ) from None
    if value == -1 and uncertain is not None:
        return uncertain
    if not 0 <= value <= 1:
        hint = (
            ' (-1 is read where the reader has "uncertain": "ones", "zeros", '
            '"ignore", a number, or dict(uniform=(0.55, 0.85)))'
            if value == -1
            else ''
        )
        raise UserError(
            f'{where}: label {text} is outside 0..1; write 0, 1, or nothing '
            f'if it is unknown{hint}.'
        )
    return value


def draw_scores(
    scores: np.ndarray, ranges: np.ndarray, seed: int, index: int
) -> np.ndarray:
    """Draw the labels for which a policy has a range.

    Args:
        scores (np.ndarray): float32 (C,), NaN where drawn or unknown.
        ranges (np.ndarray): float32 (C, 2), lowest and highest value; NaN
            where nothing is drawn.
        seed (int): The sample's seed.
        index (int): Number of the image.

    Returns:
        np.ndarray: float32 (C,).
    """
    # a generator of its own: the transforms' random stream stays as it is
    share = np.random.default_rng([seed, index]).random(len(scores))
    drawn = ranges[:, 0] + share * (ranges[:, 1] - ranges[:, 0])
    return np.where(np.isnan(drawn), scores, drawn).astype(np.float32)


def _by_class(
    policy: Policy, classes: Sequence[str], default: Policy, where: str
) -> list[float | tuple[float, float] | None]:
    """Return what a policy stands for, per class."""
    if not isinstance(policy, Mapping) or 'uniform' in policy:
        return [_value(policy, where, default)] * len(classes)
    for name in policy:
        if name != 'default' and name not in classes:
            raise UserError(
                f'Unknown class "{name}" in {where}; '
                f'{suggest(name, [*classes, "default"])}.'
            )
    others = policy.get('default', default)
    return [
        _value(policy.get(name, others), f'{where} for "{name}"', default)
        for name in classes
    ]


def _value(
    policy: Policy, where: str, default: Policy
) -> float | tuple[float, float] | None:
    """Return a policy's number, or the ends of its range.

    A number between 0 and 1 is a range too: of one value in training, and
    like the others unknown in evaluation, where AUC takes 0 and 1 only.
    """
    if policy is None:
        policy = default
    if policy is None:
        return None
    if isinstance(policy, str) and policy in POLICIES:
        return POLICIES[policy]
    if isinstance(policy, Real) and not isinstance(policy, bool):
        value = float(policy)
        if 0 < value < 1:
            return value, value
        if math.isnan(value) or value in (0, 1):
            return value
    if isinstance(policy, Mapping) and set(policy) == {'uniform'}:
        ends = policy['uniform']
        if (
            isinstance(ends, (list, tuple))
            and len(ends) == 2
            and all(isinstance(end, Real) for end in ends)
            and 0 <= ends[0] <= ends[1] <= 1
        ):
            return float(ends[0]), float(ends[1])
    raise UserError(
        f'{where} is {policy!r}; write one of {", ".join(POLICIES)}, a number '
        'in 0..1, or dict(uniform=(low, high)) with 0 <= low <= high <= 1.'
    )
