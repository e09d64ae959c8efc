"""Masked images: what is hidden of an X-ray, from what is seen of it."""

import math
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from mmengine.model import BaseModule, ModuleDict
from torch import Tensor, nn

from fx_mm.models.backbones import HiddenPatches, PatchMasking
from fx_mm.models.branches.base import Encode, Extract, State
from fx_mm.models.branches.self_supervised import SelfSupervisedBranch
from fx_mm.models.losses.masked_images import absolute_errors
from fx_mm.models.param_groups import ParamGroup
from fx_mm.registry import MODELS
from fx_mm.structures import FXDataSample
from fx_mm.tasks import Task
from fx_mm.utils.checks import check_number
from fx_mm.utils.errors import UserError


class PixelHead(BaseModule):
    """One 1x1 convolution; each of its vectors is a square of pixels.

    Args:
        channels (int): Channels of the map.
        stride (int): Its stride, the side of the square in pixels.
        init_cfg (dict, optional): Initialisation config. Defaults to a
            truncated normal.
    """

    def __init__(
        self,
        channels: int,
        stride: int,
        init_cfg: dict[str, Any] | None = dict(
            type='TruncNormal', layer='Conv2d', std=0.02
        ),
    ) -> None:
        super().__init__(init_cfg)
        # X-rays are grey: three channels would be three times the same.
        self.conv = nn.Conv2d(channels, stride**2, 1)
        self.shuffle = nn.PixelShuffle(stride)

    def forward(self, maps: Tensor) -> Tensor:
        """Grey images (B, h * stride, w * stride) of maps (B, C, h, w)."""
        return self.shuffle(self.conv(maps))[:, 0]


class Reconstruction(NamedTuple):
    """Images, what was hidden of them, and what the model puts there.

    Attributes:
        images (Tensor): Normalised grey images (B, H, W).
        hidden (Tensor): bool (B, H, W), the pixels to be reconstructed.
        seen (Tensor): bool (B, H, W), those that the model saw; padding is
            neither.
        pixels (Tensor): The reconstruction (B, H, W), in float32.
        pooled (Tensor): See :meth:`SelfSupervisedBranch.encode`.
    """

    images: Tensor
    hidden: Tensor
    seen: Tensor
    pixels: Tensor
    pooled: Tensor


@MODELS.register_module()
class MaskedImageBranch(SelfSupervisedBranch):
    """SimMIM (Xie et al., CVPR 2022; arXiv 2111.09886), for grey images.

    A random share of the squares of a grid is hidden behind a learned token
    that stands in place of the embedded patches; the backbone runs on all
    tokens, and a linear head makes pixels of its last maps. The loss is the
    mean absolute error over hidden pixels, of the normalised image. The
    teacher sees the whole image, and both should agree on the pooled last
    maps.

    In training each batch draws its squares; in evaluation they follow from
    the image's name, so that results can be compared.

    Args:
        in_channels (Sequence[int]): Channels of the backbone stages.
        tasks (Sequence[Task]): Tasks.
        strides (Sequence[float]): Strides of the stages in pixels.
        mask_ratio (float): Share of the squares that is hidden, rounded up.
            What is seen of an X-ray says more of the rest than in photos, so
            Medical MAE hides 0.9. Defaults to 0.6, as in the paper.
        cell (int): Side of a square in pixels, a multiple of the backbone's
            patches. Defaults to 32, as in the paper.
        init_cfg (dict, optional): Initialisation config. Defaults to None.

    Raises:
        UserError: If an option makes no sense.

    Examples:
        >>> self_supervision = dict(type='MaskedImageBranch', mask_ratio=0.75)
    """

    mask_token: nn.Parameter

    def __init__(
        self,
        in_channels: Sequence[int],
        strides: Sequence[float],
        tasks: Sequence[Task],
        mask_ratio: float = 0.6,
        cell: int = 32,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(tasks, init_cfg)
        where = 'model.student.self_supervision'
        check_number(f'{where}.mask_ratio', mask_ratio, 0.01, 0.99)
        check_number(f'{where}.cell', cell, 1, whole=True)
        self.mask_ratio = mask_ratio
        self.cell = cell
        self.patch = cell
        self.heads = ModuleDict(
            {
                task.dataset: PixelHead(in_channels[-1], round(strides[-1]))
                for task in tasks
            }
        )

    def take_backbone(self, backbone: nn.Module) -> None:
        """Make the token that stands for a hidden patch.

        Raises:
            UserError: If the backbone has no patches that can be hidden, or
                the squares are not made of them.
        """
        if not isinstance(backbone, PatchMasking):
            raise UserError(
                'model.student.self_supervision hides patches, which the '
                f'backbone {type(backbone).__name__} does not have; take '
                'FusedSwinTransformer or PyramidViT.'
            )
        self.patch = backbone.patch_stride
        if self.cell % self.patch:
            raise UserError(
                f'model.student.self_supervision.cell is {self.cell}, but the '
                f"backbone's patches have {self.patch} pixels; take a "
                'multiple of them.'
            )
        token = torch.empty(backbone.patch_dims)
        self.mask_token = nn.Parameter(nn.init.trunc_normal_(token, std=0.02))

    def see(
        self,
        extract: Extract,
        encode: Encode,
        inputs: Tensor,
        data_samples: list[FXDataSample],
        as_target: bool,
    ) -> State:
        """Hide patches, unless the features are a target.

        Returns:
            dict: Result of :meth:`encode`, and, where patches were hidden,
            ``images`` (B, 3, H, W) and ``hidden`` (B, h, w), one per patch.
        """
        if as_target:
            return encode(extract(inputs), data_samples)
        hidden = self.hide(inputs, data_samples)
        state = encode(extract(inputs, hidden), data_samples)
        return dict(state, images=inputs, hidden=hidden.where)

    def hide(
        self, inputs: Tensor, data_samples: list[FXDataSample]
    ) -> HiddenPatches:
        """Hide ``mask_ratio`` of the squares of each image, rounded up.

        Raises:
            UserError: If nothing of an image would be seen.
        """
        height, width = inputs.shape[-2:]
        rows, columns = (-(-side // self.cell) for side in (height, width))
        cells = rows * columns
        count = math.ceil(round(self.mask_ratio * cells, 6))
        if count == cells:
            raise UserError(
                f'An image of {height}x{width} pixels has {cells} squares of '
                f'{self.cell} pixels, all of which mask_ratio='
                f'{self.mask_ratio:g} hides; set a smaller '
                'model.student.self_supervision.cell.'
            )
        order = self._draw(cells, inputs, data_samples).argsort(1).argsort(1)
        where = (order < count).view(-1, rows, columns)
        # from squares to patches, of which the last may be cut off
        where = _enlarge(where, self.cell // self.patch)
        where = where[:, : -(-height // self.patch), : -(-width // self.patch)]
        return HiddenPatches(where, self.mask_token)

    def _draw(
        self, cells: int, inputs: Tensor, data_samples: list[FXDataSample]
    ) -> Tensor:
        """Return random numbers (B, cells), by which squares are chosen."""
        if self.training:
            return torch.rand(len(inputs), cells, device=inputs.device)
        drawn = torch.empty(len(inputs), cells)
        for row, sample in zip(drawn, data_samples):
            seed = zlib.crc32(f'{sample.task}/{sample.img_id}'.encode())
            row.uniform_(generator=torch.Generator().manual_seed(seed))
        return drawn.to(inputs.device)

    def forward(
        self, state: State, dataset: str, data_samples: list[FXDataSample]
    ) -> Tensor:
        """Reconstructed grey images (B, H, W), in normalised units."""
        height, width = state['images'].shape[-2:]
        pixels = self.heads[dataset](state['maps'])
        return pixels[:, :height, :width].float()

    def reconstruct(
        self, state: State, dataset: str, data_samples: list[FXDataSample]
    ) -> Reconstruction:
        """Reconstruct what is hidden of the images, but for their padding."""
        images = state['images'].mean(1)
        height, width = images.shape[-2:]
        inside = torch.zeros_like(images, dtype=torch.bool)
        for mask, sample in zip(inside, data_samples):
            mask[: sample.img_shape[0], : sample.img_shape[1]] = True
        hidden = _enlarge(state['hidden'], self.patch)[:, :height, :width]
        return Reconstruction(
            images,
            hidden & inside,
            ~hidden & inside,
            self(state, dataset, data_samples),
            state['pooled'],
        )

    def loss(
        self, state: State, dataset: str, data_samples: list[FXDataSample]
    ) -> dict[str, Tensor]:
        """Masked L1.

        Args:
            state (dict): Result of :meth:`encode`, of hidden patches.
            dataset (str): Dataset of the batch.
            data_samples (list[FXDataSample]): Have ``img_shape``.

        Returns:
            dict[str, Tensor]: ``loss_ssl``.
        """
        found = self.reconstruct(state, dataset, data_samples)
        errors = absolute_errors(found.pixels, found.images, found.hidden)
        # images of any size weigh by their hidden pixels
        return dict(loss_ssl=errors.sum() / found.hidden.sum().clamp(min=1))

    def infer(
        self, state: State, dataset: str, data_samples: list[FXDataSample]
    ) -> Reconstruction:
        """See :meth:`reconstruct`."""
        return self.reconstruct(state, dataset, data_samples)

    def add_pred_to_datasample(
        self, answers: Reconstruction, data_samples: list[FXDataSample]
    ) -> list[FXDataSample]:
        """Write what the metric and the pictures need.

        ``pred_error`` and ``gt_flat_error``, the mean absolute errors over
        hidden pixels of the reconstruction and of the mean of what is seen;
        ``pred_feature`` (C,); and, of the image without its padding,
        ``gt_pixels``, ``pred_pixels`` (h, w), normalised, and ``pred_hidden``
        (h, w).
        """
        images, hidden, seen, pixels, pooled = answers
        sums = torch.where(seen, images, 0).sum((1, 2))
        grey = (sums / seen.sum((1, 2)).clamp(min=1))[:, None, None]
        count = hidden.sum((1, 2)).clamp(min=1)
        error, flat_error = (
            absolute_errors(guess, images, hidden).sum((1, 2)) / count
            for guess in (pixels, grey)
        )
        for index, sample in enumerate(data_samples):
            height, width = sample.img_shape
            sample.pred_error = error[index]
            sample.gt_flat_error = flat_error[index]
            sample.pred_feature = pooled[index]
            sample.gt_pixels = images[index, :height, :width]
            sample.pred_pixels = pixels[index, :height, :width]
            sample.pred_hidden = hidden[index, :height, :width]
        return data_samples

    def param_groups(self) -> list[ParamGroup]:
        """The token is shared, each head is a dataset's own."""
        return [
            ParamGroup('self_supervision/mask_token', None, ('mask_token',)),
            *self.head_groups(),
        ]


def _enlarge(masks: Tensor, factor: int) -> Tensor:
    """Repeat each value of (B, h, w) in squares of a side."""
    masks = masks.repeat_interleave(factor, 1)
    return masks.repeat_interleave(factor, 2)
