"""Self-distillation: the student's views agree with the teacher's."""

import itertools
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from mmengine.model import BaseModule, ModuleDict
from torch import Tensor, nn

from fx_mm.models.branches.base import Encode, Extract, State
from fx_mm.models.branches.self_supervised import SelfSupervisedBranch
from fx_mm.models.layers.random_views import Views, cut_views, draw_views
from fx_mm.models.losses.self_distillation import view_cross_entropy
from fx_mm.models.param_groups import FeatureGroups, ParamGroup
from fx_mm.registry import MODELS
from fx_mm.structures import FXDataSample
from fx_mm.tasks import Task
from fx_mm.utils.checks import check_number
from fx_mm.utils.errors import UserError

GLOBAL = 2
"""Large views of each image, which the teacher sees too."""


class PrototypeHead(BaseModule):
    """Cosine of vectors with learned prototypes, and the teacher's centre.

    Args:
        dims (int): Width of the vectors.
        prototypes (int): Their number K.
        init_cfg (dict, optional): Initialisation config. Defaults to a
            truncated normal.
    """

    center: Tensor

    def __init__(
        self,
        dims: int,
        prototypes: int,
        init_cfg: dict[str, Any] | None = dict(
            type='TruncNormal', layer='Linear', std=0.02
        ),
    ) -> None:
        super().__init__(init_cfg)
        self.fc = nn.Linear(dims, prototypes, bias=False)
        self.register_buffer('center', torch.zeros(prototypes))

    def forward(self, vectors: Tensor) -> Tensor:
        """Cosines (N, K) of vectors (N, D)."""
        weight = F.normalize(self.fc.weight, dim=-1)
        return F.linear(F.normalize(vectors, dim=-1), weight)


@MODELS.register_module()
class SelfDistillationBranch(SelfSupervisedBranch):
    """DINO (Caron et al., ICCV 2021; arXiv 2104.14294) with our teacher.

    Each image is cut into two large and several small random views. The
    student sees all, the teacher the large ones; the student's distribution
    over prototypes should be the teacher's of the other views. This is the
    consistency loss of the task, and its only one: its
    ``consistency_weight`` must be above 0, and 1 is usual.

    Any backbone will do. The centre is the student's buffer, so checkpoints
    have it; it moves in training alone.

    Args:
        in_channels (Sequence[int]): Channels of the backbone stages.
        strides (Sequence[int]): Strides of the stages in pixels.
        tasks (Sequence[Task]): Tasks.
        prototypes (int): Per dataset (DINO: 65,536, for a million images).
            Defaults to 4096.
        hidden_dims (int): Width of the shared projector. Defaults to 2048.
        dims (int): Width of its output. Defaults to 256.
        small_views (int): Small views of each image. Defaults to 6.
        large_area (tuple[float, float]): Least and largest share of the area
            of large views. Defaults to (0.4, 1.0).
        small_area (tuple[float, float]): The same of small ones. Defaults to
            (0.05, 0.4).
        small_size (int): Their side in pixels. Defaults to 96.
        flip_prob (float): Share of mirrored views. Defaults to 0.5.
        jitter (float): Brightness and contrast change by so much, in
            standard deviations. Defaults to 0.4.
        student_temperature (float): Defaults to 0.1.
        teacher_temperature (float): Defaults to 0.04.
        center_momentum (float): Weight of the old centre. Defaults to 0.9.
        init_cfg (dict, optional): Initialisation config. Defaults to None.

    Raises:
        UserError: If an option makes no sense.

    Examples:
        >>> self_supervision = dict(
        ...     type='SelfDistillationBranch', prototypes=1024)
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        strides: Sequence[int],
        tasks: Sequence[Task],
        prototypes: int = 4096,
        hidden_dims: int = 2048,
        dims: int = 256,
        small_views: int = 6,
        large_area: tuple[float, float] = (0.4, 1.0),
        small_area: tuple[float, float] = (0.05, 0.4),
        small_size: int = 96,
        flip_prob: float = 0.5,
        jitter: float = 0.4,
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.04,
        center_momentum: float = 0.9,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(tasks, init_cfg)
        where = 'model.student.self_supervision'
        for name, value, low, high in (
            ('prototypes', prototypes, 2, 2**20),
            ('small_views', small_views, 0, 64),
            ('small_size', small_size, strides[-1], 4096),
        ):
            check_number(f'{where}.{name}', value, low, high, whole=True)
        for name, share in (
            ('flip_prob', flip_prob),
            ('jitter', jitter),
            ('center_momentum', center_momentum),
        ):
            check_number(f'{where}.{name}', share, 0, 1)
        for name, temperature in (
            ('student_temperature', student_temperature),
            ('teacher_temperature', teacher_temperature),
        ):
            check_number(f'{where}.{name}', temperature, 1e-3)
        for name, area in (('large', large_area), ('small', small_area)):
            if not 0 < area[0] <= area[1] <= 1:
                raise UserError(
                    f'{where}.{name}_area is {area}; give the least and the '
                    'largest share of the area, such as (0.4, 1.0).'
                )
        self.areas: list[tuple[float, float]] = [
            *[(large_area[0], large_area[1])] * GLOBAL,
            *[(small_area[0], small_area[1])] * small_views,
        ]
        self.small_size = small_size
        self.flip_prob = flip_prob
        self.jitter = jitter
        self.student_temperature = student_temperature
        self.teacher_temperature = teacher_temperature
        self.center_momentum = center_momentum
        self.projector = nn.Sequential(
            nn.Linear(in_channels[-1], hidden_dims),
            nn.GELU(),
            nn.Linear(hidden_dims, hidden_dims),
            nn.GELU(),
            nn.Linear(hidden_dims, dims),
        )
        self.heads = ModuleDict(
            {task.dataset: PrototypeHead(dims, prototypes) for task in tasks}
        )

    def see(
        self,
        extract: Extract,
        encode: Encode,
        inputs: Tensor,
        data_samples: list[FXDataSample],
        as_target: bool,
    ) -> State:
        """Look at views in training, at the whole image in evaluation.

        The student notes its views in the samples, where the teacher finds
        them.

        Returns:
            dict: ``pooled`` (B, C) of whole images; in training ``logits``
            (V, B, K) of the views.
        """
        if as_target:
            noted = [sample.get('views') for sample in data_samples]
            if any(each is None for each in noted):
                return encode(extract(inputs), data_samples)
            views = Views(*(torch.stack(each) for each in zip(*noted)))
            batches = self._cut(inputs, data_samples, views, large_only=True)
        elif self.training:
            views = draw_views(
                len(inputs),
                self.areas,
                self.flip_prob,
                self.jitter,
                inputs.device,
            )
            for index, sample in enumerate(data_samples):
                row = tuple(each[index] for each in views)
                sample.set_metainfo(dict(views=row))
            batches = self._cut(inputs, data_samples, views)
        else:
            return encode(extract(inputs), data_samples)
        pooled = torch.cat(
            [
                self.encode(extract(batch), data_samples)['pooled']
                for batch in batches
            ]
        )
        logits = self.heads[data_samples[0].dataset](self.projector(pooled))
        return dict(logits=logits.unflatten(0, (-1, len(inputs))))

    def _cut(
        self,
        inputs: Tensor,
        data_samples: list[FXDataSample],
        views: Views,
        large_only: bool = False,
    ) -> list[Tensor]:
        """Cut large views, as large as the images, and small ones."""
        shapes = [sample.img_shape for sample in data_samples]
        sizes = [max(inputs.shape[-2:]), self.small_size]
        parts = [slice(0, GLOBAL), slice(GLOBAL, None)]
        count = 1 if large_only or len(self.areas) == GLOBAL else 2
        return [
            cut_views(inputs, shapes, views.only(part), size)
            for part, size in itertools.islice(zip(parts, sizes), count)
        ]

    def consistency(self, state: State) -> FeatureGroups:
        """The logits of the views; of whole images the pooled vector."""
        return ((state['logits' if 'logits' in state else 'pooled'],),)

    def consistency_loss(
        self, student: FeatureGroups, teacher: FeatureGroups, dataset: str
    ) -> Tensor:
        """Return :func:`view_cross_entropy`, and move the centre."""
        ((ours,),), ((theirs,),) = student, teacher
        center = self.heads[dataset].center
        loss = view_cross_entropy(
            ours,
            theirs,
            center,
            self.student_temperature,
            self.teacher_temperature,
        )
        with torch.no_grad():
            mean = theirs.float().mean((0, 1))
            all_reduce(mean, 'mean')
            center.lerp_(mean, 1 - self.center_momentum)
        return loss

    def forward(
        self, state: State, dataset: str, data_samples: list[FXDataSample]
    ) -> Tensor:
        """Logits (V, B, K) of views, or (B, K) of whole images."""
        if 'logits' in state:
            return state['logits']
        return self.heads[dataset](self.projector(state['pooled']))

    def loss(
        self, state: State, dataset: str, data_samples: list[FXDataSample]
    ) -> dict[str, Tensor]:
        """Return nothing: the consistency loss is the task's loss."""
        return {}

    def infer(
        self, state: State, dataset: str, data_samples: list[FXDataSample]
    ) -> Tensor:
        """The pooled vectors (B, C), as neighbours are found by."""
        return state['pooled']

    def add_pred_to_datasample(
        self, answers: Tensor, data_samples: list[FXDataSample]
    ) -> list[FXDataSample]:
        """Write ``pred_feature`` (C,)."""
        for sample, feature in zip(data_samples, answers):
            sample.pred_feature = feature
        return data_samples

    def param_groups(self) -> list[ParamGroup]:
        """The projector is shared, the prototypes are a dataset's own."""
        return [
            ParamGroup('self_supervision/projector', None, ('projector',)),
            *self.head_groups(),
        ]
