"""The stock models of the size of ours, and their training steps."""

import copy
import importlib
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models import detectors
from mmdet.registry import MODELS as MMDET
from mmengine.config import Config
from mmengine.model import BaseModel, ImgDataPreprocessor
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmseg.registry import MODELS as MMSEG
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from fx_mm.analysis.step_timing import Case, Trainer
from fx_mm.models.layers.dino_config import DEFORMABLE, DINO, dino_config
from fx_mm.tasks import split_name
from fx_mm.tasks.kinds import IMAGENET

PIXELS: dict[str, Any] = {key: list(value) for key, value in IMAGENET.items()}
"""Mean and deviation of the stock preprocessors."""


def stock_backbone(
    student: dict[str, Any], stages: tuple[int, ...]
) -> dict[str, Any]:
    """Return the config of mmdet's backbone in the size of a model's.

    Args:
        student (dict): Config of ``FoundationX``.
        stages (tuple[int]): Whose maps it gives.
    """
    backbone = copy.deepcopy(dict(student['backbone']))
    backbone['out_indices'] = stages
    backbone.pop('init_cfg', None)
    if backbone['type'] == 'FusedSwinTransformer':
        backbone['type'] = 'mmdet.SwinTransformer'
        for ours in ('shift_last_stage', 'attention'):
            backbone.pop(ours, None)
    return backbone


def build_stock_dino(
    student: dict[str, Any], num_classes: int, in_channels: list[int]
) -> detectors.DINO:
    """Build ``mmdet.DINO`` in the size of a model's localization branch.

    Args:
        student (dict): Config of ``FoundationX``.
        num_classes (int): Number of classes.
        in_channels (list[int]): Channels of the backbone stages in use.

    Returns:
        mmdet.DINO: With random weights.
    """
    localization = student['localization']
    cfg = dino_config(
        {key: localization.get(key) for key in DINO}, in_channels
    )
    cfg['bbox_head']['num_classes'] = num_classes
    for path in DEFORMABLE:
        coder, layer, attention = path.split('.')
        cfg[coder][layer][attention].pop('kernel', None)
    stages = tuple(localization.get('stages', (1, 2, 3)))
    model = dict(
        type=detectors.DINO,
        data_preprocessor=dict(type='DetDataPreprocessor', **PIXELS),
        backbone=stock_backbone(student, stages),
        **cfg,
    )
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MMDET.build(model)


def build_stock_upernet(
    student: dict[str, Any], num_classes: int, channels: list[int], size: int
) -> BaseModel:
    """Build ``mmseg``'s UPerNet around a backbone of a model's size.

    As mmseg's ``upernet_swin.py``, its auxiliary head included, but with the
    BatchNorm of one process.

    Args:
        student (dict): Config of ``FoundationX``.
        num_classes (int): Number of classes.
        channels (list[int]): Channels of the four backbone stages.
        size (int): Of the images, in pixels.
    """
    head = dict(
        dropout_ratio=0.1,
        num_classes=num_classes,
        norm_cfg=dict(type='BN'),
        align_corners=False,
    )
    model = dict(
        type='EncoderDecoder',
        data_preprocessor=dict(
            type='SegDataPreProcessor', size=(size, size), **PIXELS
        ),
        backbone=stock_backbone(student, (0, 1, 2, 3)),
        decode_head=dict(
            type='UPerHead',
            in_channels=channels,
            in_index=[0, 1, 2, 3],
            pool_scales=(1, 2, 3, 6),
            channels=512,
            loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
            **head,
        ),
        auxiliary_head=dict(
            type='FCNHead',
            in_channels=channels[2],
            in_index=2,
            channels=256,
            num_convs=1,
            concat_input=False,
            loss_decode=dict(
                type='CrossEntropyLoss', avg_non_ignore=True, loss_weight=0.4
            ),
            **head,
        ),
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
    )
    with DefaultScope.overwrite_default_scope('mmseg'):
        return MMSEG.build(model)


class OneHotLoss(nn.Module):
    """mmdet's focal loss in plain torch, as it is on a CPU.

    On a GPU it takes mmcv's operator, which may not be compiled and knows no
    bfloat16.

    Args:
        loss (FocalLoss): The loss.
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(
        self, logits: Tensor, labels: Tensor, *args: Any, **kwargs: Any
    ) -> Tensor:
        """Return the loss of logits (N, C) and labels (N,)."""
        classes = torch.arange(logits.shape[1], device=labels.device)
        truth = labels[:, None] == classes
        return self.loss(logits, truth, *args, **kwargs)


class TimmClassifier(BaseModel):
    """A model of timm with binary cross-entropy.

    Args:
        name (str): Of the model in timm, which must be installed.
        **kwargs (Any): Arguments of ``timm.create_model``.
    """

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__(ImgDataPreprocessor(**PIXELS))
        timm = importlib.import_module('timm')
        self.model = timm.create_model(name, pretrained=False, **kwargs)

    def forward(
        self, inputs: Tensor, data_samples: list[Any], mode: str = 'loss'
    ) -> dict[str, Tensor]:
        """Return the loss of a batch."""
        truth = torch.stack([sample.gt_score for sample in data_samples])
        truth = truth.to(inputs.device, non_blocking=True)
        logits = self.model(inputs).float()
        return dict(
            loss=F.binary_cross_entropy_with_logits(logits, truth.float())
        )


class StockTrainer:
    """A stock model and mmengine's optimizer wrapper.

    Args:
        model (BaseModel): The model.
        batch (dict): What its steps take.
        cfg (Config): Optimizer and precision are those of its
            ``optim_wrapper``.
        **wrapper (Any): More of the stock config's ``optim_wrapper``.
    """

    def __init__(
        self,
        model: BaseModel,
        batch: dict[str, Any],
        cfg: Config,
        **wrapper: Any,
    ) -> None:
        self.device = 'cuda' if torch.cuda.is_available() else 'cpu'
        self.model = model
        self.batch = batch
        model.init_weights()
        model.to(self.device).train()
        self.optim_wrapper = build_optim_wrapper(
            model, dict(optimizer=dict(cfg.optim_wrapper.optimizer), **wrapper)
        )
        dtype = cfg.optim_wrapper.get('amp_dtype')
        self.dtype = getattr(torch, dtype) if dtype else None

    def case(self) -> Case:
        """A training step."""

        def step() -> None:
            with torch.autocast(
                self.device, self.dtype, enabled=self.dtype is not None
            ):
                self.model.train_step(self.batch, self.optim_wrapper)

        return lambda: None, step


def stock_dino(ours: Trainer, task: str) -> StockTrainer:
    """Return mmdet's DINO with the optimizer of mmdet's configs.

    Args:
        ours (Trainer): Gives sizes, classes and the batch.
        task (str): The localization task.
    """
    cfg = ours.runner.cfg
    branch: Any = ours.model.student.localization
    model = build_stock_dino(
        cfg.model.student,
        branch.tasks[split_name(task)[0]].head.num_classes,
        branch.dino_cfg['neck']['in_channels'],
    )
    batch = ours.batch(task)
    trainer = StockTrainer(
        model,
        dict(batch, inputs=list(batch['inputs'])),
        cfg,
        clip_grad=dict(max_norm=0.1),
        paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))),
    )
    model.bbox_head.loss_cls = OneHotLoss(model.bbox_head.loss_cls)
    return trainer


def stock_upernet(ours: Trainer, task: str) -> StockTrainer:
    """Return mmseg's UPerNet with the optimizer of mmseg's Swin configs.

    Args:
        ours (Trainer): Gives sizes and the batch, whose masks become a label
            map.
        task (str): The segmentation task.
    """
    cfg = ours.runner.cfg
    batch = ours.batch(task)
    samples = []
    for sample in batch['data_samples']:
        masks = sample.gt_sem_seg.data.bool()
        # 0 is the background
        labels = torch.where(
            masks.any(0), 1 + masks.float().argmax(0), 0
        ).unsqueeze(0)
        shape = sample.img_shape
        samples.append(
            SegDataSample(
                metainfo=dict(img_shape=shape, ori_shape=shape),
                gt_sem_seg=PixelData(data=labels),
            )
        )
    width = cfg.model.student.backbone.embed_dims
    model = build_stock_upernet(
        cfg.model.student,
        1 + len(ours.runner.tasks[task].classes),
        [width * 2**stage for stage in range(4)],
        batch['data_samples'][0].img_shape[0],
    )
    return StockTrainer(
        model,
        dict(inputs=list(batch['inputs']), data_samples=samples),
        cfg,
        paramwise_cfg=dict(custom_keys=dict(norm=dict(decay_mult=0.0))),
    )


def timm_swin(ours: Trainer, task: str) -> StockTrainer:
    """Return timm's Swin-B, or one of the backbone's size.

    Args:
        ours (Trainer): Gives sizes and the batch.
        task (str): The classification task.

    Raises:
        ImportError: If timm is not installed.
    """
    cfg = ours.runner.cfg
    batch = ours.batch(task)
    backbone = cfg.model.student.backbone
    model = TimmClassifier(
        'swin_base_patch4_window7_224',
        num_classes=len(ours.runner.tasks[task].classes),
        img_size=batch['data_samples'][0].img_shape[0],
        embed_dim=backbone.embed_dims,
        depths=backbone.depths,
        num_heads=backbone.num_heads,
        window_size=backbone.window_size,
        drop_path_rate=backbone.drop_path_rate,
    )
    return StockTrainer(model, batch, cfg)
