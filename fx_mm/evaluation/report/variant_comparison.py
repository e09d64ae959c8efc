"""Variants of a training compared over seeds, pair by pair."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from fx_mm.evaluation.report.results_file import read_results
from fx_mm.evaluation.statistics.bootstrap import LEVEL
from fx_mm.evaluation.statistics.nan_mean import nan_mean
from fx_mm.tasks import all_kinds, find_kind, split_name
from fx_mm.utils.files import write_whole
from fx_mm.utils.text_table import markdown_table

UNDEFINED = 'n/a'


class Spread(NamedTuple):
    """Mean and standard deviation over seeds.

    Attributes:
        mean (float): NaN without a value.
        sd (float): Of the sample (n - 1); NaN below two values.
        n (int): Number of seeds.
    """

    mean: float
    sd: float
    n: int


class Difference(NamedTuple):
    """Mean of paired differences with its t-interval.

    Attributes:
        mean (float): Variant minus base, over the seeds that both have.
        low (float): Lower end of the 95 % interval; NaN below two pairs.
        high (float): Upper end.
        n (int): Number of pairs.
    """

    mean: float
    low: float
    high: float
    n: int


def spread(values: Iterable[float]) -> Spread:
    """Summarise the values of the seeds."""
    array = np.asarray(list(values), dtype=float)
    n = len(array)
    return Spread(
        float(array.mean()) if n else math.nan,
        float(array.std(ddof=1)) if n > 1 else math.nan,
        n,
    )


def paired_difference(
    variant: Mapping[int, float], base: Mapping[int, float]
) -> Difference:
    """Return the mean difference over the seeds that both sides have.

    The interval is Student's: mean ± t(0.975, n - 1) * sd / sqrt(n).

    Args:
        variant (dict[int, float]): Seed to value.
        base (dict[int, float]): Seed to value.

    Returns:
        Difference: Of variant minus base.
    """
    seeds = sorted(variant.keys() & base.keys())
    mean, sd, n = spread(variant[seed] - base[seed] for seed in seeds)
    half = math.nan
    if n > 1:
        half = stats.t.ppf((1 + LEVEL) / 2, n - 1) * sd / math.sqrt(n)
    return Difference(mean, mean - half, mean + half, n)


def read_headlines(file: str | Path) -> dict[str, float]:
    """Read the headline metric of each task from a ``results.json``.

    They are those of the model that predicts. Groups of classes follow, such
    as ``phantom_c/seg/Dice_pos/organs``.

    Args:
        file (str | Path): As :class:`BenchmarkTable` writes it.

    Returns:
        dict[str, float]: ``phantom_b/loc/mAP_40`` to value; undefined ones
        are skipped.

    Raises:
        UserError: If the file cannot be read.
    """
    content = read_results(file)
    tasks = content['tasks']
    headlines = {}
    for task, values in content['metrics'][content['predict_on']].items():
        headline = find_kind(split_name(task)[1]).headline()
        groups = tasks[task].get('class_groups') or {}
        for metric in [headline, *(f'{headline}/{name}' for name in groups)]:
            if values.get(metric) is not None:
                headlines[f'{task}/{metric}'] = float(values[metric])
    return headlines


class VariantComparison:
    """Variants by metrics, each with one value per seed.

    Args:
        base (str): The variant that the others are compared with.
        note (str): A sentence for the table, such as what a pair shares.
            Defaults to ''.
    """

    def __init__(self, base: str, note: str = '') -> None:
        self.base = base
        self.note = note
        self._values: dict[str, dict[str, dict[int, float]]] = defaultdict(
            lambda: defaultdict(dict)
        )

    def add(
        self, variant: str, seed: int, headlines: Mapping[str, float]
    ) -> None:
        """Add the results of a run, or of one of several of a variant."""
        for metric, value in headlines.items():
            self._values[variant][metric][seed] = value

    @property
    def variants(self) -> list[str]:
        """list[str]: The base first, then in order of addition."""
        others = [name for name in self._values if name != self.base]
        return [self.base, *others]

    @property
    def metrics(self) -> list[str]:
        """list[str]: Mean of each kind, then those of the tasks by kind."""
        names = {m for of in self._values.values() for m in of}
        rows = []
        for kind in all_kinds():
            metric = kind.headline()
            of_kind = sorted(n for n in names if f'/{kind.name}/' in n)
            if sum(name.endswith('/' + metric) for name in of_kind) > 1:
                rows.append(f'mean {metric}')
            rows += of_kind
        return rows

    def values(self, variant: str, metric: str) -> dict[int, float]:
        """Return the value of each seed.

        A mean over tasks exists for the seeds that have all of them.

        Args:
            variant (str): Name of a variant.
            metric (str): One of :attr:`metrics`.

        Returns:
            dict[int, float]: Seed to value.
        """
        found = self._values.get(variant, {})
        if not metric.startswith('mean '):
            return dict(found.get(metric, {}))
        wanted = [
            m
            for m in self.metrics
            if m.endswith('/' + metric.removeprefix('mean '))
        ]
        columns = [found.get(m, {}) for m in wanted]
        seeds = set.intersection(*map(set, columns))
        return {
            seed: float(nan_mean([column[seed] for column in columns]))
            for seed in sorted(seeds)
        }

    def spread(self, variant: str, metric: str) -> Spread:
        """Return mean and deviation of a variant."""
        return spread(self.values(variant, metric).values())

    def difference(self, variant: str, metric: str) -> Difference:
        """Return the paired difference of a variant to the base."""
        return paired_difference(
            self.values(variant, metric), self.values(self.base, metric)
        )

    def markdown(self) -> str:
        """Lay both tables out: the values, and the differences."""
        others = self.variants[1:]
        most = max(
            (self.spread(v, m).n for v in self.variants for m in self.metrics),
            default=0,
        )
        lines = [
            f'Mean ± standard deviation over n = {most} seeds; (n) where a '
            f'run is missing. {self.note}'.rstrip(),
            '',
            markdown_table(
                ['metric', *self.variants],
                [
                    [
                        m,
                        *(
                            _value(self.spread(v, m), most)
                            for v in self.variants
                        ),
                    ]
                    for m in self.metrics
                ],
            ),
        ]
        if others:
            lines += [
                '',
                f'Difference to {self.base}, paired by seed, with its '
                f'{LEVEL:.0%} t-interval; bold where it excludes 0.',
                '',
                markdown_table(
                    ['metric', *others],
                    [
                        [
                            m,
                            *(
                                _change(self.difference(v, m), most)
                                for v in others
                            ),
                        ]
                        for m in self.metrics
                    ],
                ),
            ]
        return '\n'.join(lines) + '\n'

    def to_dict(self) -> dict[str, Any]:
        """Return everything, ready for JSON; undefined values are None."""
        return dict(
            base=self.base,
            note=self.note,
            level=LEVEL,
            variants={
                variant: {
                    metric: dict(
                        seeds=self.values(variant, metric),
                        **_finite(self.spread(variant, metric)),
                        difference=_finite(self.difference(variant, metric)),
                    )
                    for metric in self.metrics
                }
                for variant in self.variants
            },
        )

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``ablation.md`` and ``ablation.json``.

        Args:
            folder (str | Path): Where to.

        Returns:
            list[Path]: The files.
        """
        text = json.dumps(self.to_dict(), indent=2, allow_nan=False) + '\n'
        return [
            write_whole(Path(folder) / 'ablation.md', self.markdown()),
            write_whole(Path(folder) / 'ablation.json', text),
        ]


def _finite(values: Spread | Difference) -> dict[str, float | None]:
    return {
        key: value if math.isfinite(value) else None
        for key, value in values._asdict().items()
    }


def _value(value: Spread, most: int) -> str:
    if not value.n:
        return UNDEFINED
    count = '' if value.n == most else f' ({value.n})'
    return f'{value.mean:.3f} ± {value.sd:.3f}{count}'.replace(
        'nan', UNDEFINED
    )


def _change(value: Difference, most: int) -> str:
    if not value.n:
        return UNDEFINED
    count = '' if value.n == most else f' ({value.n})'
    interval = f'[{value.low:+.3f}, {value.high:+.3f}]'
    text = f'{value.mean:+.3f} {interval}{count}'.replace('+nan', UNDEFINED)
    return f'**{text}**' if value.low > 0 or value.high < 0 else text
