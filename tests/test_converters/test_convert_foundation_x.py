"""The authors' names without the authors' files; see also test_golden.py."""

import pytest
import torch
from dino_options import dino_options
from mmdet.models.layers import PatchMerging
from mmengine.config import Config

import fx_mm.models  # noqa: F401
from fx_mm.converters import convert_foundation_x
from fx_mm.registry import MODELS
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError

TASKS = (
    Task('candid_ptx', 'cls', ('Pneumothorax',)),
    Task('candid_ptx', 'loc', ('Pneumothorax',)),
)


def build(tasks=TASKS, **localization):
    cfg = Config(
        dict(
            type='FoundationX',
            tasks=tasks,
            backbone=dict(
                type='mmdet.SwinTransformer',
                embed_dims=8,
                depths=(1, 1, 1, 1),
                num_heads=(1, 1, 2, 2),
                window_size=7,
            ),
            classification=dict(),
            localization=localization,
        )
    )
    cfg.merge_from_dict(
        dino_options('localization', 32, layers=(1, 2), hidden=16)
    )
    return MODELS.build(cfg.to_dict())


@pytest.fixture(scope='module')
def model():
    return build(
        memory_projection=True,
        num_labels=16,
        separate_outputs=True,
        num_logits=14,
        first_label=1,
    )


def test_norms_of_a_decoder_layer_change_their_order(model):
    key = 'transformer.decoder.2.layers.1.{}.weight'
    names = ('norm1', 'norm2', 'norm3', 'cross_attn.value_proj')
    weights = {
        key.format(name): torch.randn(32, 32) if 'attn' in name else
        torch.randn(32)
        for name in names
    }  # fmt: skip
    result = convert_foundation_x(weights, model)
    task = model.localization.tasks.candid_ptx
    model.load_state_dict(result.state_dict, strict=False)
    layer = task.decoder.layers[1]
    # used in this order: self attention, cross attention, FFN
    for norm, name in zip(layer.norms, ('norm2', 'norm1', 'norm3')):
        assert torch.equal(norm.weight, weights[key.format(name)])
    value = weights[key.format('cross_attn.value_proj')]
    assert torch.equal(layer.cross_attn.value_proj.weight, value)


def test_output_heads_and_refining_heads(model):
    weights = {
        f'{prefix}.layers.2.{kind}': torch.randn(shape)
        for prefix in (
            'transformer.decoder.2.bbox_embed.0',
            'bbox_embed_.2.0',
            'transformer.enc_out_bbox_embed.2',
        )
        for kind, shape in (('weight', (4, 32)), ('bias', (4,)))
    }
    weights['class_embed_.2.0.bias'] = torch.randn(14)
    weights['transformer.enc_out_class_embed.2.bias'] = torch.randn(14)
    result = convert_foundation_x(weights, model)
    assert not result.unused
    model.load_state_dict(result.state_dict, strict=False)
    head = model.localization.tasks.candid_ptx.head
    for ours, theirs in (
        (head.box_branch[4], 'transformer.decoder.2.bbox_embed.0.layers.2'),
        (head.output_box_branch[4], 'bbox_embed_.2.0.layers.2'),
        (
            head.proposal_box_branch[4],
            'transformer.enc_out_bbox_embed.2.layers.2',
        ),
        (head.cls_branch, 'class_embed_.2.0'),
        (head.proposal_cls_branch, 'transformer.enc_out_class_embed.2'),
    ):
        assert torch.equal(ours.bias, weights[f'{theirs}.bias'])


def merge_as_microsoft(x, norm, reduction):
    """Patch merging of the original Swin on a map (H, W, C)."""
    corners = [x[i::2, j::2] for j in (0, 1) for i in (0, 1)]
    return reduction(norm(torch.cat(corners, dim=-1)))


def test_patch_merging_gives_the_same_numbers(model):
    norm = torch.nn.LayerNorm(32)
    reduction = torch.nn.Linear(32, 16, bias=False)
    for parameter in norm.parameters():
        torch.nn.init.normal_(parameter)
    weights = {}
    for name, module in (('norm', norm), ('reduction', reduction)):
        for key, value in module.state_dict().items():
            weights[f'backbone.0.layers.0.downsample.{name}.{key}'] = value
    result = convert_foundation_x(weights, model)
    ours = PatchMerging(8, 16)
    prefix = 'backbone.stages.0.downsample.'
    ours.load_state_dict(
        {k.removeprefix(prefix): v for k, v in result.state_dict.items()}
    )
    x = torch.randn(6, 4, 8)
    wanted = merge_as_microsoft(x, norm, reduction).flatten(0, 1)
    got, _ = ours(x.flatten(0, 1)[None], (6, 4))
    torch.testing.assert_close(got[0], wanted)


def test_what_the_model_lacks_is_named():
    model = build(tasks=TASKS[1:])
    weights = {
        'module.backbone.0.classification_heads.6.bias': torch.ones(14),
        'module.backbone.0.norm.weight': torch.ones(64),
        'module.transformer.enc_output.0.bias': torch.ones(32),
        'module.transformer.enc_outputMem_LinearProjection.2.bias': (
            torch.ones(32)
        ),
        'module.backbone.0.Segnorm0.bias': torch.ones(8),
        'module.class_embed.0.1.bias': torch.ones(14),
        'module.transformer.decoder.0.class_embed.1.bias': torch.ones(14),
    }
    result = convert_foundation_x(weights, model)
    assert not result.state_dict
    assert set(result.missing) == set(model.state_dict())
    name = 'localization.tasks.candid_ptx.memory_projection.bias'
    useless = 'the decoder refines boxes and has no use for classes'
    assert list(result.unused.items()) == list(
        zip(
            weights,
            (
                'the model has no task chexpert/cls',
                'the model has no classification branch',
                'the model has no task tbx11k/loc',
                f'the model has no {name}',
                'the authors never apply these norms',
                useless,
                useless,
            ),
        )
    )


def test_aliases_are_listed_and_must_agree(model):
    value = torch.randn(32)
    keys = (
        'transformer.decoder.2.bbox_embed.0.layers.0.bias',
        'transformer.decoder.2.bbox_embed.1.layers.0.bias',
        'bbox_embed.2.1.layers.0.bias',
    )
    weights = {key: value.clone() for key in keys}
    result = convert_foundation_x(weights, model)
    assert len(result.state_dict) == 1
    assert result.unused == dict.fromkeys(keys[1:], f'the same as {keys[0]}')
    weights[keys[2]] += 1
    with pytest.raises(UserError, match=f'"{keys[2]}" and "{keys[0]}" differ'):
        convert_foundation_x(weights, model)


@pytest.mark.parametrize(
    'key, shape, message',
    [
        ('head.weight', (3,), '"head.weight" are not known'),
        ('transformer.decoder.layers.0.norm1.bias', (32,), 'are not known'),
        ('backbone.0.classification_heads.11.bias', (1,), 'are not known'),
        ('label_enc.weight', (15, 32), r'\(15, 32\), but .* \(16, 32\)'),
        (
            'backbone.0.layers.0.blocks.0.attn.relative_position_index',
            (49, 49),
            'not the one of a Swin',
        ),
    ],
)
def test_foreign_weights_are_refused(model, key, shape, message):
    with pytest.raises(UserError, match=message):
        convert_foundation_x({key: torch.zeros(shape)}, model)
