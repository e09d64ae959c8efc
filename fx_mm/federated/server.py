"""The server: it has the shared weights and no image."""

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import OPTIMIZERS
from mmengine.runner import load_checkpoint, set_random_seed

from fx_mm.config import FederatedPlan
from fx_mm.engine.resume import check_weights
from fx_mm.federated.averaging import average
from fx_mm.federated.exchange import (
    Update,
    Weights,
    check_fit,
    take,
    travelling,
)
from fx_mm.federated.files import save_weights
from fx_mm.models.loading import build_model
from fx_mm.models.mean_teacher import MeanTeacher
from fx_mm.utils.build_errors import build_errors
from fx_mm.utils.checkpoint import load_file, load_source, register_loaders
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import write_whole
from fx_mm.utils.log import log

FILES = re.compile(r'round_(\d+)\.pth')
KEPT = 2


class FederatedServer:
    """Averages what the sites send, round by round.

    After each round it writes ``round_0003.pth``, from which the next one
    starts, and ``rounds.json``, who took part. A server that is started again
    goes on behind the newest of them.

    Args:
        cfg (Config): The experiment's config; it is not changed.
        resume (bool): Go on in ``work_dir``. Defaults to False.

    Attributes:
        plan (FederatedPlan): What the config says.
        number (int): Rounds that are over: that of the next one.
        weights (Weights): The shared ones.
        teacher (Weights, optional): Their moving average.
        groups (dict[str, str]): Name of a shared weight to its group.
        history (list[dict]): One row per round.

    Raises:
        UserError: If the config cannot be used, or ``work_dir`` has rounds
            and ``resume`` is not set.
    """

    def __init__(self, cfg: Config, resume: bool = False) -> None:
        self.plan = FederatedPlan(cfg)
        found = _round_files(self.plan.work_dir)
        if found and not resume:
            raise UserError(
                f'{self.plan.work_dir} has {max(found)} finished rounds; go '
                'on behind them with --resume, or choose another --work-dir.'
            )
        model = initial_model(cfg, self.plan.seed)
        student = model.student
        self.groups = travelling(student, self.plan.share_norms)
        self.weights = take(student, self.groups)
        self.teacher: Weights | None = None
        if self.plan.server_teacher is not None:
            self.teacher = dict(self.weights)
        self.history: list[dict[str, Any]] = []
        self.number = 0
        self._parameters = {
            name: torch.nn.Parameter(self.weights[name].clone())
            for name, _ in student.named_parameters()
            if name in self.weights
        }
        self._optimizer: Any = None
        if self.plan.server_optimizer is not None:
            settings = dict(self.plan.server_optimizer)
            with build_errors():
                self._optimizer = OPTIMIZERS.build(
                    dict(settings, params=list(self._parameters.values()))
                )
        if found:
            self._load(found[max(found)])
        else:
            self._save()

    @property
    def done(self) -> bool:
        """bool: Whether all rounds are over."""
        return self.number >= self.plan.rounds

    def check(self, site: str, update: Update) -> None:
        """Refuse what does not fit, before it spoils the average.

        Raises:
            UserError: Says what the site sent.
        """
        self.plan.check_site(site)
        check_fit(update.weights, self.weights, site, whole=False)
        known = set(self.groups.values())
        for group, count in update.images.items():
            if group not in known or count < 0:
                raise UserError(
                    f'{site} sent {count} images of "{group}", which is no '
                    'group that travels.'
                )

    def close_round(
        self, updates: Mapping[str, Update], left_out: Mapping[str, str]
    ) -> None:
        """Average a round, and save.

        Args:
            updates (Mapping): Site to what it sent; checked.
            left_out (Mapping): Site to why it is not among them.

        Raises:
            UserError: If there is none, also of the other kinds of a cycle
                where rounds are of a kind, or the file cannot be written.
        """
        for reason in left_out.values():
            log(f'Round {self.number + 1}: {reason}', logging.WARNING)
        if not updates and not self._others_answer():
            raise UserError(
                f'Round {self.number + 1} has no result of any site: '
                + ' '.join(left_out.values())
            )
        # in one order, whoever answers first
        updates = {s: updates[s] for s in self.plan.sites if s in updates}
        mean = average(self.weights, self.groups, list(updates.values()))
        self.weights = self._step(mean)
        if self.teacher is not None:
            decay = self.plan.server_teacher
            for name, value in self.weights.items():
                if name in self._parameters:
                    value = torch.lerp(value, self.teacher[name], decay)
                self.teacher[name] = value
        self.number += 1
        row = dict(
            round=self.number,
            images={site: update.images for site, update in updates.items()},
            left_out=dict(left_out),
        )
        self.history.append(row)
        self._save()
        sites = ', '.join(f'{s} {u.total}' for s, u in updates.items())
        log(f'Round {self.number} of {self.plan.rounds}: images {sites}')

    def _others_answer(self) -> bool:
        """Return whether rounds of other kinds had results, or will."""
        if self.plan.unit == 'cycle':
            return False
        others = len(self.plan.kinds) - 1
        recent = self.history[len(self.history) - others :]
        return len(recent) < others or any(row['images'] for row in recent)

    @torch.no_grad()
    def _step(self, mean: Weights) -> Weights:
        """Go to the average, or towards it by the optimizer."""
        if self._optimizer is None:
            return mean
        for name, parameter in self._parameters.items():
            taught = mean[name] is not self.weights[name]
            parameter.copy_(self.weights[name])
            parameter.grad = parameter - mean[name] if taught else None
        self._optimizer.step()
        return mean | {
            name: parameter.detach().clone()
            for name, parameter in self._parameters.items()
        }

    # --------------------------------------------------------------- files

    def _save(self) -> None:
        folder = self.plan.work_dir
        file = folder / f'round_{self.number:04d}.pth'
        states: dict[str, Any] = {}
        if self._optimizer is not None:
            states = {
                name: dict(self._optimizer.state[parameter])
                for name, parameter in self._parameters.items()
                if parameter in self._optimizer.state
            }
        content = dict(
            round=self.number,
            of=self.plan.round_of,
            weights=self.weights,
            teacher=self.teacher,
            optimizer=states,
            history=self.history,
        )
        save_weights(content, file)
        write_whole(
            folder / 'rounds.json', json.dumps(self.history, indent=1) + '\n'
        )
        for number, old in _round_files(folder).items():
            if number <= self.number - KEPT:
                old.unlink()

    def _load(self, file: Path) -> None:
        """Go on behind a round; what is new in the model starts as it is."""
        content = load_file(str(file))
        of = content.get('of', self.plan.round_of)
        if of != self.plan.round_of:
            raise UserError(
                f'{file} is of rounds of {of}, and the config has rounds of '
                f'{self.plan.round_of}; set federated.unit and '
                'cycles_per_round as they were, or choose another --work-dir.'
            )
        self.number = content['round']
        self.history = content['history']
        stored = {
            n: v for n, v in content['weights'].items() if n in self.groups
        }
        check_fit(stored, self.weights, str(file), whole=False)
        self.weights |= stored
        if self.teacher is not None:
            self.teacher = self.weights | (content['teacher'] or {})
        for name, state in content['optimizer'].items():
            if self._optimizer is not None and name in self._parameters:
                self._optimizer.state[self._parameters[name]] = state


def initial_model(cfg: Config, seed: int) -> MeanTeacher:
    """Build the model of all sites, as a training would start with it.

    Args:
        cfg (Config): The experiment's config.
        seed (int): Of the weights that ``load_from`` and the backbone's
            ``init_cfg`` do not give.

    Raises:
        UserError: If the config or the weights cannot be used.
    """
    register_loaders()
    set_random_seed(seed)
    model = build_model(cfg)
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel('ERROR')  # mmengine reports every weight otherwise
    model.init_weights()
    logger.setLevel(level)
    source = cfg.get('load_from')
    if source:
        check_weights(dict(load_source(source)['state_dict']), model)
        load_checkpoint(model, source, 'cpu', strict=False)
    return model


def read_round(path: str) -> dict[str, Any]:
    """Read a file that the server wrote.

    Raises:
        UserError: If it is something else.
    """
    content = load_file(path)
    if 'round' not in content or 'weights' not in content:
        raise UserError(
            f'{path} is not of the server of a federated training; give '
            'round_N.pth of its work directory.'
        )
    return content


def newest_round(folder: Path) -> Path:
    """Return the newest file of a server.

    Raises:
        UserError: If there is none.
    """
    found = _round_files(folder)
    if not found:
        raise UserError(f'{folder} has no round_N.pth of a server.')
    return found[max(found)]


def _round_files(folder: Path) -> dict[int, Path]:
    return {
        int(match[1]): file
        for file in folder.glob('round_*.pth')
        if (match := FILES.fullmatch(file.name))
    }
