"""Vision transformers by others' names: shapes, and maps in plain torch.

What their weights mean, written from their names alone: no part of mmpretrain
or fx_mm is used.
"""

import math

import torch
import torch.nn.functional as F
from made_up_weights import conv, filled, linear, norm

DIMS, HEADS, LAYERS, HIDDEN = 16, 2, 2, 24
EPS = 1e-6


def tokens(count, **names):
    return {name: (*shape, DIMS) for name, shape in names.items()} | {
        'pos_embed': (1, count, DIMS)
    }


def dinov2_shapes(side=4, patch=14, registers=0, gated=False):
    """DINOv2's own, as CheXFound's: a gated layer and registers by choice."""
    shapes = tokens(side**2 + 1, cls_token=(1, 1), mask_token=(1,))
    if registers:
        shapes['register_tokens'] = (1, registers, DIMS)
    shapes |= conv('patch_embed.proj', DIMS, 3, patch)
    for index in range(LAYERS):
        block = f'blocks.{index}.'
        shapes |= norm(f'{block}norm1', DIMS)
        shapes |= linear(f'{block}attn.qkv', 3 * DIMS, DIMS)
        shapes |= linear(f'{block}attn.proj', DIMS, DIMS)
        shapes |= {f'{block}ls{i}.gamma': (DIMS,) for i in (1, 2)}
        shapes |= norm(f'{block}norm2', DIMS)
        if gated:
            shapes |= linear(f'{block}mlp.w12', 2 * HIDDEN, DIMS)
            shapes |= linear(f'{block}mlp.w3', DIMS, HIDDEN)
        else:
            shapes |= linear(f'{block}mlp.fc1', HIDDEN, DIMS)
            shapes |= linear(f'{block}mlp.fc2', DIMS, HIDDEN)
    return shapes | norm('norm', DIMS)


def hugging_face(weights):
    """The same weights as Dinov2Model of transformers saves them."""
    renamed = {
        'embeddings.cls_token': weights['cls_token'],
        'embeddings.mask_token': weights['mask_token'],
        'embeddings.position_embeddings': weights['pos_embed'],
    }
    for end in ('weight', 'bias'):
        key = f'embeddings.patch_embeddings.projection.{end}'
        renamed[key] = weights[f'patch_embed.proj.{end}']
        renamed[f'layernorm.{end}'] = weights[f'norm.{end}']
    for index in range(LAYERS):
        block, layer = f'blocks.{index}.', f'encoder.layer.{index}.'
        for end in ('weight', 'bias'):
            parts = weights[f'{block}attn.qkv.{end}'].chunk(3)
            for name, part in zip(('query', 'key', 'value'), parts):
                renamed[f'{layer}attention.attention.{name}.{end}'] = part
            for theirs, name in (
                ('attn.proj', 'attention.output.dense'),
                *((name, name) for name in ('norm1', 'norm2')),
                *((name, name) for name in ('mlp.fc1', 'mlp.fc2')),
            ):
                key = f'{layer}{name}.{end}'
                renamed[key] = weights[f'{block}{theirs}.{end}']
        for i in (1, 2):
            key = f'{layer}layer_scale{i}.lambda1'
            renamed[key] = weights[f'{block}ls{i}.gamma']
    return {name: value.clone() for name, value in renamed.items()}


def eva_shapes(base=False, side=4, patch=16):
    """EVA-X in timm's names: tiny and small, or base."""
    shapes = tokens(side**2 + 1, cls_token=(1, 1))
    shapes |= conv('patch_embed.proj', DIMS, 3, patch)
    for index in range(LAYERS):
        block = f'blocks.{index}.'
        shapes |= norm(f'{block}norm1', DIMS)
        if base:
            for part in 'qkv':
                name = f'{block}attn.{part}_proj'
                shapes |= linear(name, DIMS, DIMS, part != 'k')
            shapes |= linear(f'{block}mlp.fc1_g', HIDDEN, DIMS)
            shapes |= linear(f'{block}mlp.fc1_x', HIDDEN, DIMS)
            shapes |= norm(f'{block}mlp.norm', HIDDEN)
        else:
            shapes |= linear(f'{block}attn.qkv', 3 * DIMS, DIMS, False)
            shapes |= {f'{block}attn.{p}_bias': (DIMS,) for p in 'qv'}
            shapes |= linear(f'{block}mlp.fc1', 2 * HIDDEN, DIMS)
        shapes |= linear(f'{block}attn.proj', DIMS, DIMS)
        shapes |= norm(f'{block}norm2', DIMS)
        shapes |= linear(f'{block}mlp.fc2', DIMS, HIDDEN)
    return shapes | norm('norm', DIMS)


def original_eva(weights):
    """The names of EVA-02's own code, before timm."""
    pairs = {
        'mlp.fc1_g': 'mlp.w1',
        'mlp.fc1_x': 'mlp.w2',
        'mlp.fc1.': 'mlp.w12.',
        'mlp.norm': 'mlp.ffn_ln',
        'mlp.fc2': 'mlp.w3',
        'q_proj.bias': 'q_bias',
        'v_proj.bias': 'v_bias',
    }
    renamed = {}
    for name, value in weights.items():
        for theirs, ours in pairs.items():
            name = name.replace(theirs, ours)
        renamed[name] = value
    renamed['rope.freqs_cos'] = torch.zeros(16, 8)
    renamed['mask_token'] = torch.zeros(1, 1, DIMS)
    return renamed | filled(linear('lm_head', 5, DIMS))


def ln(weights, name, x):
    w, b = weights[f'{name}.weight'], weights[f'{name}.bias']
    return F.layer_norm(x, (len(w),), w, b, EPS)


def fc(weights, name, x):
    return x @ weights[f'{name}.weight'].T + weights[f'{name}.bias']


def embed(weights, images):
    """Class, registers and patches, with positions of the same grid."""
    w = weights['patch_embed.proj.weight']
    x = F.conv2d(images, w, weights['patch_embed.proj.bias'], w.shape[2])
    x = x.flatten(2).transpose(1, 2) + weights['pos_embed'][:, 1:]
    first = weights['cls_token'] + weights['pos_embed'][:, :1]
    extra = [first, weights.get('register_tokens', first[:, :0])]
    return torch.cat([*(e.expand(len(x), -1, -1) for e in extra), x], 1)


def split(x):
    return x.unflatten(2, (HEADS, -1)).transpose(1, 2)


def attend(q, k, v):
    scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[3])
    return (scores.softmax(3) @ v).transpose(1, 2).flatten(2)


def dinov2_map(weights, images):
    """Normed patches (B, patches, C) of DINOv2's weights."""
    x = embed(weights, images)
    for index in range(LAYERS):
        at = f'blocks.{index}.'
        qkv = fc(weights, f'{at}attn.qkv', ln(weights, f'{at}norm1', x))
        y = fc(weights, f'{at}attn.proj', attend(*map(split, qkv.chunk(3, 2))))
        x = x + y * weights[f'{at}ls1.gamma']
        y = ln(weights, f'{at}norm2', x)
        if f'{at}mlp.w12.weight' in weights:
            gate, value = fc(weights, f'{at}mlp.w12', y).chunk(2, 2)
            y = fc(weights, f'{at}mlp.w3', gate * gate.sigmoid() * value)
        else:
            y = fc(weights, f'{at}mlp.fc1', y)
            y = fc(weights, f'{at}mlp.fc2', F.gelu(y))
        x = x + y * weights[f'{at}ls2.gamma']
    registers = weights.get('register_tokens', images.new_empty(1, 0))
    return ln(weights, 'norm', x)[:, 1 + registers.shape[1] :]


def turn(x, side, reference):
    """Rotate (B, heads, 1 + side², D) as complex numbers, but the class."""
    dims = x.shape[3] // 2
    bands = 10000.0 ** (-torch.arange(0, dims, 2) / dims)
    places = torch.arange(side) * reference / side
    rows = (places[:, None] * bands).repeat_interleave(side, 0)
    columns = (places[:, None] * bands).repeat(side, 1)
    angles = torch.cat((rows, columns), 1)
    patches = torch.view_as_complex(x[:, :, 1:].unflatten(3, (-1, 2)))
    turned = patches * torch.polar(torch.ones_like(angles), angles)
    return torch.cat((x[:, :, :1], torch.view_as_real(turned).flatten(3)), 2)


def eva_map(weights, images, reference):
    """Normed patches (B, patches, C) of EVA-X's weights."""
    x = embed(weights, images)
    side = round((x.shape[1] - 1) ** 0.5)
    for index in range(LAYERS):
        at = f'blocks.{index}.'
        y = ln(weights, f'{at}norm1', x)
        if f'{at}attn.qkv.weight' in weights:
            q, k, v = (y @ weights[f'{at}attn.qkv.weight'].T).chunk(3, 2)
            q = q + weights[f'{at}attn.q_bias']
            v = v + weights[f'{at}attn.v_bias']
        else:
            q, v = (fc(weights, f'{at}attn.{p}_proj', y) for p in 'qv')
            k = y @ weights[f'{at}attn.k_proj.weight'].T
        q, k = (turn(split(part), side, reference) for part in (q, k))
        x = x + fc(weights, f'{at}attn.proj', attend(q, k, split(v)))
        y = ln(weights, f'{at}norm2', x)
        if f'{at}mlp.fc1.weight' in weights:
            y = (
                F.silu((both := fc(weights, f'{at}mlp.fc1', y).chunk(2, 2))[0])
                * both[1]
            )
        else:
            gate = F.silu(fc(weights, f'{at}mlp.fc1_g', y))
            y = gate * fc(weights, f'{at}mlp.fc1_x', y)
            y = ln(weights, f'{at}mlp.norm', y)
        x = x + fc(weights, f'{at}mlp.fc2', y)
    return ln(weights, 'norm', x)[:, 1:]


def made_up(shapes, seed=0):
    """Weights of moderate size, so that nothing saturates."""
    return {k: 0.3 * v for k, v in filled(shapes, seed).items()}


def vit_cfg(gated=False, registers=0, **options):
    """PlainViT of these sizes."""
    arch = dict(
        embed_dims=DIMS,
        num_layers=LAYERS,
        num_heads=HEADS,
        # mmpretrain takes 2/3 of it for a gated layer, in eights
        feedforward_channels=36 if gated else HIDDEN,
    )
    cfg = dict(
        type='PlainViT',
        arch=arch,
        patch_size=14,
        img_size=56,
        layer_scale_init_value=1e-5,
        num_registers=registers,
    )
    if gated:
        cfg['layer_cfgs'] = dict(ffn_type='swiglu_fused')
    return cfg | options


def eva_cfg(base=False, **options):
    """RotaryViT of these sizes."""
    arch = dict(
        embed_dims=DIMS,
        num_layers=LAYERS,
        num_heads=HEADS,
        feedforward_channels=HIDDEN,
    )
    cfg = dict(type='RotaryViT', arch=arch, patch_size=16, img_size=64)
    return cfg | dict(sub_ln=base) | options
