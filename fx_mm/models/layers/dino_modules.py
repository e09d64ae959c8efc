"""Decoders and heads from the dicts of a DINO config."""

import copy
from typing import Any

from mmdet.models.dense_heads import DINOHead
from mmdet.models.task_modules.assigners import HungarianAssigner
from mmdet.registry import MODELS as MMDET_MODELS
from mmdet.registry import TASK_UTILS as MMDET_TASK_UTILS
from mmengine.registry import Registry

from fx_mm.models.layers.dino_decoder import TaskDINODecoder
from fx_mm.models.layers.dino_head import TaskDINOHead
from fx_mm.models.task_modules import StackedMatcher
from fx_mm.registry import MODELS, TASK_UTILS
from fx_mm.utils.errors import UserError

SET_BY_HEAD = (
    'train_cfg',
    'share_pred_layer',
    'num_pred_layer',
    'as_two_stage',
)


def build_decoder(cfg: dict[str, Any]) -> TaskDINODecoder:
    """Build a decoder.

    Args:
        cfg (dict[str, Any]): Result of :func:`dino_config`.
    """
    return TaskDINODecoder(**copy.deepcopy(cfg['decoder']))


def build_head(
    cfg: dict[str, Any], num_classes: int, **options: Any
) -> TaskDINOHead:
    """Build the head of a dataset, with its losses and matcher.

    Args:
        cfg (dict[str, Any]): Result of :func:`dino_config`.
        num_classes (int): Number of classes of the dataset.
        **options (Any): Options of :class:`TaskDINOHead` that mmdet's head
            lacks.

    Raises:
        UserError: If the config has another head or matcher than DINO's, or
            says of the head what follows from the rest.
    """
    cfg = copy.deepcopy(cfg)
    head, matcher = cfg['bbox_head'], cfg['train_cfg']['assigner']
    matcher['type'] = _own_class(
        MMDET_TASK_UTILS,
        matcher['type'],
        'train_cfg.assigner',
        HungarianAssigner,
        StackedMatcher,
    )
    limit = cfg['num_queries'] * num_classes
    settings = dict(
        options,
        type=_own_class(
            MMDET_MODELS, head.pop('type'), 'bbox_head', DINOHead, TaskDINOHead
        ),
        num_classes=num_classes,
        num_layers=cfg['decoder']['num_layers'],
        matcher=TASK_UTILS.build(matcher),
        test_cfg=dict(max_per_img=min(cfg['test_cfg']['max_per_img'], limit)),
    )
    for key in (*settings, *SET_BY_HEAD):
        if key in head:
            raise UserError(
                f'model localization.bbox_head.{key} is not read there: '
                'LocalizationBranch sets it, or has it as a key of its own; '
                'move or remove it.'
            )
    return MODELS.build(dict(head, **settings))


def _own_class(
    registry: Registry, value: str | type, path: str, stock: type, ours: type
) -> type:
    """Our class that does the work of mmdet's, or the subclass of it named."""
    found = registry.get(value) if isinstance(value, str) else value
    if found is stock:
        return ours
    if found is None or not issubclass(found, ours):
        raise UserError(
            f'model localization.{path}.type is {value!r}; use '
            f'{stock.__name__}, or a subclass of {ours.__name__} of fx_mm.'
        )
    return found
