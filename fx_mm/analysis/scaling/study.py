"""What a scaling study says: pretrainings, sizes, shares and targets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fx_mm.analysis.scaling.power_law import LEAST
from fx_mm.config import load_config
from fx_mm.utils.checks import check_choice, check_keys, check_number
from fx_mm.utils.errors import UserError
from fx_mm.utils.value_types import check_value

NOTHING = 'nothing'
"""The pretraining that there was none."""
KEYS = (
    *('pretraining', 'sizes', 'shares', 'seeds', 'options', 'downstream'),
    'diversity',
)
NEEDED = ('pretraining', 'sizes', 'shares', 'seeds', 'downstream')
TARGET_KEYS = ('config', 'how', 'images')
PROBE, FINE_TUNE = 'linear probe', 'fine-tune'
HOWS = (PROBE, FINE_TUNE)


@dataclass(frozen=True)
class Target:
    """A downstream task.

    Attributes:
        config (Path): A config with one task.
        how (str): ``linear probe`` on the frozen backbone's vectors, of
            labels alone, or ``fine-tune``, as the config trains.
        images (int, optional): Training images; None for all.
    """

    config: Path
    how: str
    images: int | None


@dataclass(frozen=True)
class Study:
    """A study as its file says.

    Attributes:
        pretraining (dict[str, Path]): Name to config file.
        sizes (dict[str, dict]): Name to options of the model, in every
            config.
        shares (list[float]): Of the training patients of a pretraining.
        seeds (list[int]): Of patients, order and weights.
        options (dict): Changes of all configs.
        downstream (dict[str, Target]): Name to target.
        diversity (dict): ``datasets``, ``images``, ``size`` and
            ``pretraining``, a list; empty for none.
    """

    pretraining: dict[str, Path]
    sizes: dict[str, dict[str, Any]]
    shares: list[float]
    seeds: list[int]
    options: dict[str, Any]
    downstream: dict[str, Target]
    diversity: dict[str, Any]


def read_study(path: str | Path) -> Study:
    """Read a study, a Python file such as ``configs/studies/scaling_*.py``.

    Args:
        path (str | Path): The file; configs are named relative to it.

    Raises:
        UserError: If something is missing or unknown, or there are fewer
            than three points for any power law.
    """
    given = load_config(str(path)).to_dict()
    given.pop('work_dir', None)
    check_keys(given, KEYS, str(path))
    for key in NEEDED:
        if not given.get(key):
            raise UserError(f'{path} has no "{key}".')
    shares, sizes = list(given['shares']), given['sizes']
    check_value(f'shares of {path}', shares, Sequence[float])
    for share in shares:
        check_number(f'shares of {path}', share, 1e-9, 1)
    check_value(f'seeds of {path}', given['seeds'], Sequence[int])
    check_value(f'sizes of {path}', sizes, dict[str, dict])
    check_value(f'pretraining of {path}', given['pretraining'], dict[str, str])
    if max(len(set(shares)), len(sizes)) < LEAST:
        raise UserError(
            f'{path} has {len(set(shares))} shares and {len(sizes)} sizes; a '
            f'power law needs at least {LEAST} of one.'
        )
    if NOTHING in given['pretraining']:
        raise UserError(
            f'{path} calls a pretraining "{NOTHING}", which stands for the '
            'models without one; choose another name.'
        )
    folder = Path(path).parent
    return Study(
        {name: folder / file for name, file in given['pretraining'].items()},
        sizes,
        sorted(set(map(float, shares))),
        list(dict.fromkeys(given['seeds'])),
        given.get('options') or {},
        {
            name: _read_target(folder, entry, f'downstream.{name} of {path}')
            for name, entry in given['downstream'].items()
        },
        _read_diversity(
            path, given.get('diversity') or {}, sizes, given['pretraining']
        ),
    )


def _read_target(folder: Path, entry: Any, where: str) -> Target:
    check_value(where, entry, dict)
    check_keys(entry, TARGET_KEYS, where)
    if not isinstance(entry.get('config'), str):
        raise UserError(f'{where} has no "config", the path of one.')
    check_choice(f'{where}.how', entry.get('how'), HOWS)
    images = entry.get('images')
    if images is not None:
        check_number(f'{where}.images', images, 1, whole=True)
    return Target(folder / entry['config'], entry['how'], images)


def _read_diversity(
    path: str | Path,
    entry: Mapping[str, Any],
    sizes: Mapping[str, Any],
    pretraining: Mapping[str, str],
) -> dict[str, Any]:
    where = f'diversity of {path}'
    check_keys(entry, ('datasets', 'images', 'size', 'pretraining'), where)
    if not entry:
        return {}
    datasets = list(entry.get('datasets') or ())
    if len(set(datasets)) < 2:
        raise UserError(f'{where} needs the names of at least two "datasets".')
    check_choice(f'{where}.size', entry.get('size'), sizes)
    images: Any = entry.get('images')
    check_number(f'{where}.images', images, len(datasets), whole=True)
    if images % len(datasets):
        raise UserError(
            f'{where}.images is {images}, which {len(datasets)} datasets '
            'cannot share equally.'
        )
    methods = entry.get('pretraining', list(pretraining))
    check_value(f'{where}.pretraining', methods, Sequence[str])
    for method in methods:
        check_choice(f'{where}.pretraining', method, pretraining)
    return dict(entry, datasets=datasets, pretraining=methods)
