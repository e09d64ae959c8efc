"""Checkpoints of other projects by key and shape, and small configs."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from dino_options import dino_options

ARK_WIDTHS = (14, 14, 14, 3, 6, 1)
CLS_WIDTHS = (1, 1, 1, 3, 13, 1, 14, 14, 6, 1, 14)
MASK_WIDTHS = (1, 1, 1, 1, 13, 1)


@dataclass
class Swin:
    """Sizes of a Swin; by default a tiny one for images of 64 px."""

    dims: int = 8
    depths: tuple = (2, 2, 2, 2)
    heads: tuple = (1, 2, 4, 8)
    window: int = 2
    size: int = 64


TINY = Swin()
SWIN_B = Swin(128, (2, 2, 18, 2), (4, 8, 16, 32), 7, 224)
SWIN_L_768 = Swin(192, (2, 2, 18, 2), (6, 12, 24, 48), 12, 768)
CONFIGS = Path(__file__).parents[2] / 'configs'
FX = 'foundation_x/foundation-x_swin-b_150c.py'
TASKS = {'tasks': ['rsna/cls', 'rsna/loc', 'siim_acr/seg']}
SMALL_SWIN = {
    'model.student.backbone.embed_dims': TINY.dims,
    'model.student.backbone.depths': TINY.depths,
    'model.student.backbone.num_heads': TINY.heads,
    'model.student.backbone.window_size': TINY.window,
    'task_defaults.cls.img_size': TINY.size,
}
SMALL_BOXES = {
    'task_defaults.loc.img_size': TINY.size,
    'task_defaults.seg.img_size': TINY.size,
    **dino_options('model.student.localization', layers=(1, 2), hidden=16),
}
ARK = 'ark/ark6_swin-b_200c.py'
RELEASED = 'foundation_x/foundation-x_swin-b_released.py'


def filled(shapes, seed=0):
    """Random weights of the given shapes."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=generator)
        for name, shape in shapes.items()
    }


def hollow(shapes):
    """Zeros of the given shapes that take no memory."""
    return {k: torch.zeros(()).expand(shape) for k, shape in shapes.items()}


def linear(name, out, inside, bias=True):
    shapes = {f'{name}.weight': (out, inside)}
    return shapes | ({f'{name}.bias': (out,)} if bias else {})


def norm(name, dims):
    return {f'{name}.weight': (dims,), f'{name}.bias': (dims,)}


def conv(name, out, inside, side, bias=True):
    shapes = {f'{name}.weight': (out, inside, side, side)}
    return shapes | ({f'{name}.bias': (out,)} if bias else {})


def swin_stages(swin, begins=False):
    """``patch_embed`` and ``layers``; no buffers."""
    shapes = conv('patch_embed.proj', swin.dims, 3, 4)
    shapes |= norm('patch_embed.norm', swin.dims)
    for stage, (depth, heads) in enumerate(zip(swin.depths, swin.heads)):
        dims = swin.dims * 2**stage
        for index in range(depth):
            block = f'layers.{stage}.blocks.{index}.'
            table = f'{block}attn.relative_position_bias_table'
            shapes |= norm(f'{block}norm1', dims)
            shapes[table] = ((2 * swin.window - 1) ** 2, heads)
            shapes |= linear(f'{block}attn.qkv', 3 * dims, dims)
            shapes |= linear(f'{block}attn.proj', dims, dims)
            shapes |= norm(f'{block}norm2', dims)
            shapes |= linear(f'{block}mlp.fc1', 4 * dims, dims)
            shapes |= linear(f'{block}mlp.fc2', dims, 4 * dims)
        if stage < len(swin.depths) - 1:
            merging = f'layers.{stage + begins}.downsample'
            shapes |= linear(f'{merging}.reduction', 2 * dims, 4 * dims, False)
            shapes |= norm(f'{merging}.norm', 4 * dims)
    return shapes


def swin_buffers(swin):
    """What timm before 0.9 and Microsoft store beside the parameters."""
    shapes = {}
    area = swin.window**2
    for stage, depth in enumerate(swin.depths):
        side = swin.size // 4 // 2**stage
        for index in range(depth):
            block = f'layers.{stage}.blocks.{index}.'
            shapes[f'{block}attn.relative_position_index'] = (area, area)
            if index % 2 and side > swin.window:
                windows = math.ceil(side / swin.window) ** 2
                shapes[f'{block}attn_mask'] = (windows, area, area)
    return shapes


def last_dims(swin):
    return swin.dims * 2 ** (len(swin.depths) - 1)


def new_timm(swin=TINY, labels=5):
    """timm 0.9 and later."""
    last = last_dims(swin)
    shapes = swin_stages(swin, begins=True) | norm('norm', last)
    return shapes | linear('head.fc', labels, last)


def old_timm(swin=TINY, labels=5):
    """timm before 0.9; the same below ``model`` is Microsoft's."""
    last = last_dims(swin)
    shapes = swin_stages(swin) | swin_buffers(swin) | norm('norm', last)
    return shapes | linear('head', labels, last)


def simmim(swin=TINY):
    """A pretraining of SimMIM, for below ``model``."""
    last = last_dims(swin)
    shapes = swin_stages(swin) | swin_buffers(swin) | norm('norm', last)
    shapes['mask_token'] = (1, 1, swin.dims)
    shapes = {f'encoder.{name}': shape for name, shape in shapes.items()}
    return shapes | conv('decoder.0', 32 * 32 * 3, last, 1)


def ark(swin=TINY, widths=ARK_WIDTHS, projector='linear', dims=1376):
    """The teacher of an Ark."""
    last = last_dims(swin)
    shapes = old_timm(swin, labels=1000)
    if projector == 'linear':
        shapes |= linear('projector', dims, last)
    elif projector == 'mlp':
        shapes |= linear('projector.0', dims, last)
        shapes |= linear('projector.2', dims, dims)
    else:
        dims = last
    for index, width in enumerate(widths):
        shapes |= linear(f'omni_heads.{index}', width, dims)
    return shapes


def mlp(name, *widths):
    shapes = {}
    for index, (inside, out) in enumerate(zip(widths, widths[1:])):
        shapes |= linear(f'{name}.layers.{index}', out, inside)
    return shapes


def batch_norm(name, dims):
    shapes = norm(name, dims)
    for buffer in ('running_mean', 'running_var'):
        shapes[f'{name}.{buffer}'] = (dims,)
    shapes[f'{name}.num_batches_tracked'] = ()
    return shapes


def deformable(name, dims, points=128):
    shapes = linear(f'{name}.sampling_offsets', 2 * points, dims)
    shapes |= linear(f'{name}.attention_weights', points, dims)
    shapes |= linear(f'{name}.value_proj', dims, dims)
    return shapes | linear(f'{name}.output_proj', dims, dims)


def foundation_x(swin=SWIN_B, layers=6, hidden=2048, queries=900):
    """A state dict of the authors' Foundation X; 256 wide, as theirs."""
    d, tasks = 256, range(6)
    widths = [swin.dims * 2**stage for stage in range(4)]
    last = widths[-1]
    body = swin_stages(swin)
    body |= {
        name: shape
        for name, shape in swin_buffers(swin).items()
        if 'attn_mask' not in name
    }
    for stage in (1, 2, 3):
        body |= norm(f'Locnorm{stage}', widths[stage])
    for stage, width in enumerate(widths):
        body |= norm(f'Segnorm{stage}', width)
    body |= norm('norm', last) | linear('head', 1, last)
    for index, width in enumerate(CLS_WIDTHS):
        body |= linear(f'classification_heads.{index}', width, last)
    ppn, fpn = 'segmentation_PPN', 'segmentation_FPN'
    for scale in range(4):
        stage = f'{ppn}.stages.{scale}'
        body |= conv(f'{stage}.1', last // 4, last, 1, bias=False)
        body |= batch_norm(f'{stage}.2', last // 4)
    body |= conv(f'{ppn}.bottleneck.0', last, 2 * last, 3, bias=False)
    body |= batch_norm(f'{ppn}.bottleneck.1', last)
    fused = widths[0]
    for index, width in enumerate(widths[1:]):
        body |= conv(f'{fpn}.conv1x1.{index}', fused, width, 1)
        body |= conv(f'{fpn}.smooth_conv.{index}', fused, fused, 3)
    body |= conv(f'{fpn}.conv_fusion.0', fused, 4 * fused, 3, bias=False)
    body |= batch_norm(f'{fpn}.conv_fusion.1', fused)
    for index, width in enumerate(MASK_WIDTHS):
        body |= conv(f'segmentation_heads.{index}', width, fused, 3)
    shapes = {f'backbone.0.{name}': shape for name, shape in body.items()}

    for level, width in enumerate((*widths[1:], last)):
        side = 3 if level == 3 else 1
        shapes |= conv(f'input_proj.{level}.0', d, width, side)
        shapes |= norm(f'input_proj.{level}.1', d)
    shapes['label_enc.weight'] = (16, d)
    t = 'transformer.'
    shapes[f'{t}level_embed'] = (4, d)
    shapes[f'{t}tgt_embed.weight'] = (queries, d)
    for layer in range(layers):
        name = f'{t}encoder.layers.{layer}'
        shapes |= deformable(f'{name}.self_attn', d)
        shapes |= norm(f'{name}.norm1', d) | norm(f'{name}.norm2', d)
        shapes |= linear(f'{name}.linear1', hidden, d)
        shapes |= linear(f'{name}.linear2', d, hidden)
    for task in tasks:
        decoder = f'{t}decoder.{task}'
        for layer in range(layers):
            name = f'{decoder}.layers.{layer}'
            shapes |= deformable(f'{name}.cross_attn', d)
            shapes[f'{name}.self_attn.in_proj_weight'] = (3 * d, d)
            shapes[f'{name}.self_attn.in_proj_bias'] = (3 * d,)
            shapes |= linear(f'{name}.self_attn.out_proj', d, d)
            for index in (1, 2, 3):
                shapes |= norm(f'{name}.norm{index}', d)
            shapes |= linear(f'{name}.linear1', hidden, d)
            shapes |= linear(f'{name}.linear2', d, hidden)
            for prefix in (f'{decoder}.', ''):
                k = '' if prefix else f'.{task}'
                shapes |= mlp(f'{prefix}bbox_embed{k}.{layer}', d, d, d, 4)
                shapes |= linear(f'{prefix}class_embed{k}.{layer}', 14, d)
            shapes |= mlp(f'bbox_embed_.{task}.{layer}', d, d, d, 4)
            shapes |= linear(f'class_embed_.{task}.{layer}', 14, d)
        shapes |= norm(f'{decoder}.norm', d)
        shapes |= mlp(f'{decoder}.ref_point_head', 2 * d, d, d)
        shapes |= linear(f'{t}enc_output.{task}', d, d)
        shapes |= norm(f'{t}enc_output_norm.{task}', d)
        projection = f'{t}enc_outputMem_LinearProjection.{task}'
        shapes |= linear(projection, d, d)
        shapes |= mlp(f'{t}enc_out_bbox_embed.{task}', d, d, d, 4)
        shapes |= linear(f'{t}enc_out_class_embed.{task}', 14, d)
    return shapes
