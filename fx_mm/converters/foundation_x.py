"""Weights of the authors' Foundation X under fx_mm's names."""

import re
from collections.abc import Mapping
from functools import cache

import torch
from mmdet.models.backbones.swin import swin_converter
from torch import Tensor

from fx_mm.converters.converted_weights import ConvertedWeights
from fx_mm.models.foundation_x import FoundationX
from fx_mm.tasks import all_kinds
from fx_mm.utils.errors import UserError

DATASETS = (
    'tbx11k',
    'node21',
    'candid_ptx',
    'rsna',
    'chestx_det',
    'siim_acr',
    'chexpert',
    'nih14',
    'vindr_cxr',
    'shenzhen',
    'mimic_cxr',
)
"""Dataset of each head by the authors' index; boxes and masks: the first 6."""

FFN = dict(linear1='ffn.layers.0.0', linear2='ffn.layers.1')
GROUPS = dict(
    dataset={str(i): name for i, name in enumerate(DATASETS)},
    task={
        str(i): f'localization.tasks.{name}'
        for i, name in enumerate(DATASETS[:6])
    },
    mlp={'0': '0', '1': '2', '2': '4'},
    encoder_layer=dict(
        FFN, self_attn='self_attn', norm1='norms.0', norm2='norms.1'
    ),
    # The authors number the norms as they are created, mmdet as they are
    # used: self attention, cross attention, FFN.
    decoder_layer=dict(
        FFN,
        self_attn='self_attn.attn',
        cross_attn='cross_attn',
        norm2='norms.0',
        norm1='norms.1',
        norm3='norms.2',
    ),
)
"""Values of ``<name>`` in a key of the authors, and in fx_mm's name."""

PPN, FPN = 'backbone.0.segmentation_PPN', 'backbone.0.segmentation_FPN'
ENCODER, MASKS = 'localization.encoder', 'segmentation.decoder'
RULES = {
    'backbone.0.norm.<rest>': 'classification.norms.0.<rest>',
    'backbone.0.classification_heads.<dataset>.<rest>': (
        'classification.heads.<dataset>.fc.<rest>'
    ),
    f'{PPN}.stages.<i>.1.<rest>': f'{MASKS}.ppm.<i>.1.conv.<rest>',
    f'{PPN}.stages.<i>.2.<rest>': f'{MASKS}.ppm.<i>.1.bn.<rest>',
    f'{PPN}.bottleneck.0.<rest>': f'{MASKS}.bottleneck.conv.<rest>',
    f'{PPN}.bottleneck.1.<rest>': f'{MASKS}.bottleneck.bn.<rest>',
    f'{FPN}.conv1x1.0.<rest>': f'{MASKS}.laterals.1.<rest>',
    f'{FPN}.conv1x1.1.<rest>': f'{MASKS}.laterals.2.<rest>',
    f'{FPN}.conv1x1.2.<rest>': f'{MASKS}.laterals.3.<rest>',
    f'{FPN}.smooth_conv.<i>.<rest>': f'{MASKS}.smooth.<rest>',
    f'{FPN}.conv_fusion.0.<rest>': f'{MASKS}.fuse.conv.<rest>',
    f'{FPN}.conv_fusion.1.<rest>': f'{MASKS}.fuse.bn.<rest>',
    'backbone.0.segmentation_heads.<dataset>.<rest>': (
        'segmentation.heads.<dataset>.<rest>'
    ),
    'backbone.0.Locnorm1.<rest>': f'{ENCODER}.norms.0.<rest>',
    'backbone.0.Locnorm2.<rest>': f'{ENCODER}.norms.1.<rest>',
    'backbone.0.Locnorm3.<rest>': f'{ENCODER}.norms.2.<rest>',
    'input_proj.3.0.<rest>': f'{ENCODER}.neck.extra_convs.0.conv.<rest>',
    'input_proj.3.1.<rest>': f'{ENCODER}.neck.extra_convs.0.gn.<rest>',
    'input_proj.<i>.0.<rest>': f'{ENCODER}.neck.convs.<i>.conv.<rest>',
    'input_proj.<i>.1.<rest>': f'{ENCODER}.neck.convs.<i>.gn.<rest>',
    'label_enc.<rest>': 'localization.label_embedding.<rest>',
    'transformer.tgt_embed.<rest>': 'localization.queries.<rest>',
    'transformer.level_embed': f'{ENCODER}.level_embed',
    'transformer.encoder.layers.<i>.<encoder_layer>.<rest>': (
        f'{ENCODER}.encoder.layers.<i>.<encoder_layer>.<rest>'
    ),
    'transformer.decoder.<task>.layers.<i>.<decoder_layer>.<rest>': (
        '<task>.decoder.layers.<i>.<decoder_layer>.<rest>'
    ),
    'transformer.decoder.<task>.norm.<rest>': '<task>.decoder.norm.<rest>',
    'transformer.decoder.<task>.ref_point_head.<rest>': (
        '<task>.decoder.ref_point_head.<rest>'
    ),
    'transformer.enc_outputMem_LinearProjection.<task>.<rest>': (
        '<task>.memory_projection.<rest>'
    ),
    'transformer.enc_output.<task>.<rest>': '<task>.selection.0.<rest>',
    'transformer.enc_output_norm.<task>.<rest>': '<task>.selection.1.<rest>',
    'transformer.enc_out_class_embed.<task>.<rest>': (
        '<task>.head.proposal_cls_branch.<rest>'
    ),
    'transformer.enc_out_bbox_embed.<task>.layers.<mlp>.<rest>': (
        '<task>.head.proposal_box_branch.<mlp>.<rest>'
    ),
    # inside the decoder, and the same again outside
    'transformer.decoder.<task>.bbox_embed.<i>.layers.<mlp>.<rest>': (
        '<task>.head.box_branch.<mlp>.<rest>'
    ),
    'bbox_embed.<task>.<i>.layers.<mlp>.<rest>': (
        '<task>.head.box_branch.<mlp>.<rest>'
    ),
    'bbox_embed_.<task>.<i>.layers.<mlp>.<rest>': (
        '<task>.head.output_box_branch.<mlp>.<rest>'
    ),
    'class_embed_.<task>.<i>.<rest>': '<task>.head.cls_branch.<rest>',
}
"""The authors' key and fx_mm's name; the first that fits counts."""

UNUSED = {
    'backbone.0.Segnorm<i>.<rest>': 'the authors never apply these norms',
    'backbone.0.head.<rest>': 'the authors never apply this head',
    'transformer.decoder.<task>.class_embed.<i>.<rest>': (
        'the decoder refines boxes and has no use for classes'
    ),
    'class_embed.<task>.<i>.<rest>': (
        'the decoder refines boxes and has no use for classes'
    ),
}


@cache
def _pattern(template: str) -> re.Pattern[str]:
    def group(match: re.Match[str]) -> str:
        name = match[1]
        plain = dict(i=r'\d+', rest=r'.+').get(name)
        return f'(?P<{name}>{plain or "|".join(GROUPS[name])})'

    return re.compile(re.sub(r'<(\w+)>', group, template.replace('.', r'\.')))


def _fill(template: str, match: re.Match[str]) -> str:
    """Return fx_mm's name with the groups of a key filled in."""

    def group(wanted: re.Match[str]) -> str:
        value = match[wanted[1]]
        return GROUPS.get(wanted[1], {}).get(value, value)

    return re.sub(r'<(\w+)>', group, template)


def convert_foundation_x(
    state_dict: Mapping[str, Tensor], model: FoundationX
) -> ConvertedWeights:
    """Map the authors' weights to the names of a model.

    Heads are matched by dataset: the authors' index ``i`` is
    ``DATASETS[i]``. Everything of ``foundation-x_swin-b_released.py`` is
    found; a model with fewer datasets, or without the released options,
    leaves some keys unused.

    Args:
        state_dict (Mapping[str, Tensor]): ``model`` or ``teacher_model`` of
            an authors' checkpoint, with or without the prefix ``module.``.
        model (FoundationX): Gives names and shapes; it is not changed.

    Returns:
        ConvertedWeights: For ``model.load_state_dict``, and what is left.

    Raises:
        UserError: If a key is not the authors', a shape differs, or weights
            that are one in the model differ.
    """
    wanted = model.state_dict()
    sources: dict[str, str] = {}
    result = ConvertedWeights()
    for original, value in state_dict.items():
        key = original.removeprefix('module.')
        reason = _unused(key)
        if reason is not None:
            result.unused[original] = reason
            continue
        name, value = _rename(key, value)
        if name not in wanted:
            result.unused[original] = _absent(name, model)
        elif name in sources:
            if not torch.equal(value, result.state_dict[name]):
                raise UserError(
                    f'The weights "{original}" and "{sources[name]}" differ, '
                    f'but are one in the model ("{name}"); the checkpoint '
                    'is not one of Foundation X.'
                )
            result.unused[original] = f'the same as {sources[name]}'
        else:
            _check(original, name, value, wanted[name])
            sources[name] = original
            result.state_dict[name] = value
    result.missing = tuple(name for name in wanted if name not in sources)
    return result


def _unused(key: str) -> str | None:
    for template, reason in UNUSED.items():
        if _pattern(template).fullmatch(key):
            return reason
    return None


def _rename(key: str, value: Tensor) -> tuple[str, Tensor]:
    """Return fx_mm's name of a key, and the value in mmdet's order."""
    if re.match(r'backbone\.0\.(patch_embed|layers)\.', key):
        swin = swin_converter({key.removeprefix('backbone.0.'): value})
        return next(iter(swin.items()))
    for template, name in RULES.items():
        match = _pattern(template).fullmatch(key)
        if match:
            return _fill(name, match), value
    raise UserError(
        f'The weights "{key}" are not known from Foundation X; give a '
        'checkpoint of Foundation X (Foundation X+ has other names).'
    )


def _absent(name: str, model: FoundationX) -> str:
    branch, holder, owner = name.split('.')[:3]
    kinds = {kind.branch: kind for kind in all_kinds()}
    if branch in kinds and holder in ('heads', 'tasks'):
        task = f'{owner}/{kinds[branch].name}'
        if task not in model.task_names:
            return f'the model has no task {task}'
    if not hasattr(model, branch):
        return f'the model has no {branch} branch'
    return f'the model has no {name}'


def _check(original: str, name: str, value: Tensor, wanted: Tensor) -> None:
    if value.shape != wanted.shape:
        raise UserError(
            f'The weights "{original}" have the shape {tuple(value.shape)}, '
            f'but "{name}" of the model has {tuple(wanted.shape)}; use '
            "foundation-x_swin-b_released.py and the authors' classes."
        )
    table = name.endswith('relative_position_index')
    if table and not torch.equal(value.to(wanted), wanted):
        raise UserError(
            f'The table "{original}" is not the one of a Swin transformer; '
            'the checkpoint is not one of Foundation X.'
        )
