"""Segmentation decoder in mmseg's form of UPerNet."""

from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModule
from mmseg.models.decode_heads import UPerHead
from torch import Tensor, nn

from fx_mm.models.layers.pyramid import PyramidPooling
from fx_mm.registry import MODELS


@MODELS.register_module()
class UPerDecoder(BaseModule):
    """``mmseg.UPerHead`` without its classifier, as a shared decoder.

    UPerNet (ECCV 2018), section 3.1, in mmseg's form: laterals with norm,
    a cascaded top-down path and one convolution per level, where
    :class:`PyramidDecoder` has the form of Foundation X. Its ``head`` has
    the parameter names of ``mmseg.UPerHead``; a dataset's own head
    classifies the fused map (``segmentation.head_kernel_size=1`` for
    mmseg's).

    Args:
        in_channels (Sequence[int]): Channels of the four backbone stages.
        channels (int): Width of the decoder. Defaults to 512.
        pool_scales (Sequence[int]): Bins. Defaults to (1, 2, 3, 6).
        dropout (float): Channel dropout of the fused map. Defaults to 0.1.
        norm_cfg (dict): Norm of the convolutions. Defaults to
            ``dict(type='BN')``.
        align_corners (bool): How maps are resized. Defaults to False.
        init_cfg (dict, optional): Initialisation config. Defaults to None.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 512,
        pool_scales: Sequence[int] = (1, 2, 3, 6),
        dropout: float = 0.1,
        norm_cfg: dict[str, Any] = dict(type='BN'),
        align_corners: bool = False,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.channels = channels
        # Classes, threshold and loss are mmseg's to ask for and never used.
        self.head = UPerHead(
            pool_scales=tuple(pool_scales),
            in_channels=list(in_channels),
            in_index=list(range(len(in_channels))),
            channels=channels,
            num_classes=1,
            threshold=0.5,
            dropout_ratio=0,
            norm_cfg=norm_cfg,
            align_corners=align_corners,
            loss_decode=dict(
                type='mmseg.CrossEntropyLoss', avg_non_ignore=True
            ),
            init_cfg=None,
        )
        self.head.conv_seg = None
        self.head.psp_modules = PyramidPooling(
            tuple(pool_scales),
            in_channels[-1],
            channels,
            None,
            norm_cfg,
            self.head.act_cfg,
            align_corners,
        )
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, pyramid: tuple[Tensor, ...]) -> Tensor:
        """Decode the backbone maps.

        Args:
            pyramid (tuple[Tensor]): Maps of strides 4, 8, 16, 32.

        Returns:
            Tensor: Fused map of shape (B, channels, H/4, W/4).
        """
        return self.dropout(self.head._forward_feature(pyramid))
