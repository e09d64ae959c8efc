"""Clipping and noise of what a site sends, and what they are worth.

A site decides on it for itself, and it is done in the process that trains:
with noise, the weights that leave it are differentially private.
"""

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from fx_mm.federated.exchange import Weights
from fx_mm.utils.checkpoint import find_checkpoint
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import locked, write_whole

LEDGER = 'privacy.json'


class PrivacyLedger:
    """Counts what a site has given away, over all its runs in a folder.

    A folder that was trained in without one has sent its weights as they
    were.

    Args:
        folder (Path): Of what the site keeps.

    Attributes:
        sent (list[float]): Noise of each answer, as of :class:`Privacy`.

    Raises:
        UserError: If the file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / LEDGER
        if self.file.is_file():
            self.sent = self._read()
        else:
            self.sent = [] if find_checkpoint(folder) is None else [0.0]
            self._write()

    def _read(self) -> list[float]:
        try:
            noise = json.loads(self.file.read_text())['noise']
            sent = [float(each) for each in noise]
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f'{self.file} is damaged: {error!r}.') from error
        if not all(0 <= each < math.inf for each in sent):
            raise UserError(f'{self.file} is damaged: {noise}.')
        return sent

    def _write(self) -> None:
        write_whole(self.file, json.dumps({'noise': self.sent}) + '\n')

    def add(self, noise: float) -> None:
        """Note an answer, before it is sent."""
        with locked(self.file.with_suffix('.lock')):
            self.sent = [*self._read(), noise]
            self._write()

    def epsilon(self, delta: float, more: Sequence[float] = ()) -> float:
        """Return the epsilon of all that was sent, by Flower's accountant.

        Args:
            delta (float): Its delta.
            more (list[float]): Noise of answers that might follow.

        Returns:
            float: Infinite if something was sent without noise.

        Raises:
            UserError: If the accountant is not installed.
        """
        noise = [*self.sent, *more]
        if not noise:
            return 0.0
        if not all(noise):
            return math.inf
        try:
            from flwr.serverapp import (
                GaussianPrivacyEvent,
                NeighboringRelation,
                PrivacyConfig,
                RdpAccountant,
                SamplingMethod,
            )

            # its events are of sampled clients; without sampling they are
            # plain Gaussian releases, whose sensitivity is ours
            config = PrivacyConfig(
                target_delta=delta,
                population_size=1,
                neighboring_relation=NeighboringRelation.ADD_OR_REMOVE_ONE,
                sampling_method=SamplingMethod.NO_AMPLIFICATION,
            )
            accountant = RdpAccountant(config)
        except ImportError as error:
            raise UserError(
                f'--noise needs the accountant of flwr[dp] ({error}); see '
                'docs/federated.md.'
            ) from error
        for each, count in Counter(noise).items():
            accountant.compose(GaussianPrivacyEvent(each, 1, 1), count)
        return float(accountant.get_epsilon(delta))


class Privacy(NamedTuple):
    """What a site does to its answers.

    The secret is all that a site has: with an update of norm ``clip`` at
    most, those of any two contents of a site are ``2 * clip`` apart.

    Attributes:
        clip (float): Norm of the whole update above which it is scaled down.
        noise (float): Standard deviation of the noise of every weight, over
            ``2 * clip``; 0 for none.
        delta (float): Of the (epsilon, delta) that is reported.
        max_epsilon (float): No answer that would exceed it.
    """

    clip: float
    noise: float
    delta: float
    max_epsilon: float

    def check_budget(self, ledger: PrivacyLedger) -> None:
        """Refuse one more answer.

        Raises:
            UserError: If it would exceed ``max_epsilon``.
        """
        epsilon = ledger.epsilon(self.delta, [self.noise])
        if epsilon > self.max_epsilon:
            raise UserError(
                f'One more answer would come to epsilon {epsilon:.4g}, above '
                f'--max-epsilon {self.max_epsilon:g} (so far '
                f'{ledger.epsilon(self.delta):.4g}).'
            )

    def protect(self, start: Weights, trained: Weights) -> Weights:
        """Scale an update down and add noise (McMahan et al. 2018).

        In float64 and rounded once, since rounding before the noise would
        make two updates differ by more than their clipped norm.

        Args:
            start (Weights): Those that the server sent.
            trained (Weights): Those of the site.

        Raises:
            UserError: If a weight is not finite, which would not be clipped.
        """
        update = {
            name: value.double() - start[name].double()
            for name, value in trained.items()
        }
        norm = math.sqrt(
            sum(float(each.square().sum()) for each in update.values())
        )
        if not math.isfinite(norm):
            raise UserError('A weight is not finite; nothing was sent.')
        scale = self.clip / max(norm, self.clip)
        # seeded by the system: nobody may draw it again
        noise = np.random.default_rng()
        return {
            name: (
                start[name].double()
                + each * scale
                + torch.from_numpy(
                    noise.normal(0, 2 * self.clip * self.noise, each.shape)
                )
            ).to(trained[name].dtype)
            for name, each in update.items()
        }
