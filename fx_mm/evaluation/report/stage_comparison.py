"""Continual trainings compared over seeds, pair by pair."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fx_mm.evaluation.forgetting import headline
from fx_mm.evaluation.report.variant_comparison import (
    Difference,
    paired_difference,
    read_headlines,
)
from fx_mm.evaluation.stage_scores import DEFINITIONS, FILE, StageScores
from fx_mm.evaluation.statistics.bootstrap import LEVEL
from fx_mm.evaluation.statistics.nan_mean import nan_mean
from fx_mm.utils.files import write_whole
from fx_mm.utils.text_table import markdown_table

FORWARD = (
    'learned minus the score of a training of that stage alone, from the '
    'same initial weights of the backbone, mean over the tasks after the '
    'first stage; above 0: what was learned before helps'
)
REMOVED = "1 - forgetting / the base's forgetting, of each pair"
MEASURES = ('average', 'backward_transfer', 'forgetting', 'forward_transfer')


class StageComparison:
    """Measures of continual trainings, one value per seed.

    Args:
        base (str): What the others are compared with.

    Attributes:
        values (dict): Variant to measure to seed to value. The measures are
            those of :class:`StageScores`, ``forward_transfer``, ``removed``,
            and each task's ``<task> learned`` and ``<task> final``.
    """

    def __init__(self, base: str) -> None:
        self.base = base
        self.tasks: list[str] = []
        self.values: dict[str, dict[str, dict[int, float]]] = {}

    @classmethod
    def read(
        cls, folder: str | Path, base: str, joint: str, alone: str
    ) -> 'StageComparison':
        """Read what ``ablation.py`` has run.

        Args:
            folder (str | Path): With ``CONFIG/seed_N/``.
            base (str): Config that the others are compared with.
            joint (str): Config that trains all tasks at once.
            alone (str): What configs of a later stage by itself are called,
                up to their first underscore.
        """
        found = cls(base)
        lone: dict[int, dict[str, float]] = {}
        for file in sorted(Path(folder).glob('*/seed_*/results.json')):
            name, seed = file.parts[-3], int(file.parts[-2][len('seed_') :])
            if name.split('_')[0] == alone:
                lone.setdefault(seed, {}).update(read_headlines(file))
        runs = sorted(Path(folder).glob(f'*/seed_*/{FILE}'))
        for file in runs:
            name, seed = file.parts[-3], int(file.parts[-2][len('seed_') :])
            content = json.loads(file.read_text(encoding='utf-8'))
            if (file.parent / 'results.json').is_file():
                scores = StageScores(content['stages'], content['rows'])
                found.add(name, seed, scores, lone.get(seed, {}))
        for file in sorted(Path(folder, joint).glob('seed_*/results.json')):
            seed = int(file.parts[-2][len('seed_') :])
            found.add_joint(joint, seed, read_headlines(file))
        found._remove_shares()
        return found

    @property
    def variants(self) -> list[str]:
        """list[str]: The base first; none without it."""
        if self.base not in self.values:
            return []
        return [self.base, *(v for v in self.values if v != self.base)]

    def add(
        self,
        variant: str,
        seed: int,
        scores: StageScores,
        alone: Mapping[str, float],
    ) -> None:
        """Add a continual run.

        Args:
            variant (str): Its config's name.
            seed (int): Its seed.
            scores (StageScores): All of its stages.
            alone (Mapping): Headline metric to its value in a training of
                the stage alone.
        """
        self.tasks = scores.tasks
        forward = []
        for task in scores.tasks:
            of_task = scores.of_task(task)
            for key in ('learned', 'final'):
                self._set(
                    variant, f'{task} {key}', seed, of_task._asdict()[key]
                )
            if scores.arrival(task):
                own = alone.get(headline(task), math.nan)
                forward.append(of_task.learned - own)
        for key, value in scores.measures().items():
            self._set(variant, key, seed, value)
        missing = any(map(math.isnan, forward))
        value = math.nan if missing else float(nan_mean(forward))
        self._set(variant, 'forward_transfer', seed, value)

    def add_joint(
        self, variant: str, seed: int, headlines: Mapping[str, float]
    ) -> None:
        """Add a run that trained all tasks at once: final scores alone."""
        finals = [
            headlines.get(headline(task), math.nan) for task in self.tasks
        ]
        for task, value in zip(self.tasks, finals):
            self._set(variant, f'{task} final', seed, value)
        if not any(map(math.isnan, finals)):
            self._set(variant, 'average', seed, float(nan_mean(finals)))

    def _set(self, variant: str, key: str, seed: int, value: float) -> None:
        if not math.isnan(value):
            of_variant = self.values.setdefault(variant, {})
            of_variant.setdefault(key, {})[seed] = value

    def _remove_shares(self) -> None:
        base = self.values.get(self.base, {}).get('forgetting', {})
        for variant, measures in list(self.values.items()):
            for seed, value in measures.get('forgetting', {}).items():
                if variant != self.base and base.get(seed):
                    share = 1 - value / base[seed]
                    self._set(variant, 'removed', seed, share)

    def mean(self, variant: str, measure: str) -> Difference:
        """Return the mean over seeds with its t-interval."""
        values = self.values.get(variant, {}).get(measure, {})
        return paired_difference(values, dict.fromkeys(values, 0.0))

    def difference(self, variant: str, measure: str) -> Difference:
        """Return the paired difference to the base with its t-interval."""
        return paired_difference(
            self.values.get(variant, {}).get(measure, {}),
            self.values.get(self.base, {}).get(measure, {}),
        )

    def markdown(self) -> str:
        """Lay out the measures, their differences and the tasks' scores."""
        names = [m.replace('_', ' ') for m in MEASURES]
        measures = (*MEASURES, 'removed')
        most = max(
            (self.mean(v, 'average').n for v in self.variants), default=0
        )
        tables = [
            f'Mean over n = {most} seeds [{LEVEL:.0%} t-interval]; (n) where '
            'there are fewer.',
            markdown_table(
                ['', *names, 'forgetting removed'],
                [
                    [v, *(_cell(self.mean(v, m), most) for m in measures)]
                    for v in self.variants
                ],
            ),
            f'Difference to {self.base}, paired by seed [{LEVEL:.0%} '
            't-interval]; bold where it excludes 0.',
            markdown_table(
                ['', *names],
                [
                    [
                        v,
                        *(
                            _cell(self.difference(v, m), most, True)
                            for m in MEASURES
                        ),
                    ]
                    for v in self.variants[1:]
                ],
            ),
            'Score at the end of the stage that a task arrived in → at the '
            'end of the last stage, mean over seeds.',
            markdown_table(
                ['', *map(headline, self.tasks)],
                [
                    [v, *(self._path(v, t) for t in self.tasks)]
                    for v in self.variants
                ],
            ),
        ]
        return '\n\n'.join(tables) + '\n'

    def _path(self, variant: str, task: str) -> str:
        learned, final = (
            self.mean(variant, f'{task} {key}').mean
            for key in ('learned', 'final')
        )
        if math.isnan(final):
            return ''
        before = '' if math.isnan(learned) else f'{learned:.3f} → '
        return f'{before}{final:.3f}'

    def to_dict(self) -> dict[str, Any]:
        """Return everything, ready for JSON; undefined values are None."""
        return dict(
            base=self.base,
            level=LEVEL,
            definitions=dict(
                DEFINITIONS, forward_transfer=FORWARD, removed=REMOVED
            ),
            variants={
                variant: {
                    measure: dict(
                        seeds=seeds,
                        **_plain(self.mean(variant, measure)),
                        difference=_plain(self.difference(variant, measure)),
                    )
                    for measure, seeds in self.values[variant].items()
                }
                for variant in self.variants
            },
        )

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``continual_table.md`` and ``continual_table.json``."""
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False) + '\n'
        return [
            write_whole(Path(folder) / 'continual_table.md', self.markdown()),
            write_whole(Path(folder) / 'continual_table.json', text),
        ]


def _plain(values: Difference) -> dict[str, float | None]:
    return {
        key: value if math.isfinite(value) else None
        for key, value in values._asdict().items()
    }


def _cell(value: Difference, most: int, signed: bool = False) -> str:
    if not value.n:
        return ''
    sign = '+' if signed else ''
    text = f'{value.mean:{sign}.3f}'
    if not math.isnan(value.low):
        text += f' [{value.low:{sign}.3f}, {value.high:{sign}.3f}]'
    if signed and (value.low > 0 or value.high < 0):
        text = f'**{text}**'
    return text if value.n == most else f'{text} ({value.n})'
