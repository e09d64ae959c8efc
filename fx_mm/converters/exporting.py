"""The backbone of a trained model for timm, mmdet and mmpretrain."""

from typing import Any

from mmdet.models.backbones import SwinTransformer

from fx_mm.converters.publishing import own_meta
from fx_mm.converters.swin import SwinShape, to_timm
from fx_mm.models.backbones import FoundationXBackbone
from fx_mm.tasks import all_kinds
from fx_mm.utils.checkpoint import load_source
from fx_mm.utils.errors import UserError
from fx_mm.version import __version__

TARGETS = ('timm', 'microsoft', 'mmdet', 'mmpretrain')
NORMS = dict(
    timm='classification',
    microsoft='classification',
    mmdet='localization',
    mmpretrain='classification',
)
"""Branch whose norms the backbone of a target brings by default."""
OUTPUT_NORMS = ('localization', 'classification', 'none')
LAST_STAGE = 3


def export_backbone(
    path: str,
    to: str,
    predict_on: str | None = None,
    norms: str | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """Return the Swin of a checkpoint under the names of another package.

    Args:
        path (str): File or URL of a checkpoint of fx_mm.
        to (str): One of :data:`TARGETS`. ``'timm'`` is the form of version
            0.9 and later, ``'microsoft'`` also that of earlier ones.
        predict_on (str, optional): ``'teacher'`` or ``'student'``. Defaults
            to None: as the checkpoint says.
        norms (str, optional): Branch whose norms are put on the outputs, or
            ``'none'``; timm and Microsoft have one on the last stage alone.
            Defaults to None: see :data:`NORMS`.

    Returns:
        tuple: What to save (plain weights for timm, ``model`` for Microsoft,
        ``state_dict`` with names below ``backbone.`` for OpenMMLab), and
        sentences on its use.

    Raises:
        UserError: If the backbone is not a Swin, or the branch has no norm.
    """
    norms = norms or NORMS[to]
    loaded = load_source(path)
    own_meta(loaded, path)
    kinds = {kind.name: kind.branch for kind in all_kinds()}
    branches = {kinds[task['kind']] for task in loaded['meta']['tasks']}
    if norms not in ('none', *branches):
        raise UserError(
            f'Checkpoint "{path}" has no {norms} branch, whose norms the '
            f'backbone for {to} would bring; give --norms none or the '
            'branch that it has.'
        )
    holder = FoundationXBackbone(
        path,
        predict_on=predict_on,
        output_norm=None if norms == 'none' else norms,
    )
    swin = holder.backbone
    if not isinstance(swin, SwinTransformer):
        raise UserError(
            f'The backbone of "{path}" is {type(swin).__name__}, and only a '
            'Swin is renamed for others; in any model of OpenMMLab use '
            "backbone=dict(type='fx_mm.FoundationXBackbone', checkpoint=...)."
        )
    state = {k: v.clone() for k, v in swin.state_dict().items()}
    shape = SwinShape.of(state)
    if shape is None:
        raise UserError(
            f'The backbone of "{path}" has no tables of relative positions, '
            'as every Swin has; export the checkpoint of another model.'
        )
    output_norms = {
        int(stage): norm.state_dict() for stage, norm in holder.norms.items()
    }
    notes = [_shift_note(swin, to)]
    meta = dict(
        fx_mm_version=__version__,
        exported=dict(
            predict_on=holder.predict_on,
            norms=norms,
            embed_dims=shape.embed_dims,
            depths=shape.depths,
            num_heads=shape.num_heads,
            window_size=shape.window_size,
        ),
    )
    if to in ('timm', 'microsoft'):
        if norms != 'none' and LAST_STAGE not in output_norms:
            raise UserError(
                f'The {norms} branch of "{path}" has no norm on the last '
                f'stage, where {to} has its only one; give --norms none.'
            )
        out = to_timm(state, at_stage_begin=to == 'timm')
        for key, value in output_norms.get(LAST_STAGE, {}).items():
            out[f'norm.{key}'] = value.clone()
        if to == 'microsoft':
            return dict(model=out, meta=meta), [n for n in notes if n]
        return out, [n for n in notes if n]
    for stage, norm in output_norms.items():
        state |= {f'norm{stage}.{k}': v.clone() for k, v in norm.items()}
    state_dict = {f'backbone.{key}': value for key, value in state.items()}
    notes.insert(0, _usage(to, shape, sorted(output_norms)))
    return dict(meta=meta, state_dict=state_dict), [n for n in notes if n]


def _usage(to: str, shape: SwinShape, stages: list[int]) -> str:
    """Return how to write the backbone in a config."""
    arch = (
        f'embed_dims={shape.embed_dims}, depths={shape.depths}, '
        f'num_heads={shape.num_heads}'
    )
    arch = arch if to == 'mmdet' else f'arch=dict({arch})'
    prefix = '' if to == 'mmdet' else ", prefix='backbone.'"
    outputs = f', out_indices={tuple(stages)}' if stages else ''
    return (
        f"backbone=dict(type='{to}.SwinTransformer', {arch}, "
        f'window_size={shape.window_size}{outputs}, '
        f"init_cfg=dict(type='Pretrained', checkpoint=OUT{prefix}))"
    )


def _shift_note(swin: SwinTransformer, to: str) -> str:
    """Return where the last stage attends otherwise than in the model."""
    ours = any(block.attn.shift_size for block in swin.stages[-1].blocks)
    if to == 'mmdet':
        return (
            ''
            if ours
            else 'mmdet shifts the windows of the last stage, this model '
            '(shift_last_stage=False) does not: maps of the last stage differ.'
        )
    condition = 'where its map is larger than one window'
    return (
        f'{to} shifts the windows of the last stage {condition}; this model '
        + (
            'always does: at smaller images, maps of the last stage differ.'
            if ours
            else 'never does: at larger images, maps of the last stage differ.'
        )
    )
