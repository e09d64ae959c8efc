"""What a stability study says: a claim, its runs, and the judgement calls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from fx_mm.config import load_config
from fx_mm.tasks import split_name, task_of
from fx_mm.utils.checks import check_choice, check_keys, check_number
from fx_mm.utils.errors import UserError
from fx_mm.utils.value_types import check_value

BASE = 'base'
LAST, BEST = 'last', 'best'
LESS_IS_BETTER = ('Brier', 'ECE', 'HD95', 'MAE', 'RMSE')
KEYS = (
    *('claim', 'arms', 'seeds', 'options', 'perturbations', 'unseen'),
    *('subgroups', 'prediction_sets'),
)
CLAIM_KEYS = ('text', 'metric', 'better', 'than', 'margin')
CASE_KEYS = ('factor', 'level', 'why', 'options', 'only', 'test')
TEST_KEYS = ('options', 'predict_on', 'checkpoint')


@dataclass(frozen=True)
class Claim:
    """One arm is better than another by a metric, or worse by a margin.

    Attributes:
        text (str): In words.
        metric (str): ``phantom_b/loc/mAP_40``, of which more is better.
        better (str): Name of the arm that is claimed to be better.
        than (str): Name of the other.
        margin (float): By how much it may be worse. Defaults to 0.
    """

    text: str
    metric: str
    better: str
    than: str
    margin: float = 0.0

    @property
    def task(self) -> str:
        """str: Name of the task."""
        return task_of(self.metric)

    @property
    def key(self) -> str:
        """str: Name of the metric within the task."""
        return self.metric[len(self.task) + 1 :]

    def holds(self, difference: float) -> bool:
        """Whether a difference, better minus other, agrees with the claim."""
        return bool(difference > -self.margin)


@dataclass(frozen=True)
class Case:
    """The base, or one judgement call made otherwise.

    Attributes:
        factor (str): What is changed, such as ``input size``.
        level (str): What to, such as ``48``.
        why (str): Why one could as well have chosen this.
        options (Mapping): Changes of the config of training, and test.
        only (Mapping): Arm to further changes.
        test (Mapping): What is changed of the test alone: ``options``,
            ``predict_on``, ``checkpoint`` (``best`` or ``last``). The base's
            weights are tested then.
    """

    factor: str
    level: str
    why: str
    options: Mapping[str, Any] = field(default_factory=dict)
    only: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    test: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """str: ``factor: level``."""
        if self.factor == BASE:
            return BASE
        return f'{self.factor}: {self.level}'

    @property
    def folder(self) -> str:
        """str: The name as that of a folder."""
        return ''.join(c if c.isalnum() else '_' for c in self.name)

    @property
    def trains(self) -> bool:
        """bool: Whether it needs trainings of its own."""
        return not self.test

    def changes(self, arm: str) -> bool:
        """Whether it differs from the base for an arm."""
        return bool(
            self.factor == BASE
            or self.options
            or self.test
            or self.only.get(arm)
        )


@dataclass(frozen=True)
class Study:
    """A study as its file says.

    Attributes:
        claim (Claim): The claim.
        arms (dict[str, Path]): Name to config file.
        seeds (list[int]): Of order and weights, of every case.
        options (dict): Changes of all configs.
        cases (list[Case]): The base first.
        unseen (list[str]): Datasets that are left out of a training, each in
            turn, and then tested by the heads of others.
        subgroups (dict): ``table``, a CSV file with a column ``image``, and
            ``columns`` of it.
        prediction_sets (dict): ``level`` and ``repeats``; empty for none.
    """

    claim: Claim
    arms: dict[str, Path]
    seeds: list[int]
    options: dict[str, Any]
    cases: list[Case]
    unseen: list[str]
    subgroups: dict[str, Any]
    prediction_sets: dict[str, Any]


def read_study(path: str | Path) -> Study:
    """Read a study, a Python file such as ``configs/studies/*.py``.

    Args:
        path (str | Path): The file; configs are named relative to it.

    Raises:
        UserError: If something is missing or unknown, or a judgement call
            has no reason.
    """
    given = load_config(str(path)).to_dict()
    given.pop('work_dir', None)
    check_keys(given, KEYS, str(path))
    for key in ('claim', 'arms', 'seeds'):
        if not given.get(key):
            raise UserError(f'{path} has no "{key}".')
    check_keys(given['claim'], CLAIM_KEYS, f'claim of {path}')
    for key in CLAIM_KEYS[:-1]:
        if not isinstance(given['claim'].get(key), str):
            raise UserError(f'claim.{key} of {path} must be a text.')
    claim = Claim(**given['claim'])
    check_number(f'claim.margin of {path}', claim.margin, 0)
    if claim.metric.count('/') < 2:
        raise UserError(
            f'claim.metric of {path} is "{claim.metric}"; write '
            'DATASET/KIND/METRIC, such as phantom_b/loc/mAP_40.'
        )
    if claim.key.partition('_')[0] in LESS_IS_BETTER:
        raise UserError(
            f'claim.metric of {path} is "{claim.metric}", of which less is '
            'better; name one of which more is.'
        )
    arms = {
        name: Path(path).parent / config
        for name, config in given['arms'].items()
    }
    for key in ('better', 'than'):
        check_choice(f'claim.{key} of {path}', getattr(claim, key), arms)
    if len(arms) != 2 or claim.better == claim.than:
        raise UserError(f'{path} must have two arms, and compare them.')
    check_value(f'seeds of {path}', given['seeds'], Sequence[int])
    return Study(
        claim,
        arms,
        list(given['seeds']),
        given.get('options') or {},
        _read_cases(path, given.get('perturbations') or (), arms),
        list(given.get('unseen') or ()),
        _read_subgroups(path, given.get('subgroups') or {}),
        _read_sets(path, given.get('prediction_sets') or {}),
    )


def _read_cases(
    path: str | Path, entries: Sequence[Any], arms: Mapping[str, Path]
) -> list[Case]:
    cases = [Case(BASE, '', 'what the claim was made with')]
    for number, entry in enumerate(entries):
        where = f'perturbations[{number}] of {path}'
        check_keys(entry, CASE_KEYS, where)
        for key in ('factor', 'level', 'why'):
            text = entry.get(key)
            if not isinstance(text, str) or not text.strip():
                raise UserError(
                    f'{where} has no "{key}"; every judgement call names its '
                    'factor, its level and why one could as well have '
                    'decided so.'
                )
        check_keys(entry.get('only') or {}, arms, f'{where}.only')
        test = entry.get('test') or {}
        check_keys(test, TEST_KEYS, f'{where}.test')
        check_choice(
            f'{where}.test.checkpoint',
            test.get('checkpoint', LAST),
            (LAST, BEST),
        )
        trains = bool(entry.get('options') or entry.get('only'))
        if trains == bool(test):
            raise UserError(
                f'{where} must change either the training ("options", '
                '"only") or the test of the base\'s weights ("test").'
            )
        case = Case(**entry)
        if case.folder in {each.folder for each in cases}:
            raise UserError(f'{where}: "{case.name}" stands there twice.')
        cases.append(case)
    return cases


def _read_subgroups(path: str | Path, entry: Any) -> dict[str, Any]:
    where = f'subgroups of {path}'
    check_keys(entry, ('table', 'columns'), where)
    if entry and not (entry.get('table') and entry.get('columns')):
        raise UserError(f'{where} needs a "table" and its "columns".')
    return dict(entry)


def _read_sets(path: str | Path, entry: Any) -> dict[str, Any]:
    where = f'prediction_sets of {path}'
    check_keys(entry, ('level', 'repeats'), where)
    if not entry:
        return {}
    found = dict(level=0.9, repeats=20) | entry
    check_number(f'{where}.level', found['level'], 0.5, 0.999)
    check_number(f'{where}.repeats', found['repeats'], 1, whole=True)
    return found


def dataset_of(claim: Claim) -> str:
    """Return the dataset that a claim is about."""
    return split_name(claim.task)[0]


def names_of_tasks(cfg: Config, without: str | None = None) -> list[str]:
    """List a config's tasks, but those of a dataset that is left out."""
    return [name for name in cfg.tasks or () if split_name(name)[0] != without]
