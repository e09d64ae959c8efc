"""Segmentation decoder: pyramid pooling and the reference's FPN."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmseg.models.decode_heads.psp_head import PPM
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fx_mm.registry import MODELS
from fx_mm.utils.errors import UserError


def _resize(
    x: Tensor, size: Sequence[int], align_corners: bool = True
) -> Tensor:
    return F.interpolate(
        x, size=size, mode='bilinear', align_corners=align_corners
    )


def _share_of_cells(size: int, bins: int, like: Tensor) -> Tensor:
    """What each cell has of each bin's mean, of shape (bins, size)."""
    cells = torch.arange(size, device=like.device)
    index = torch.arange(bins, device=like.device)[:, None]
    inside = (cells >= index * size // bins) & (
        cells < -(-(index + 1) * size // bins)
    )
    return inside.to(like.dtype) / inside.sum(1, keepdim=True)


def average_in_bins(x: Tensor, bins: int) -> Tensor:
    """Adaptive average pooling as two products of matrices.

    CUDA's own adds to the gradients in any order, so that no two trainings
    with it are equal to the bit.

    Args:
        x (Tensor): Map of shape (B, C, H, W).
        bins (int): Of each side.

    Returns:
        Tensor: Of shape (B, C, bins, bins).
    """
    rows, columns = (_share_of_cells(size, bins, x) for size in x.shape[2:])
    return rows @ x @ columns.T


class PyramidPooling(PPM):
    """mmseg's pyramid pooling that trains on a batch of one image.

    BatchNorm refuses a single value per channel (the 1x1 bin of one image),
    so such a bin is normalised with the running statistics. With
    ``torch.use_deterministic_algorithms(True)`` its gradients have the same
    bits on every run of a GPU, too.
    """

    def forward(self, x: Tensor) -> list[Any]:
        """Pool, project and upsample.

        Args:
            x (Tensor): Map of shape (B, C, H, W).

        Returns:
            list[Tensor]: One map (B, channels, H, W) per bin.
        """
        outs = []
        by_products = (
            x.is_cuda and torch.are_deterministic_algorithms_enabled()
        )
        for pool, conv in self:
            pooled = (
                average_in_bins(x, pool.output_size)
                if by_products
                else pool(x)
            )
            single = pooled.numel() == pooled.shape[1]
            norm = conv.norm if conv.with_norm else None
            if single and isinstance(norm, _BatchNorm) and norm.training:
                norm.eval()
                pooled = conv(pooled)
                norm.train()
            else:
                pooled = conv(pooled)
            outs.append(_resize(pooled, x.shape[2:], self.align_corners))
        return outs


@MODELS.register_module()
class PyramidDecoder(BaseModule):
    """Pyramid pooling on the last stage, then an FPN to stride 4.

    The FPN has the reference's own form (reference 1.5), not a cascaded
    top-down path: each adjacent pair of laterals is summed by itself, one
    smoothing convolution serves all sums, and the sums and the coarsest
    lateral are upsampled with ``align_corners``, concatenated and fused.

    Args:
        in_channels (Sequence[int]): Channels of the four backbone stages.
        channels (int, optional): Width of the FPN. None: the channels of
            stage 0, as in the paper. Defaults to None.
        pool_channels (int, optional): Channels of each pooling bin. None: a
            quarter of the last stage's. Defaults to None.
        ppm_channels (int, optional): Channels of the pooled map. None: those
            of the last stage. Defaults to None.
        pool_scales (Sequence[int]): Bins. Defaults to (1, 2, 4, 6).
        dropout (float): Channel dropout after the pooling. Defaults to 0.1.
        norm_cfg (dict): Norm of the convolutions. Defaults to
            ``dict(type='BN')``.
        init_cfg (dict, optional): Initialisation config. Defaults to None.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int | None = None,
        pool_channels: int | None = None,
        ppm_channels: int | None = None,
        pool_scales: Sequence[int] = (1, 2, 4, 6),
        dropout: float = 0.1,
        norm_cfg: dict[str, Any] = dict(type='BN'),
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        first, *_, last = in_channels
        self.channels = channels or first
        pool_channels = pool_channels or last // 4
        groups = norm_cfg.get('num_groups')
        if groups == pool_channels and 1 in pool_scales:
            raise UserError(
                f'model segmentation.decoder has {groups} groups of norm for '
                f'{pool_channels} pool_channels: the 1x1 bin of an image '
                'would have nothing to normalise; take fewer groups.'
            )
        ppm_channels = ppm_channels or last
        act_cfg = dict(type='ReLU')
        self.ppm = PyramidPooling(
            tuple(pool_scales),
            last,
            pool_channels,
            None,
            norm_cfg,
            act_cfg,
            align_corners=True,
        )
        self.bottleneck = ConvModule(
            last + len(pool_scales) * pool_channels,
            ppm_channels,
            3,
            padding=1,
            norm_cfg=norm_cfg,
            act_cfg=act_cfg,
        )
        self.dropout = nn.Dropout2d(dropout)
        inputs = (*in_channels[:-1], ppm_channels)
        self.laterals = nn.ModuleList(
            nn.Identity()
            if stage == 0 and width == self.channels
            else nn.Conv2d(width, self.channels, 1)
            for stage, width in enumerate(inputs)
        )
        self.smooth = nn.Conv2d(self.channels, self.channels, 3, padding=1)
        self.fuse = ConvModule(
            len(inputs) * self.channels,
            self.channels,
            3,
            padding=1,
            norm_cfg=norm_cfg,
            act_cfg=act_cfg,
        )

    def forward(self, pyramid: tuple[Tensor, ...]) -> Tensor:
        """Decode the backbone maps.

        Args:
            pyramid (tuple[Tensor]): Maps of strides 4, 8, 16, 32.

        Returns:
            Tensor: Fused map of shape (B, channels, H/4, W/4).
        """
        last = pyramid[-1]
        pooled = self.bottleneck(torch.cat([last, *self.ppm(last)], dim=1))
        maps = [*pyramid[:-1], self.dropout(pooled)]
        maps = [conv(x) for conv, x in zip(self.laterals, maps)]
        sums = [
            self.smooth(_resize(coarse, fine.shape[2:]) + fine)
            for fine, coarse in zip(maps[:-1], maps[1:])
        ]
        size = maps[0].shape[2:]
        levels = [_resize(x, size) for x in (*sums[1:], maps[-1])]
        return self.fuse(torch.cat([sums[0], *levels], dim=1))
