"""Segmentation: shared decoder and one convolution per dataset."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import ModuleDict
from mmengine.structures import PixelData
from torch import Tensor, nn

from fx_mm.evaluation.statistics.pixel_tally import PixelTally
from fx_mm.models.branches.base import Branch, State
from fx_mm.models.losses.distillation import soft_label_loss
from fx_mm.models.multi_view import mirror_maps
from fx_mm.models.param_groups import FeatureGroups, ParamGroup
from fx_mm.registry import MODELS
from fx_mm.structures import FXDataSample
from fx_mm.tasks import Task
from fx_mm.utils.checks import check_number
from fx_mm.utils.errors import UserError

SURELY_OUTSIDE = -1e4
"""A logit of probability 0, in every dtype."""


@MODELS.register_module()
class SegmentationBranch(Branch):
    """Masks with one sigmoid channel per class; classes may overlap.

    Args:
        in_channels (Sequence[int]): Channels of the backbone stages.
        tasks (Sequence[Task]): Tasks.
        strides (Sequence[float]): Strides of the stages in pixels; not used.
            Defaults to ().
        decoder (dict): Config of the decoder. Defaults to
            ``dict(type='PyramidDecoder')``.
        head_kernel_size (int): Kernel of each dataset's convolution, odd.
            Defaults to 3, as in the paper; mmseg's heads have 1.
        loss (dict): Config of the mask loss. Defaults to
            ``dict(type='SoftDiceLoss')``, summed over batch and channels.
        bce_weight (float): Weight of an added pixel-wise binary cross-entropy,
            which the paper has not. Defaults to 0.
        threshold (float): Probability from which a pixel belongs to a class.
            Defaults to 0.5.
        init_cfg (dict, optional): Initialisation config. Defaults to None.
    """

    fixed_shapes = ('decoder',)

    def __init__(
        self,
        in_channels: Sequence[int],
        tasks: Sequence[Task],
        strides: Sequence[float] = (),
        decoder: dict[Any, Any] = dict(type='PyramidDecoder'),
        head_kernel_size: int = 3,
        loss: dict[Any, Any] = dict(type='SoftDiceLoss'),
        bce_weight: float = 0.0,
        threshold: float = 0.5,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(tasks, init_cfg)
        check_number('model segmentation.bce_weight', bce_weight, 0)
        check_number('model segmentation.threshold', threshold, 0, 1)
        if head_kernel_size % 2 == 0:
            raise UserError(
                f'model segmentation.head_kernel_size is {head_kernel_size}; '
                'it must be odd.'
            )
        decoder = copy.deepcopy(decoder)
        decoder.setdefault('type', 'PyramidDecoder')
        decoder['in_channels'] = in_channels
        self.decoder = MODELS.build(decoder)
        self.mask_loss = MODELS.build(loss)
        self.bce_weight = bce_weight
        self.threshold = threshold
        self.heads = ModuleDict(
            {
                task.dataset: nn.Conv2d(
                    self.decoder.channels,
                    len(task.classes),
                    head_kernel_size,
                    padding=head_kernel_size // 2,
                )
                for task in tasks
            }
        )

    def encode(
        self, pyramid: tuple[Tensor, ...], data_samples: list[FXDataSample]
    ) -> State:
        """Run the decoder.

        Args:
            pyramid (tuple[Tensor]): Backbone maps of strides 4, 8, 16, 32.
            data_samples (list): Not used.

        Returns:
            dict: ``last``, the last backbone map, and ``fused``, the
            decoder's map of stride 4.
        """
        return dict(last=pyramid[-1], fused=self.decoder(pyramid))

    def consistency(self, state: State) -> FeatureGroups:
        """Last backbone map and decoder map, L2-normalised over channels."""
        return tuple(
            (F.normalize(state[key].float(), dim=1),)
            for key in ('last', 'fused')
        )

    def forward(
        self, state: State, dataset: str, data_samples: list[FXDataSample]
    ) -> Tensor:
        """Logits (B, C, H, W) at the input size."""
        size = data_samples[0].batch_input_shape
        logits = self.heads[dataset](state['fused']).float()
        return F.interpolate(
            logits, size=tuple(size), mode='bilinear', align_corners=False
        )

    def loss(
        self, state: State, dataset: str, data_samples: list[FXDataSample]
    ) -> dict[str, Tensor]:
        """Losses against ``gt_sem_seg`` of the samples.

        Args:
            state (dict): Result of :meth:`encode`.
            dataset (str): Dataset of the batch.
            data_samples (list[FXDataSample]): Have ``gt_sem_seg`` with
                data (C, H, W) at the size of the image; padding counts as
                background. Where it has ``ignore``, what the logits say at
                those pixels changes no loss and no gradient.

        Returns:
            dict[str, Tensor]: ``loss_dice``, and ``loss_bce`` if weighted.
        """
        logits = self(state, dataset, data_samples)
        height, width = logits.shape[2:]
        masks = [sample.gt_sem_seg.data for sample in data_samples]
        # The preprocessor pads images alone; nothing is there to find.
        target = torch.stack(
            [
                F.pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]))
                for x in masks
            ]
        ).to(logits)
        ignored = _ignored_pixels(data_samples, logits)
        if ignored is not None:
            # A pixel that is surely and rightly outside adds nothing to a
            # sum of the loss, and passes no gradient on.
            logits = logits.masked_fill(ignored, SURELY_OUTSIDE)
            target = target.masked_fill(ignored, 0)
        losses = dict(loss_dice=self.mask_loss(logits, target))
        if self.bce_weight:
            loss = F.binary_cross_entropy_with_logits(logits, target)
            if ignored is not None:  # the mean over the other pixels
                counted = (~ignored).sum().clamp(min=1)
                loss = loss * (ignored.numel() / counted)
            losses['loss_bce'] = self.bce_weight * loss
        return losses

    def distillation_output(
        self, state: State, dataset: str, data_samples: list[FXDataSample]
    ) -> Tensor:
        """Logits (B, C, h, w) at the decoder's size."""
        return self.heads[dataset](state['fused']).float()

    def distillation_loss(
        self, output: Tensor, target: Tensor, dataset: str, temperature: float
    ) -> Tensor:
        """See :func:`soft_label_loss`: the mean over classes and pixels."""
        return soft_label_loss(output, target, temperature)

    def fit_truth(
        self, data_samples: list[FXDataSample]
    ) -> list[FXDataSample]:
        """Return samples with true masks at the size of the image.

        The nearest pixel is taken, as the training pipelines do.
        """
        fitted = []
        for sample in data_samples:
            size = tuple(sample.img_shape[:2])
            parts = {
                key: F.interpolate(part[None], size=size)[0]
                for key, part in sample.gt_sem_seg.items()
            }
            moved = FXDataSample(metainfo=sample.metainfo)
            moved.gt_sem_seg = PixelData(**parts)
            fitted.append(moved)
        return fitted

    def infer(
        self, state: State, dataset: str, data_samples: list[FXDataSample]
    ) -> Tensor:
        """Probabilities (B, C, H, W) at the input size."""
        return self(state, dataset, data_samples).sigmoid()

    def merge_flips(
        self, plain: Tensor, mirrored: Tensor, data_samples: list[FXDataSample]
    ) -> Tensor:
        """Flip the maps of the mirror images back, then average."""
        mirrored = mirror_maps(mirrored, data_samples)
        return super().merge_flips(plain, mirrored, data_samples)

    def add_pred_to_datasample(
        self, answers: Tensor, data_samples: list[FXDataSample]
    ) -> list[FXDataSample]:
        """Write ``pred_sem_seg`` (C, h, w) at the original size.

        Probabilities are resized, then compared with the threshold.
        """
        for sample, prob in zip(data_samples, answers):
            height, width = sample.img_shape[:2]
            prob = F.interpolate(
                prob[None, :, :height, :width],
                size=tuple(sample.ori_shape[:2]),
                mode='bilinear',
                align_corners=False,
            )[0]
            sample.pred_sem_seg = PixelData(
                data=(prob > self.threshold).to(torch.uint8)
            )
        return data_samples

    def tally(
        self, answers: Tensor, data_samples: list[FXDataSample], task: Task
    ) -> dict[str, PixelTally]:
        """Count the pixels of each image; see :class:`PixelTally`."""
        tallies = {}
        fitted = self.fit_truth(data_samples)
        for prob, sample in zip(answers, fitted):
            height, width = sample.img_shape[:2]
            tally = PixelTally(len(task.classes))
            tally.add(prob[:, :height, :width], sample.gt_sem_seg)
            tallies[sample.img_id] = tally
        return tallies

    def choose_thresholds(
        self, tallies: list[dict[str, PixelTally]], task: Task
    ) -> list[tuple[float, float]]:
        """Choose the best Dice over the pixels of all images."""
        images = {name: x for each in tallies for name, x in each.items()}
        total = PixelTally(len(task.classes))
        return total.add_all(images.values()).best()

    def take_as_truth(
        self,
        answers: Tensor,
        data_samples: list[FXDataSample],
        thresholds: Tensor,
    ) -> Tensor:
        """Write masks; a class that is nowhere found is unknown there."""
        limits = thresholds.to(answers)[:, None, None]
        known = []
        for sample, prob in zip(data_samples, answers):
            height, width = sample.img_shape[:2]
            mask = prob[:, :height, :width] >= limits
            absent = ~mask.flatten(1).any(1)
            ignore = absent[:, None, None].expand_as(mask)
            sample.gt_sem_seg = PixelData(
                data=mask.to(torch.uint8), ignore=ignore.to(torch.uint8)
            )
            known.append(~absent.all())
        return torch.stack(known)

    def param_groups(self) -> list[ParamGroup]:
        """The shared decoder and one head per dataset."""
        return [
            ParamGroup('segmentation/decoder', None, ('decoder',)),
            *self.head_groups(),
        ]


def _ignored_pixels(
    data_samples: list[FXDataSample], logits: Tensor
) -> Tensor | None:
    """Return which pixels nobody annotated, bool (B, C, H, W).

    Returns:
        Tensor, optional: None if there are none.
    """
    parts = [sample.gt_sem_seg.get('ignore') for sample in data_samples]
    if all(part is None for part in parts):
        return None
    ignored = torch.zeros_like(logits, dtype=torch.bool)
    for target, part in zip(ignored, parts):
        if part is not None:
            height, width = part.shape[-2:]
            target[:, :height, :width] = part.to(target.device) > 0
    return ignored
