"""A config whose datasets belong to sites that share no image."""

import copy
import hashlib
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from fx_mm.config.some_tasks import keep_cycle, keep_evaluation
from fx_mm.tasks import TaskTable, split_name
from fx_mm.utils.checks import as_list, check_choice, check_number, suggest
from fx_mm.utils.errors import UserError
from fx_mm.utils.value_types import check_entry

KEYS: dict[str, Any] = dict(
    sites=dict[str, Sequence[str] | str],
    unit=str,
    cycles_per_round=int,
    fraction=float,
    share_norms=bool,
    proximal=float,
    server_optimizer=dict | None,
    server_teacher=float | None,
)
REFUSED_HOOKS = ('EarlyStopping', 'EMAHook')
"""Part of the names of hooks that a site cannot have."""
UNITS = ('cycle', 'kind')


class FederatedPlan:
    """What a config's ``federated`` says: whose the datasets are.

    Args:
        cfg (Config): The experiment's config, not expanded.

    Attributes:
        sites (dict[str, list[str]]): Site to the names of its tasks, in the
            order of the cycle.
        unit (str): What a round is: ``cycle``, or ``kind``, the passes of
            one kind of task at all sites that have it (FEDMEKI, Wang et al.
            2024).
        kinds (list[str]): Of the tasks, in the order of the cycle.
        cycles_per_round (int): Cycles that a site trains between exchanges;
            of no meaning with ``kind``.
        rounds (int): Exchanges of the whole run.
        fraction (float): Share of the sites that take part in a round.
        share_norms (bool): Whether norms travel; if not, each site keeps its
            own (FedBN, Li et al. 2021).
        proximal (float): The mu of FedProx (Li et al. 2020).
        server_optimizer (dict, optional): Config of a torch optimizer whose
            gradient is the shared weights minus their average (Reddi et al.
            2021); None: the average itself.
        server_teacher (float, optional): Decay of a moving average of the
            average.

    Raises:
        UserError: If a key or value of ``federated`` makes no sense.
    """

    def __init__(self, cfg: Config) -> None:
        self.cfg = cfg
        section = cfg.get('federated')
        if not section:
            raise UserError(
                'The config has no "federated"; say whose the datasets are: '
                'federated = dict(sites=dict(hospital_a=["nih14"], ...)).'
            )
        check_entry('federated', section, KEYS)
        if cfg.get('continual') is not None:
            raise UserError(
                'federated does not go with continual; leave one out.'
            )
        self.unit = section.get('unit', 'cycle')
        check_choice('federated.unit', self.unit, UNITS)
        table = TaskTable.from_cfg(cfg)
        self.kinds = list(dict.fromkeys(task.kind.name for task in table))
        self.sites = self._read_sites(section.get('sites'), table)
        if self.unit == 'kind':
            self._check_kinds(section)
        self.cycles_per_round = section.get('cycles_per_round', 1)
        check_number(
            'federated.cycles_per_round', self.cycles_per_round, 1, whole=True
        )
        cycles = (cfg.get('train_cfg') or {}).get('max_cycles', 0)
        check_number('train_cfg.max_cycles', cycles, 1, whole=True)
        self.rounds, rest = divmod(int(cycles), self.cycles_per_round)
        if rest:
            raise UserError(
                f'train_cfg.max_cycles is {cycles}, which is no multiple of '
                f'federated.cycles_per_round={self.cycles_per_round}.'
            )
        if self.unit == 'kind':
            self.rounds *= len(self.kinds)
        self.seed = (cfg.get('randomness') or {}).get('seed') or 0
        self.fraction = section.get('fraction', 1.0)
        check_number('federated.fraction', self.fraction, 0, 1)
        drawn = {
            (site, self.kind_of(number))
            for number in range(self.rounds)
            for site in self.chosen(number)
        }
        never = [
            f'{site} ({kind})' if kind else site
            for site, tasks in self.sites.items()
            for kind in self._kinds_of(tasks)
            if (site, kind) not in drawn
        ]
        if never:
            raise UserError(
                f'federated.fraction={self.fraction} draws '
                f'{", ".join(sorted(never))} in none of the {self.rounds} '
                'rounds; raise it, or train more rounds.'
            )
        self.share_norms = section.get('share_norms', True)
        self.proximal = section.get('proximal', 0.0)
        check_number('federated.proximal', self.proximal, 0)
        self.server_optimizer = section.get('server_optimizer')
        if self.server_optimizer and 'type' not in self.server_optimizer:
            raise UserError(
                'federated.server_optimizer has no "type"; write '
                'dict(type="SGD", lr=1.0, momentum=0.9).'
            )
        self.server_teacher = section.get('server_teacher')
        if self.server_teacher is not None:
            check_number('federated.server_teacher', self.server_teacher, 0, 1)
        self._check_hooks()

    def _read_sites(
        self, given: Mapping[str, Any] | None, table: TaskTable
    ) -> dict[str, list[str]]:
        if not given:
            raise UserError(
                'federated.sites is empty; name the datasets of each site, '
                'such as dict(hospital_a=["nih14"], hospital_b=["rsna"]).'
            )
        owners: dict[str, str] = {}
        active = {task.dataset for task in table}
        for site, datasets in given.items():
            for name in as_list(datasets) or ():
                if name not in active:
                    raise UserError(
                        f'federated.sites.{site} has "{name}", which is no '
                        f'dataset of an active task; {suggest(name, active)}.'
                    )
                if name in owners:
                    raise UserError(
                        f'federated.sites has "{name}" at {owners[name]} and '
                        f'at {site}; a dataset is at one site, and equal '
                        'ones have different names.'
                    )
                owners[name] = site
        sites: dict[str, list[str]] = {site: [] for site in given}
        for task in table:
            if task.dataset not in owners:
                raise UserError(
                    f'federated.sites has no site for "{task.dataset}"; name '
                    'one, or leave its tasks out of "tasks".'
                )
            sites[owners[task.dataset]].append(task.name)
        for site, tasks in sites.items():
            if not tasks:
                raise UserError(f'federated.sites.{site} has no dataset.')
            if self.unit == 'kind':
                tasks.sort(key=lambda name: self.kinds.index(_kind(name)))
        return sites

    def _check_kinds(self, section: Mapping[str, Any]) -> None:
        if 'cycles_per_round' in section:
            raise UserError(
                'federated has cycles_per_round and unit="kind", whose rounds '
                'are parts of a cycle; leave one out.'
            )
        cycle = self.cfg.get('cycle') or {}
        order, lock = cycle.get('order', 'cyclic'), cycle.get('lock', 'paper')
        if order != 'cyclic' or not isinstance(lock, str):
            key = f'order={order!r}' if order != 'cyclic' else f'lock={lock!r}'
            raise UserError(
                'federated.unit="kind" walks the kinds one after the other, '
                f'which cycle.{key} does not; remove one of them.'
            )

    def _check_hooks(self) -> None:
        hooks = [
            *(self.cfg.get('custom_hooks') or ()),
            *(self.cfg.get('default_hooks') or {}).values(),
        ]
        for hook in filter(None, hooks):
            for part in REFUSED_HOOKS:
                if part in str(hook.get('type')):
                    raise UserError(
                        f'federated does not go with {hook["type"]}: rounds '
                        'have one length at all sites; remove it.'
                    )

    @property
    def work_dir(self) -> Path:
        """Path: Of the whole run."""
        return Path(self.cfg.work_dir)

    def check_site(self, name: str) -> None:
        """Refuse a site that the config does not name.

        Raises:
            UserError: Names those that there are.
        """
        check_choice('the site', name, list(self.sites))

    @property
    def round_of(self) -> str:
        """str: What a site trains between exchanges, for messages."""
        if self.unit == 'kind':
            return 'one kind of task'
        return f'{self.cycles_per_round} cycle(s)'

    def kind_of(self, number: int) -> str | None:
        """Return the kind of task of a round; None if it is of all.

        Args:
            number (int): Of the round, from 0.
        """
        if self.unit == 'cycle':
            return None
        return self.kinds[number % len(self.kinds)]

    def _kinds_of(self, tasks: Sequence[str]) -> Sequence[str | None]:
        """Return what rounds some tasks are trained in."""
        if self.unit == 'cycle':
            return [None]
        return list(dict.fromkeys(map(_kind, tasks)))

    def chosen(self, number: int) -> list[str]:
        """Return the sites of a round: the same whenever it is asked.

        Args:
            number (int): Of the round, from 0.
        """
        names = [
            site
            for site, tasks in self.sites.items()
            if self.kind_of(number) in self._kinds_of(tasks)
        ]
        count = max(round(self.fraction * len(names)), 1)
        if count == len(names):
            return names
        key = f'{self.seed}/{number}'.encode()
        draw = random.Random(hashlib.sha256(key).digest())
        return sorted(draw.sample(names, count), key=names.index)

    def site_config(self, name: str) -> Config:
        """Return the config of a site: an ordinary training on its tasks.

        Its checkpoints are those of the ends of rounds, and, with
        ``checkpoint.unit='iter'``, those in between. It has no closing
        report: the weights of a round's end are not the run's result.

        Args:
            name (str): Of the site.
        """
        self.check_site(name)
        cfg = copy.deepcopy(self.cfg)
        cfg.pop('federated')
        tasks = self.sites[name]
        cfg.tasks = tasks
        cfg.work_dir = str(self.work_dir / name)
        base = cfg.get('experiment_name') or Path(cfg.filename or 'run').stem
        cfg.experiment_name = f'{base}_{name}'
        keep_cycle(cfg, tasks)
        for stage in ('val_cfg', 'test_cfg'):
            keep_evaluation(cfg, stage, tasks)
        hook = cfg.default_hooks.checkpoint
        hook.save_last = False
        if hook.get('unit', 'cycle') != 'iter':
            hook.interval = -1
        return cfg


def _kind(task: str) -> str:
    return split_name(task)[1]
