"""The dicts of mmdet's DINO config: the paper's by default, and checked.

In these dicts a type without a prefix is mmdet's.
"""

import copy
from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

from mmcv.cnn.bricks.transformer import FFN, MultiheadAttention
from mmcv.ops import MultiScaleDeformableAttention
from mmdet.models.layers import (
    CdnQueryGenerator,
    DeformableDetrTransformerDecoderLayer,
    DeformableDetrTransformerEncoder,
    DeformableDetrTransformerEncoderLayer,
    DinoTransformerDecoder,
    SinePositionalEncoding,
)

from fx_mm.ops.sampling import KERNELS
from fx_mm.utils.checks import check_choice, check_keys, check_number
from fx_mm.utils.errors import UserError

DINO = dict(
    num_queries=900,
    num_feature_levels=None,
    with_box_refine=True,
    as_two_stage=True,
    neck=dict(
        type='ChannelMapper',
        kernel_size=1,
        act_cfg=None,
        bias=True,
        norm_cfg=dict(type='GN', num_groups=32),
    ),
    encoder=dict(
        num_layers=6,
        layer_cfg=dict(
            self_attn_cfg=dict(num_heads=8, dropout=0.0),
            ffn_cfg=dict(feedforward_channels=2048, ffn_drop=0.0),
        ),
    ),
    decoder=dict(
        num_layers=6,
        return_intermediate=True,
        layer_cfg=dict(
            self_attn_cfg=dict(num_heads=8),
            cross_attn_cfg=dict(num_heads=8, dropout=0.0),
            ffn_cfg=dict(feedforward_channels=2048, ffn_drop=0.0),
        ),
        post_norm_cfg=None,
    ),
    positional_encoding=dict(normalize=True, offset=0.0, temperature=20),
    bbox_head=dict(
        sync_cls_avg_factor=True,
        loss_cls=dict(
            type='FocalLoss',
            use_sigmoid=True,
            gamma=2.0,
            alpha=0.25,
            loss_weight=1.0,
        ),
        loss_bbox=dict(type='L1Loss', loss_weight=5.0),
        loss_iou=dict(type='GIoULoss', loss_weight=2.0),
    ),
    dn_cfg=dict(
        label_noise_scale=0.5,
        box_noise_scale=1.0,
        group_cfg=dict(dynamic=True, num_groups=None, num_dn_queries=100),
    ),
    train_cfg=dict(
        assigner=dict(
            match_costs=[
                dict(type='FocalLossCost', weight=2.0),
                dict(type='BBoxL1Cost', weight=5.0, box_format='xywh'),
                dict(type='IoUCost', iou_mode='giou', weight=2.0),
            ],
        )
    ),
    test_cfg=dict(max_per_img=300),
)
"""Arguments of ``mmdet.DINO`` as in the paper, without width and levels.

They are those of mmdet's ``dino-4scale_r50_8xb2-12e_coco.py``, but the input
projections have a bias, as the authors' do. Head and assigner have no type:
other ones are subclasses, which take the same.
"""


def _arguments(cls: type) -> set[str]:
    return {*signature(cls).parameters} - {'kwargs'}


LAYER, DECODER_LAYER = 'encoder.layer_cfg', 'decoder.layer_cfg'
ATTENTIONS = (
    f'{LAYER}.self_attn_cfg',
    f'{DECODER_LAYER}.self_attn_cfg',
    f'{DECODER_LAYER}.cross_attn_cfg',
)
WIDTH = {
    'neck.out_channels': 1,
    **{f'{path}.embed_dims': 1 for path in ATTENTIONS},
    f'{LAYER}.ffn_cfg.embed_dims': 1,
    f'{DECODER_LAYER}.ffn_cfg.embed_dims': 1,
    'bbox_head.embed_dims': 1,
    'positional_encoding.num_feats': 2,
}
"""Where the width stands, and how often each value goes into it."""
LEVELS = {
    'neck.num_outs': 1,
    'num_feature_levels': 1,
    f'{LAYER}.self_attn_cfg.num_levels': 1,
    f'{DECODER_LAYER}.cross_attn_cfg.num_levels': 1,
}
DEFORMABLE = (f'{LAYER}.self_attn_cfg', f'{DECODER_LAYER}.cross_attn_cfg')
"""Where ``kernel`` may stand: in one place for both, or in each."""
FIXED = {
    'with_box_refine': True,
    'as_two_stage': True,
    'decoder.return_intermediate': True,
    'decoder.post_norm_cfg': None,
    'bbox_head.sync_cls_avg_factor': True,
    **{f'{path}.batch_first': True for path in ATTENTIONS},
}
"""What DINO has in one form only."""
KEYS: dict[str, set[str]] = {
    'neck': set(),
    'encoder': _arguments(DeformableDetrTransformerEncoder),
    LAYER: _arguments(DeformableDetrTransformerEncoderLayer),
    **{
        path: _arguments(MultiScaleDeformableAttention) | {'kernel'}
        for path in DEFORMABLE
    },
    f'{LAYER}.ffn_cfg': _arguments(FFN),
    'decoder': _arguments(DinoTransformerDecoder),
    DECODER_LAYER: _arguments(DeformableDetrTransformerDecoderLayer),
    f'{DECODER_LAYER}.self_attn_cfg': _arguments(MultiheadAttention)
    | {'bias', 'dropout'},
    f'{DECODER_LAYER}.ffn_cfg': _arguments(FFN),
    'positional_encoding': _arguments(SinePositionalEncoding),
    'bbox_head': set(),
    'dn_cfg': _arguments(CdnQueryGenerator)
    - {'num_classes', 'embed_dims', 'num_matching_queries'},
    'dn_cfg.group_cfg': {'dynamic', 'num_groups', 'num_dn_queries'},
    'train_cfg': {'assigner'},
    'train_cfg.assigner': set(),
    'test_cfg': {'max_per_img'},
}
"""Keys of each dict; none where the class that ``type`` names checks them."""


def dino_config(
    given: Mapping[str, Any], in_channels: Sequence[int]
) -> dict[str, Any]:
    """Complete the dicts of a DINO config.

    A dict goes over the default key by key; where the default has another
    ``type``, it replaces it. Width and number of levels may stand in any of
    their places, or in none (256, 4); the other places follow. So may the
    ``kernel`` of deformable attention, one of :data:`KERNELS`.

    Args:
        given (Mapping[str, Any]): Arguments of ``mmdet.DINO``; None where
            there is nothing to change.
        in_channels (Sequence[int]): Channels of the backbone stages in use.

    Returns:
        dict[str, Any]: All arguments of ``mmdet.DINO`` but ``backbone``,
        ``data_preprocessor`` and the ``num_classes`` of ``bbox_head``.

    Raises:
        UserError: If values contradict each other, or a key is unknown.
    """
    given = {key: value for key, value in given.items() if value is not None}
    cfg = _merge(DINO, given)
    for path, known in KEYS.items():
        entry = _at(cfg, path)
        if not isinstance(entry, dict):
            raise UserError(f'{_name(path)} is {entry!r}; it must be a dict.')
        if known:
            check_keys(entry, known, _name(path))
    for path, wanted in FIXED.items():
        value = _at(cfg, path, wanted)
        if value != wanted:
            raise UserError(
                f'{_name(path)} is {value!r}, but DINO needs {wanted!r}; '
                'remove it.'
            )
    width = _settle(cfg, WIDTH, 256)
    levels = _settle(cfg, LEVELS, 4)
    check_number(_name('neck.num_outs'), levels, len(in_channels))
    _settle_kernel(cfg)
    heads = [f'{path}.num_heads' for path in ATTENTIONS]
    dynamic = _at(cfg, 'dn_cfg.group_cfg.dynamic', True)
    groups = 'num_dn_queries' if dynamic else 'num_groups'
    for path in (
        'num_queries',
        'encoder.num_layers',
        'decoder.num_layers',
        f'dn_cfg.group_cfg.{groups}',
        'test_cfg.max_per_img',
        *heads,
    ):
        check_number(_name(path), _at(cfg, path), 1, whole=True)
    for path in heads:
        if width % _at(cfg, path):
            raise UserError(
                f'{_name(path)} is {_at(cfg, path)}, which does not divide '
                f'the width {width}; change one of them.'
            )
    neck = cfg['neck']
    stated = list(neck.get('in_channels') or in_channels)
    if stated != list(in_channels):
        raise UserError(
            f'{_name("neck.in_channels")} is {stated}, but the stages in use '
            f'have {list(in_channels)}; remove it, or change '
            f'{_name("stages")}.'
        )
    neck['in_channels'] = stated
    cfg['bbox_head'].pop('num_classes', None)
    cfg['bbox_head'].setdefault('type', 'DINOHead')
    cfg['train_cfg']['assigner'].setdefault('type', 'HungarianAssigner')
    return cfg


def _name(path: str) -> str:
    return f'model localization.{path}'


def _at(cfg: Any, path: str, default: Any = None) -> Any:
    """The value at a path."""
    *parents, key = path.split('.')
    for parent in parents:
        cfg = cfg[parent]
    return cfg.get(key, default)


def _put(cfg: dict[str, Any], path: str, value: Any) -> None:
    *parents, key = path.split('.')
    for parent in parents:
        cfg = cfg[parent]
    cfg[key] = value


def _type(cfg: Mapping[str, Any]) -> str | None:
    """Name of the type in a dict, without mmdet's prefix."""
    value = cfg.get('type')
    if value is None:
        return None
    return str(getattr(value, '__name__', value)).removeprefix('mmdet.')


def _merge(
    default: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    before, after = _type(default), _type(given)
    if before and after and before != after:
        default = {}
    merged = copy.deepcopy(dict(default))
    for key, value in given.items():
        if isinstance(value, Mapping):
            before = merged.get(key)
            value = _merge(before if isinstance(before, dict) else {}, value)
        merged[key] = copy.deepcopy(value)
    return merged


def _settle(cfg: dict[str, Any], places: dict[str, int], default: int) -> int:
    """Write one number into all its places.

    Raises:
        UserError: If two of them contradict each other.
    """
    result, first = default, ''
    for path, factor in places.items():
        value = _at(cfg, path)
        if value is None:
            continue
        check_number(_name(path), value, 1, whole=True)
        if first and factor * value != result:
            raise UserError(
                f'{_name(path)} is {value}, but by {_name(first)} it would '
                f'be {result / factor:g}; correct one of them, or leave it '
                'out.'
            )
        result, first = factor * value, first or path
    for path, factor in places.items():
        if result % factor:
            raise UserError(
                f'{_name(first)} is {result}; it must be a multiple of '
                f'{factor}.'
            )
        _put(cfg, path, result // factor)
    return result


def _settle_kernel(cfg: dict[str, Any]) -> None:
    """Check the kernel; what one attention has goes for the other.

    Raises:
        UserError: If it is unknown.
    """
    given = {
        path: kernel
        for path in DEFORMABLE
        if (kernel := _at(cfg, f'{path}.kernel')) is not None
    }
    for path, kernel in given.items():
        check_choice(_name(f'{path}.kernel'), kernel, KERNELS)
    for path in DEFORMABLE if given else ():
        other = next(iter(given.values()))
        _put(cfg, f'{path}.kernel', given.get(path, other))
