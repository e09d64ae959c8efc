"""One round of a site, as a hook of its training."""

from collections import Counter
from typing import TYPE_CHECKING, Any

import torch
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from torch import Tensor

from fx_mm.config import FederatedPlan
from fx_mm.datasets.samplers.pass_schedule import PassSchedule
from fx_mm.federated.exchange import (
    Update,
    Weights,
    digest,
    put,
    take,
    travelling,
)
from fx_mm.models.foundation_x import FoundationX
from fx_mm.models.mean_teacher import bare_model
from fx_mm.tasks import all_kinds, find_kind, split_name
from fx_mm.utils.errors import UserError

if TYPE_CHECKING:
    from fx_mm.engine.runner import MultiTaskRunner

RECORD = 'federated'
"""Where the meta of a site's checkpoint says how far a round is."""


class RoundHook(Hook):
    """Start a training from the shared weights and stop it a round later.

    The position is that of the round, whether the site took part in those
    before or not: rates are the same at all sites. A checkpoint's meta says
    which round it is in and what that started from, so a round that was cut
    goes on, and one that is over is not trained again.

    Args:
        plan (FederatedPlan): What the config says.
        number (int): Of the round, from 0.
        weights (Weights): What the server sent.

    Attributes:
        done (bool): Whether the round is over.
    """

    priority = 'NORMAL'

    def __init__(
        self, plan: FederatedPlan, number: int, weights: Weights
    ) -> None:
        self.plan = plan
        self.number = number
        self.weights = weights
        self.done = False
        self.start = digest(weights)
        self.images: Counter[str] = Counter()
        self._goes_on = False
        self._groups: dict[str, str] = {}
        self._branches: dict[str, str] = {}

    def after_load_checkpoint(
        self, runner: 'MultiTaskRunner', checkpoint: dict[str, Any]
    ) -> None:
        """See whether the checkpoint is of this round."""
        if runner.resumed:
            record = checkpoint['meta'].get(RECORD) or {}
            self._goes_on = is_of(record, self.number, self.start)
            if self._goes_on:
                self.images.update(record['images'])

    def before_train(self, runner: 'MultiTaskRunner') -> None:
        """Take over the shared weights and go to the round's position.

        Raises:
            UserError: If they are another model's, or a scheduler cannot be
                moved.
        """
        model = bare_model(runner.model)
        student = model.student
        self._groups = travelling(student, self.plan.share_norms)
        self._branches = {
            group.name: group.modules[0].split('.')[0]
            for group in student.param_groups()
            if group.name in self._groups.values()
        }
        if not self._goes_on:
            put(student, self._groups, self.weights)
            if not runner.resumed:
                model.reset_teacher()
            self._move(runner)
        if self.plan.proximal:
            term = ProximalTerm(student, self.weights, self.plan.proximal)
            runner.optim_wrapper.gradient_terms.append(term)

    def _passes(self, schedule: PassSchedule) -> range:
        """Return the numbers of the passes of the round.

        Raises:
            UserError: If this site has no task of its kind.
        """
        per_cycle = schedule.passes_per_cycle
        kind = self.plan.kind_of(self.number)
        if kind is None:
            count = self.plan.cycles_per_round * per_cycle
            return range(self.number * count, (self.number + 1) * count)
        start = self.number // len(self.plan.kinds) * per_cycle
        # a site's tasks are in the order of the kinds
        places = [
            place
            for place, entry in enumerate(schedule.passes)
            if split_name(entry.task)[1] == kind
        ]
        if not places:
            raise UserError(
                f'Round {self.number + 1} is of "{kind}", of which this site '
                'has no task; all need the same "federated" in their configs.'
            )
        return range(start + places[0], start + places[-1] + 1)

    def _move(self, runner: 'MultiTaskRunner') -> None:
        loop = runner.train_loop
        position = self._passes(loop.schedule).start
        if runner.epoch == position:
            return
        loop.go_to(position)
        schedulers: Any = runner.param_schedulers
        for scheduler in schedulers or ():
            if set(scheduler.state_dict()) != {'_global_step'}:
                raise UserError(
                    f'This site goes from pass {runner.epoch} to {position}, '
                    f'where {type(scheduler).__name__} cannot follow; use '
                    'CycleCosineLR, a function of the position.'
                )
            scheduler.load_state_dict(dict(_global_step=position))

    def after_train_iter(
        self,
        runner: 'MultiTaskRunner',
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Count the images by what learned of them."""
        samples = (data_batch or {})['data_samples']
        branch = find_kind(split_name(samples[0].task)[1]).branch
        count = len(samples) * get_world_size()
        student = bare_model(runner.model).student
        branches = {kind.branch for kind in all_kinds()}
        for group, part in self._branches.items():
            learns = group not in student.locked
            if learns and (part == branch or part not in branches):
                self.images[group] += count

    def after_train_epoch(self, runner: 'MultiTaskRunner') -> None:
        """Stop at the end of the round."""
        if runner.epoch + 1 == self._passes(runner.train_loop.schedule).stop:
            self.done = runner.train_loop.stop_training = True

    def before_save_checkpoint(
        self, runner: 'MultiTaskRunner', checkpoint: dict[str, Any]
    ) -> None:
        """Write down how far the round is."""
        checkpoint['meta'][RECORD] = dict(
            round=self.number,
            start=self.start,
            images=dict(self.images),
            done=self.done,
        )

    def update(self, runner: 'MultiTaskRunner') -> Update:
        """Return what the site answers."""
        student = bare_model(runner.model).student
        return Update(take(student, self._groups), dict(self.images))


class ProximalTerm:
    """The gradient of ``mu / 2 * ||w - w_round||^2`` (FedProx).

    Of the shared parameters that learn in a step; the rest has no gradient.

    Args:
        student (FoundationX): Learns.
        weights (Weights): Those that the round started from.
        mu (float): Its weight.
    """

    def __init__(
        self, student: FoundationX, weights: Weights, mu: float
    ) -> None:
        self.mu = mu
        self._pairs: list[tuple[Tensor, Tensor]] = [
            (parameter, weights[name].to(parameter.device))
            for name, parameter in student.named_parameters()
            if name in weights
        ]

    @torch.no_grad()
    def __call__(self) -> None:
        """Add it to the gradients."""
        for parameter, start in self._pairs:
            if parameter.grad is not None:
                parameter.grad.add_(parameter - start, alpha=self.mu)


def is_of(record: dict[str, Any], number: int, start: str) -> bool:
    """Return whether a checkpoint's record is of a round and its start."""
    return record.get('round') == number and record.get('start') == start
