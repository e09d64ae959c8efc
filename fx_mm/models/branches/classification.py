"""Classification: pooled vector and one linear head per dataset."""

from typing import Dict, List, Optional, Sequence, Tuple

import torch
from mmcv.cnn import build_norm_layer
from mmengine.model import ModuleDict
from mmpretrain.models.heads import LinearClsHead
from torch import Tensor, nn

from fx_mm.registry import MODELS
from fx_mm.utils.errors import UserError

from ..losses import MaskedBCELoss, MaskedSoftmaxLoss
from ..parts import FeatureGroups, Part
from .base import Branch, State

POOLS = ('avg', 'max', 'avg+max')
PROJECTORS = ('none', 'linear', 'mlp')


@MODELS.register_module()
class ClassificationBranch(Branch):
    """Image labels from the last backbone stage.

    Norm, pooling over positions, an optional projector and one linear head
    per dataset (Foundation X; with a projector: Ark, section 3). The pooled
    and projected vector is the consistency feature.

    Args:
        in_channels (Sequence[int]): Channels of the backbone stages; the last
            one is used.
        tasks (Sequence[dict]): Tasks with ``dataset``, ``classes``, ``labels``
            (``'multi-label'`` or ``'multi-class'``) and ``pos_weight``.
        norm_cfg (dict, optional): Norm over channels before the pooling; None
            for a backbone that ends in its own norm (ResNet). Defaults to
            ``dict(type='LN')``.
        pool (str): ``'avg'`` as in the paper, ``'max'``, or ``'avg+max'``,
            which puts both vectors side by side: a finding of a few pixels
            vanishes in an average over the image. Defaults to ``'avg'``.
        projector (str): ``'none'``, ``'linear'`` or ``'mlp'`` (two layers,
            ReLU between). Defaults to ``'none'``, as in Foundation X.
        projector_dims (int): Width of the projected vector (Ark: 1376).
            Defaults to 1376.
        multi_class_loss (str): ``'softmax'`` (cross-entropy) or ``'bce'`` (the
            reference code) for tasks with exclusive classes. Defaults to
            ``'softmax'``.
        init_cfg (dict, optional): Initialisation config. Defaults to None.
    """

    kind = 'cls'

    def __init__(
        self,
        in_channels: Sequence[int],
        tasks: Sequence[dict],
        norm_cfg: Optional[dict] = dict(type='LN'),
        pool: str = 'avg',
        projector: str = 'none',
        projector_dims: int = 1376,
        multi_class_loss: str = 'softmax',
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(tasks, init_cfg)
        for key, value, known in (
            ('pool', pool, POOLS),
            ('projector', projector, PROJECTORS),
            ('multi_class_loss', multi_class_loss, ('softmax', 'bce')),
        ):
            if value not in known:
                raise UserError(
                    f'model classification.{key} is {value!r}; use one of '
                    f'{", ".join(known)}.'
                )
        channels = in_channels[-1]
        self.norm = (
            nn.Identity()
            if norm_cfg is None
            else build_norm_layer(norm_cfg, channels)[1]
        )
        self.pool = pool
        dims = 2 * channels if pool == 'avg+max' else channels
        self.projector = self._build_projector(projector, dims, projector_dims)
        if projector != 'none':
            dims = projector_dims
        self.multi_class = {
            task['dataset']: task.get('labels') == 'multi-class'
            for task in tasks
        }
        self.heads = ModuleDict()
        for task in tasks:
            softmax = (
                self.multi_class[task['dataset']]
                and multi_class_loss == 'softmax'
            )
            loss = MaskedSoftmaxLoss if softmax else MaskedBCELoss
            self.heads[task['dataset']] = LinearClsHead(
                len(task['classes']), dims, loss=loss(task.get('pos_weight'))
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

    def encode(self, pyramid: Tuple[Tensor, ...], data_samples: List) -> State:
        """Pool the last stage.

        Args:
            pyramid (tuple[Tensor]): Backbone maps (B, C, H, W).
            data_samples (list): Not used.

        Returns:
            dict: ``pooled``, the (projected) vector of shape (B, D).
        """
        tokens = pyramid[-1].flatten(2)
        if isinstance(self.norm, nn.LayerNorm):
            tokens = self.norm(tokens.transpose(1, 2)).transpose(1, 2)
        else:
            tokens = self.norm(pyramid[-1]).flatten(2)
        tokens = tokens.float()
        pooled = []
        if 'avg' in self.pool:
            pooled.append(tokens.mean(-1))
        if 'max' in self.pool:
            pooled.append(tokens.amax(-1))
        return dict(pooled=self.projector(torch.cat(pooled, dim=1)))

    def consistency(self, state: State) -> FeatureGroups:
        """The pooled vector, raw (reference code, section 3)."""
        return ((state['pooled'],),)

    def forward(
        self, state: State, dataset: str, data_samples: List
    ) -> Tensor:
        """Logits of shape (B, C)."""
        return self.heads[dataset]((state['pooled'],)).float()

    def loss(
        self, state: State, dataset: str, data_samples: List
    ) -> Dict[str, Tensor]:
        """Loss against ``gt_score`` of the samples.

        Args:
            state (dict): Result of :meth:`encode`.
            dataset (str): Dataset of the batch.
            data_samples (list[FXDataSample]): Have ``gt_score`` (C,), NaN
                where unknown.

        Returns:
            dict[str, Tensor]: ``loss_cls``.
        """
        logits = self(state, dataset, data_samples)
        target = torch.stack([sample.gt_score for sample in data_samples])
        loss_module = self.heads[dataset].loss_module
        return dict(loss_cls=loss_module(logits, target.to(logits.device)))

    def predict(self, state: State, dataset: str, data_samples: List) -> List:
        """Write ``pred_score`` (C,), probabilities, into the samples."""
        logits = self(state, dataset, data_samples)
        scores = (
            logits.softmax(-1)
            if self.multi_class[dataset]
            else logits.sigmoid()
        )
        for sample, score in zip(data_samples, scores):
            sample.pred_score = score
        return data_samples

    def parts(self) -> List[Part]:
        """Shared norm and projector, and one head per dataset."""
        parts = []
        for name in ('norm', 'projector'):
            if any(True for _ in getattr(self, name).parameters()):
                parts.append(Part(f'classification/{name}', None, (name,)))
        for dataset in self.datasets:
            task = self.task_name(dataset)
            parts.append(Part(f'{task}/head', task, (f'heads.{dataset}',)))
        return parts
