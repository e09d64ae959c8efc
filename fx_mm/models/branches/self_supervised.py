"""What the ways to learn from images alone have in common."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from fx_mm.models.branches.base import Branch, State
from fx_mm.models.param_groups import FeatureGroups
from fx_mm.structures import FXDataSample
from fx_mm.utils.errors import UserError


class SelfSupervisedBranch(Branch):
    """A branch of images without annotation, on the last maps."""

    def encode(
        self, pyramid: tuple[Tensor, ...], data_samples: list[FXDataSample]
    ) -> State:
        """Take the last maps.

        Args:
            pyramid (tuple[Tensor]): Backbone maps (B, C, H, W).
            data_samples (list): Not used.

        Returns:
            dict: ``maps`` (B, C, h, w), and ``pooled`` (B, C): normalised
            over channels and averaged over positions, as for classification.
        """
        maps = pyramid[-1]
        tokens = maps.flatten(2).transpose(1, 2).float()
        pooled = F.layer_norm(tokens, tokens.shape[-1:]).mean(1)
        return dict(maps=maps, pooled=pooled)

    def consistency(self, state: State) -> FeatureGroups:
        """The pooled vector."""
        return ((state['pooled'],),)

    def graph(
        self, state: State, dataset: str, data_samples: list[Any]
    ) -> tuple[Tensor, ...]:
        """Refuse: there is no answer that an exported graph could give.

        Raises:
            UserError: Always.
        """
        raise UserError(
            f'task {self.task_names[dataset]} learns from images without '
            'annotation and predicts nothing of an image; export other '
            'tasks, see --tasks.'
        )
