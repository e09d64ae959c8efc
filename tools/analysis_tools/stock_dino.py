"""mmdet's own DINO from the dicts of a localization branch."""

import copy
from typing import Any

from mmdet.models import detectors
from mmdet.registry import MODELS as MMDET
from mmengine.registry import DefaultScope

from fx_mm.models.layers.dino_config import DEFORMABLE, DINO, dino_config
from fx_mm.tasks.kinds import IMAGENET


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
    backbone = copy.deepcopy(dict(student['backbone']))
    backbone['out_indices'] = tuple(localization.get('stages', (1, 2, 3)))
    backbone.pop('init_cfg', None)
    if backbone['type'] == 'FusedSwinTransformer':
        backbone['type'] = 'mmdet.SwinTransformer'
        for ours in ('shift_last_stage', 'attention'):
            backbone.pop(ours, None)
    model = dict(
        type=detectors.DINO,
        data_preprocessor=dict(
            type='DetDataPreprocessor',
            **{key: list(value) for key, value in IMAGENET.items()},
        ),
        backbone=backbone,
        **cfg,
    )
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MMDET.build(model)
