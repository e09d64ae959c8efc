"""Clipping and noise of what a site sends, by Flower's own wrapper.

A site decides on it for itself: with noise, the weights that it sends are
differentially private, whatever server and other sites do.
"""

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from flwr.app import Context, Message
from flwr.clientapp.mod import LocalDpMod
from flwr.serverapp import (
    GaussianPrivacyEvent,
    NeighboringRelation,
    PrivacyConfig,
    RdpAccountant,
    SamplingMethod,
)

from fx_mm.utils.files import write_whole

LEDGER = 'privacy.json'
"""What a site has sent so far: the noise of each answer."""


class PrivacyLedger:
    """Counts what a site has given away, over all its runs.

    Args:
        folder (Path): Of what the site keeps.

    Attributes:
        sent (list[float]): Noise of each answer, over ``2 * clip``.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / LEDGER
        self.sent: list[float] = []
        if self.file.is_file():
            self.sent = json.loads(self.file.read_text())['noise']

    def epsilon(self, delta: float, more: Sequence[float] = ()) -> float:
        """Return the epsilon of all that was sent, by Flower's accountant.

        Args:
            delta (float): Its delta.
            more (list[float]): Noise of answers that might follow.

        Returns:
            float: Infinite if something was sent without noise.
        """
        noise = [*self.sent, *more]
        if not noise:
            return 0.0
        if not all(noise):
            return math.inf
        # its events are of sampled clients; without sampling they are plain
        # Gaussian releases, whose sensitivity is ours
        config = PrivacyConfig(
            target_delta=delta,
            population_size=1,
            neighboring_relation=NeighboringRelation.ADD_OR_REMOVE_ONE,
            sampling_method=SamplingMethod.NO_AMPLIFICATION,
        )
        accountant = RdpAccountant(config)
        for each, count in Counter(noise).items():
            accountant.compose(GaussianPrivacyEvent(each, 1, 1), count)
        return float(accountant.get_epsilon(delta))

    def add(self, noise: float) -> None:
        """Note an answer, before it is sent."""
        self.sent.append(noise)
        write_whole(self.file, json.dumps({'noise': self.sent}) + '\n')


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

    def apply(
        self, message: Message, context: Context, answer: Message
    ) -> Message:
        """Clip the update of an answer and add noise.

        Args:
            message (Message): Has the weights that the site started from.
            context (Context): Flower's.
            answer (Message): Has the same weights after training.
        """
        # Flower takes the epsilon of one answer, and from it the noise
        # (Dwork and Roth 2014, theorem A.1)
        ratio = math.sqrt(2 * math.log(1.25 / self.delta))
        epsilon = ratio / self.noise if self.noise else math.inf
        mod = LocalDpMod(self.clip, 2 * self.clip, epsilon, self.delta)
        return mod(message, context, lambda *_: answer)

    def is_spent(self, ledger: PrivacyLedger) -> bool:
        """Return whether one more answer would exceed ``max_epsilon``."""
        epsilon = ledger.epsilon(self.delta, [self.noise])
        return epsilon > self.max_epsilon
