"""Branches of image-level answers: a pooled vector and own heads."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import ModuleDict, ModuleList
from torch import Tensor, nn

from fx_mm.models.branches.base import Branch, State
from fx_mm.models.layers import build_map_norm
from fx_mm.models.param_groups import FeatureGroups, ParamGroup
from fx_mm.structures import FXDataSample
from fx_mm.tasks import Task
from fx_mm.utils.checks import check_choice

POOLS = ('avg', 'max', 'avg+max')
PROJECTORS = ('none', 'linear', 'mlp')


class BatchNormOfOne(nn.BatchNorm1d):
    """BatchNorm that takes its running statistics for a single vector."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalise vectors of shape (B, C)."""
        if self.training and len(inputs) > 1:
            return super().forward(inputs)
        mean, var = self.running_mean, self.running_var
        return F.batch_norm(inputs, mean, var, eps=self.eps)


class PooledBranch(Branch):
    """Norm, pooling over positions, an optional projector, own heads.

    The pooled and projected vector is the consistency feature. A subclass
    adds ``heads``, a ``ModuleDict`` with one head per dataset over vectors of
    ``dims`` values.

    Args:
        name (str): The branch's name, in messages and groups.
        in_channels (Sequence[int]): Channels of the backbone stages.
        tasks (Sequence[Task]): Tasks.
        strides (Sequence[float]): Strides of the stages in pixels; not used.
            Defaults to ().
        stages (Sequence[int]): Backbone stages that are pooled, their vectors
            put side by side. Defaults to (3,), the last, as in the paper.
            Earlier ones show what boxes and masks taught at finer strides.
        norm_cfg (dict, optional): Norm over channels before the pooling; None
            for a backbone that ends in its own norm (ResNet). Defaults to
            ``dict(type='LN2d')``.
        pool (str): ``'avg'`` as in the paper, ``'max'``, or ``'avg+max'``,
            which puts both vectors side by side: a finding of a few pixels
            vanishes in an average over the image. Defaults to ``'avg'``.
        head_norm (bool): Whether each head standardises its dataset's pooled
            vectors over the batch first (BatchNorm without affine, as linear
            probes do). Vectors of a backbone trained from scratch are nearly
            equal for all images, and a linear layer is slow to magnify what
            differs. Belongs to the head, so hospitals do not mix. Defaults
            to False, as in the paper.
        projector (str): ``'none'``, ``'linear'`` or ``'mlp'`` (two layers,
            ReLU between). Defaults to ``'none'``, as in Foundation X.
        projector_dims (int): Width of the projected vector (Ark: 1376).
            Defaults to 1376.
        init_cfg (dict, optional): Initialisation config. Defaults to None.

    Attributes:
        dims (int): Width of the vectors that the heads get.

    Raises:
        UserError: If a choice is unknown.
    """

    heads: ModuleDict

    def __init__(
        self,
        name: str,
        in_channels: Sequence[int],
        tasks: Sequence[Task],
        strides: Sequence[float] = (),
        stages: Sequence[int] = (3,),
        norm_cfg: dict[str, Any] | None = dict(type='LN2d'),
        pool: str = 'avg',
        head_norm: bool = False,
        projector: str = 'none',
        projector_dims: int = 1376,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(tasks, init_cfg)
        check_choice(f'model {name}.pool', pool, POOLS)
        check_choice(f'model {name}.projector', projector, PROJECTORS)
        self.name = name
        self.stages = tuple(stages)
        widths = [in_channels[stage] for stage in stages]
        self.norms = ModuleList(
            build_map_norm(norm_cfg, width) for width in widths
        )
        self.pool = pool
        dims = sum(widths) * (2 if pool == 'avg+max' else 1)
        self.projector = self._build_projector(projector, dims, projector_dims)
        self.dims = dims if projector == 'none' else projector_dims
        self.head_norms = ModuleDict()
        if head_norm:
            for dataset in self.datasets:
                self.head_norms[dataset] = BatchNormOfOne(
                    self.dims, affine=False
                )

    @staticmethod
    def _build_projector(kind: str, in_dims: int, dims: int) -> nn.Module:
        if kind == 'none':
            return nn.Identity()
        if kind == 'linear':
            return nn.Linear(in_dims, dims)
        return nn.Sequential(
            nn.Linear(in_dims, dims), nn.ReLU(), nn.Linear(dims, dims)
        )

    def encode(
        self, pyramid: tuple[Tensor, ...], data_samples: list[FXDataSample]
    ) -> State:
        """Pool the stages in use.

        Args:
            pyramid (tuple[Tensor]): Backbone maps (B, C, H, W).
            data_samples (list): Not used.

        Returns:
            dict: ``pooled``, the (projected) vector of shape (B, D).
        """
        return self.pool_maps(self.normed_maps(pyramid))

    def normed_maps(self, pyramid: tuple[Tensor, ...]) -> list[Tensor]:
        """Return the maps that are pooled, (B, C, h, w) each."""
        return [
            norm(pyramid[stage])
            for stage, norm in zip(self.stages, self.norms)
        ]

    def pool_maps(self, maps: Sequence[Tensor]) -> State:
        """Pool and project, see :meth:`encode`."""
        pooled = []
        for each in maps:
            tokens = each.flatten(2).float()
            if 'avg' in self.pool:
                pooled.append(tokens.mean(-1))
            if 'max' in self.pool:
                pooled.append(tokens.amax(-1))
        return dict(pooled=self.projector(torch.cat(pooled, dim=1)))

    def consistency(self, state: State) -> FeatureGroups:
        """The pooled vector, raw (reference code, section 3)."""
        return ((state['pooled'],),)

    def head_input(self, state: State, dataset: str) -> Tensor:
        """Return the vectors (B, D) for the head of a dataset."""
        pooled = state['pooled']
        if dataset in self.head_norms:
            pooled = self.head_norms[dataset](pooled.float())
        return pooled

    def param_groups(self) -> list[ParamGroup]:
        """Shared norm and projector, and one head per dataset."""
        groups = []
        for name in ('norms', 'projector'):
            if any(True for _ in getattr(self, name).parameters()):
                group = ParamGroup(f'{self.name}/{name}', None, (name,))
                groups.append(group)
        for dataset, task in self.task_names.items():
            modules = (f'heads.{dataset}', f'head_norms.{dataset}')
            groups.append(ParamGroup(f'{task}/head', task, modules))
        return groups
