"""mmdet's own DINO in the size of a localization branch, to compare with."""

import copy
import inspect

from mmdet.registry import MODELS as MMDET
from mmengine.registry import DefaultScope

from fx_mm.models import LocalizationBranch, TaskDINOHead
from fx_mm.tasks.kinds import IMAGENET

MATCH_COSTS = [
    dict(type='FocalLossCost', weight=2.0),
    dict(type='BBoxL1Cost', weight=5.0, box_format='xywh'),
    dict(type='IoUCost', iou_mode='giou', weight=2.0),
]


def build_stock_dino(student: dict, num_classes: int, in_channels: list):
    """Build ``mmdet.DINO`` with the sizes of a model's localization branch.

    Args:
        student (dict): Config of ``FoundationX`` with a Swin backbone.
        num_classes (int): Number of classes.
        in_channels (list[int]): Channels of the backbone stages in use.

    Returns:
        mmdet.DINO: With random weights.
    """
    defaults = inspect.signature(LocalizationBranch.__init__).parameters
    cfg = {
        key: value.default
        for key, value in defaults.items()
        if value.default is not inspect.Parameter.empty
    }
    cfg.update(student['localization'])
    dims, heads = cfg['embed_dims'], cfg['num_heads']
    deformable = dict(
        embed_dims=dims,
        num_heads=heads,
        num_levels=cfg['num_levels'],
        num_points=cfg['num_points'],
        dropout=cfg['dropout'],
    )
    ffn = dict(
        embed_dims=dims,
        feedforward_channels=cfg['feedforward_channels'],
        ffn_drop=cfg['dropout'],
    )
    losses = inspect.signature(TaskDINOHead.__init__).parameters
    losses = {
        key: dict(losses[key].default)
        for key in ('loss_cls', 'loss_bbox', 'loss_iou')
    }
    backbone = {
        key: value
        for key, value in copy.deepcopy(dict(student['backbone'])).items()
        if key not in ('shift_last_stage', 'attention', 'init_cfg')
    }
    backbone.update(
        type='mmdet.SwinTransformer', out_indices=tuple(cfg['stages'])
    )
    norm = (cfg['neck'] or {}).get('norm_cfg', dict(type='GN', num_groups=32))
    noise = dict(cfg['dn_cfg'] or {})
    model = dict(
        type='DINO',
        num_queries=cfg['num_queries'],
        with_box_refine=True,
        as_two_stage=True,
        num_feature_levels=cfg['num_levels'],
        data_preprocessor=dict(type='DetDataPreprocessor', **_rgb(IMAGENET)),
        backbone=backbone,
        neck=dict(
            type='ChannelMapper',
            in_channels=list(in_channels),
            kernel_size=1,
            out_channels=dims,
            act_cfg=None,
            bias=True,
            norm_cfg=norm,
            num_outs=cfg['num_levels'],
        ),
        encoder=dict(
            num_layers=cfg['encoder_layers'],
            layer_cfg=dict(self_attn_cfg=dict(deformable), ffn_cfg=dict(ffn)),
        ),
        decoder=dict(
            num_layers=cfg['decoder_layers'],
            return_intermediate=True,
            post_norm_cfg=None,
            layer_cfg=dict(
                self_attn_cfg=dict(
                    embed_dims=dims, num_heads=heads, dropout=cfg['dropout']
                ),
                cross_attn_cfg=dict(deformable),
                ffn_cfg=dict(ffn),
            ),
        ),
        positional_encoding=dict(
            num_feats=dims // 2, normalize=True, offset=0.0, temperature=20
        ),
        bbox_head=dict(
            type='DINOHead',
            num_classes=num_classes,
            embed_dims=dims,
            sync_cls_avg_factor=True,
            **losses,
        ),
        dn_cfg=dict(
            label_noise_scale=noise.get('label_noise_scale', 0.5),
            box_noise_scale=noise.get('box_noise_scale', 1.0),
            group_cfg=dict(
                dynamic=True, num_dn_queries=noise.get('num_dn_queries', 100)
            ),
        ),
        train_cfg=dict(
            assigner=dict(type='HungarianAssigner', match_costs=MATCH_COSTS)
        ),
        test_cfg=dict(max_per_img=cfg['max_per_img']),
    )
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MMDET.build(model)


def _rgb(statistics: dict) -> dict:
    return {key: list(value) for key, value in statistics.items()}
