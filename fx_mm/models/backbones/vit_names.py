"""Vision transformers under the names of DINOv2, Hugging Face, EVA-02, timm.

Where a name is not a name of mmpretrain's ``VisionTransformer`` or
``ViTEVA02`` with ``vit.`` in front, it says which part of one it is: EVA-02
and Hugging Face have q, k and v apart, EVA-02 also the two halves of the gated
layer.
"""

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

DINOV2, DINOV2_HF, EVA02 = 'dinov2', 'dinov2_hf', 'eva02'
FIRST = re.compile(
    r'(.*?)(patch_embed\.proj|embeddings\.patch_embeddings\.projection)\.weight'
)
"""The patch embedding; before it stands what wrappers put there."""
BLOCK = r'blocks\.(?:\d+\.)?(\d+)\.'
LAYER = r'encoder\.layer\.(\d+)\.'
END = r'\.(weight|bias)'
TO = r'layers.\1.'
Rules = tuple[tuple[str, str], ...]
COMMON: Rules = (
    ('cls_token', 'cls_token'),
    ('pos_embed', 'pos_embed'),
    (f'patch_embed.proj{END}', r'patch_embed.projection.\1'),
    (f'(?:fc_)?norm{END}', r'ln1.\1'),
    (f'{BLOCK}attn.proj{END}', rf'{TO}attn.proj.\2'),
)
RULES: dict[str, Rules] = {
    DINOV2: (
        *COMMON,
        ('register_tokens|reg_token', 'registers'),
        (f'{BLOCK}norm([12]){END}', rf'{TO}ln\2.\3'),
        (f'{BLOCK}attn.qkv{END}', rf'{TO}attn.qkv.\2'),
        (f'{BLOCK}ls1.gamma', rf'{TO}attn.gamma1.weight'),
        (f'{BLOCK}ls2.gamma', rf'{TO}ffn.gamma2.weight'),
        (f'{BLOCK}mlp.fc1{END}', rf'{TO}ffn.layers.0.0.\2'),
        (f'{BLOCK}mlp.fc2{END}', rf'{TO}ffn.layers.1.\2'),
        (f'{BLOCK}mlp.(w12|w3){END}', rf'{TO}ffn.\2.\3'),
    ),
    DINOV2_HF: (
        ('embeddings.cls_token', 'cls_token'),
        ('embeddings.position_embeddings', 'pos_embed'),
        ('embeddings.register_tokens', 'registers'),
        (
            f'embeddings.patch_embeddings.projection{END}',
            r'patch_embed.projection.\1',
        ),
        (f'layernorm{END}', r'ln1.\1'),
        (f'{LAYER}norm([12]){END}', rf'{TO}ln\2.\3'),
        # published files, and those of transformers since version 5
        (
            rf'{LAYER}attention.(?:attention.([qkv])\w+|([qkv])_proj){END}',
            rf'{TO}attn.\2\3.\4',
        ),
        (
            f'{LAYER}attention.(?:output.dense|o_proj){END}',
            rf'{TO}attn.proj.\2',
        ),
        (f'{LAYER}layer_scale1.lambda1', rf'{TO}attn.gamma1.weight'),
        (f'{LAYER}layer_scale2.lambda1', rf'{TO}ffn.gamma2.weight'),
        (f'{LAYER}mlp.fc1{END}', rf'{TO}ffn.layers.0.0.\2'),
        (f'{LAYER}mlp.fc2{END}', rf'{TO}ffn.layers.1.\2'),
        (f'{LAYER}mlp.weights_in{END}', rf'{TO}ffn.w12.\2'),
        (f'{LAYER}mlp.gate_proj{END}', rf'{TO}ffn.w1.\2'),
        (f'{LAYER}mlp.up_proj{END}', rf'{TO}ffn.w2.\2'),
        (f'{LAYER}mlp.(?:weights_out|down_proj){END}', rf'{TO}ffn.w3.\2'),
    ),
    EVA02: (
        *COMMON,
        (f'{BLOCK}norm([12]){END}', rf'{TO}norm\2.\3'),
        (f'{BLOCK}attn.qkv{END}', rf'{TO}attn.qkv.\2'),
        (f'{BLOCK}attn.([qkv])_proj{END}', rf'{TO}attn.\2.\3'),
        (f'{BLOCK}attn.([qkv])_bias', rf'{TO}attn.\2.bias'),
        (f'{BLOCK}mlp.(?:fc1|w12){END}', rf'{TO}mlp.w12.\2'),
        (f'{BLOCK}mlp.(?:fc1_g|w1){END}', rf'{TO}mlp.w1.\2'),
        (f'{BLOCK}mlp.(?:fc1_x|w2){END}', rf'{TO}mlp.w2.\2'),
        (f'{BLOCK}mlp.(?:norm|ffn_ln){END}', rf'{TO}mlp.norm.\2'),
        (f'{BLOCK}mlp.(?:fc2|w3){END}', rf'{TO}mlp.w3.\2'),
    ),
}
"""By family: pattern of a whole key, and the name here."""
UNUSED = (
    (r'(embeddings\.)?mask_token|lm_head\..*', 'of the masked pretraining'),
    (r'(.*\.)?rope\..*', 'follows from the size of the image'),
    (r'(head|head_dist|classifier|pooler)\..*', 'the head of other labels'),
)
"""Keys that a model has no use for, and why."""
FUSED = (
    (r'(.*\.attn\.)([qkv])\.(weight|bias)', 'qkv', 'qkv'),
    (r'(.*\.(?:mlp|ffn)\.)w([12])\.(weight|bias)', '12', 'w12'),
)
"""Parts of one layer: pattern, their order, the name of the layer."""
Found = dict[str, tuple[Tensor, tuple[str, ...]]]


def vit_family(names: Iterable[str]) -> tuple[str, str] | None:
    """Return the family of a vision transformer's names, and their prefix.

    Returns:
        tuple[str, str], optional: ``'dinov2'`` (timm's plain ones too),
        ``'dinov2_hf'`` or ``'eva02'``, and what stands before each name.
        None for another model.
    """
    names = list(names)
    match = next(filter(None, map(FIRST.fullmatch, names)), None)
    if match is None:
        return None
    prefix = match[1]
    inner = [n.removeprefix(prefix) for n in names if n.startswith(prefix)]

    def has(pattern: str) -> bool:
        return any(re.match(pattern, name) for name in inner)

    if match[2].startswith('embeddings'):
        key = r'\.attention\.(attention\.query|q_proj)\.weight'
        found = has(r'encoder\.layer\.0' + key)
        return (DINOV2_HF, prefix) if found else None
    if has(rf'{BLOCK}attn\.(q_bias|q_proj\.weight)'):
        return EVA02, prefix
    if 'pos_embed' in inner and has(rf'{BLOCK}attn\.qkv\.weight'):
        return DINOV2, prefix
    return None


def from_foreign(
    weights: Mapping[str, Tensor],
) -> tuple[Found, dict[str, str]]:
    """Bring a vision transformer to the names of ``PyramidViT``.

    Args:
        weights (Mapping[str, Tensor]): Weights by name.

    Returns:
        tuple: By name here, the weight and the keys that it is of; and the
        other keys with the reason why there is no use for them. Weights of
        another model are returned as they are.
    """
    named = vit_family(weights)
    if named is None:
        return {name: (v, (name,)) for name, v in weights.items()}, {}
    family, prefix = named
    # in a rule, each dot is one
    rules = [
        (re.compile(re.sub(r'(?<!\\)\.', r'\.', rule)), to)
        for rule, to in RULES[family]
    ]
    found: Found = {}
    unused: dict[str, str] = {}
    for key, value in weights.items():
        inner = key.removeprefix(prefix)
        if not key.startswith(prefix):
            unused[key] = 'not of the backbone'
            continue
        matches = ((p.fullmatch(inner), to) for p, to in rules)
        name = next((m.expand(to) for m, to in matches if m), None)
        if name is None or f'vit.{name}' in found:
            unused[key] = _reason(inner)
        else:
            found[f'vit.{name}'] = value, (key,)
    for pattern, order, layer in FUSED:
        found = _fuse(found, pattern, order, layer)
    if 'vit.pos_embed' in found:
        value, keys = found['vit.pos_embed']
        found['vit.pos_embed'] = _with_class(value), keys
    return found, unused


def describe(weights: Mapping[str, Tensor]) -> str:
    """Describe the architecture of a ``PyramidViT``, as its weights show it.

    Args:
        weights (Mapping[str, Tensor]): Under the names here.
    """
    patches = weights['vit.patch_embed.projection.weight']
    layers = {
        match[1]
        for name in weights
        if (match := re.match(r'vit\.layers\.(\d+)\.', name))
    }
    registers = weights.get('vit.registers')
    count = 0 if registers is None else registers.shape[1]
    parts = dict(
        w12='gated layers', gamma1='layer scale', norm='norms in them'
    )
    there = [
        what
        for part, what in parts.items()
        if any(re.search(rf'\.(attn|ffn|mlp)\.{part}\.', n) for n in weights)
    ]
    sides = 'x'.join(map(str, patches.shape[2:]))
    return (
        f'{len(patches)} channels, {len(layers)} layers, patches of {sides} '
        f'px, {count} registers' + ''.join(f', {each}' for each in there)
    )


def _reason(key: str) -> str:
    for pattern, reason in UNUSED:
        if re.fullmatch(pattern, key):
            return reason
    return 'not known from a vision transformer'


def _fuse(found: Found, pattern: str, order: str, layer: str) -> Found:
    """Join the parts of a layer; a bias that one lacks is zero."""
    joined: Found = {}
    groups: dict[str, dict[str, str]] = {}
    for name, entry in found.items():
        match = re.fullmatch(pattern, name)
        if match is None:
            joined[name] = entry
        else:
            whole = f'{match[1]}{layer}.{match[3]}'
            groups.setdefault(whole, {})[match[2]] = name
    for whole, parts in groups.items():
        entries = [found[parts[part]] for part in order if part in parts]
        if len(parts) < len(order) and whole.endswith('.weight'):
            joined.update((name, found[name]) for name in parts.values())
            continue
        zero = torch.zeros_like(entries[0][0])
        values = [found[parts[p]][0] if p in parts else zero for p in order]
        keys = tuple(key for _, each in entries for key in each)
        joined[whole] = torch.cat(values), keys
    return joined


def _with_class(positions: Tensor) -> Tensor:
    """Return positions (1, 1 + patches, C), whether or not the class has one.

    timm adds that of a DINOv2 with registers to the class token itself.
    """
    side = round(positions.shape[1] ** 0.5)
    if side * side != positions.shape[1]:
        return positions
    return torch.cat((torch.zeros_like(positions[:, :1]), positions), 1)
