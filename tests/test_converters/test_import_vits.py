"""RAD-DINO, CheXFound and EVA-X from made-up files of their form."""

import pytest
import torch
import vit_peers as peers
from made_up_weights import CONFIGS, TINY

from fx_mm.apis import expand_config, load_config
from fx_mm.converters.foreign_checkpoint import read_foreign
from fx_mm.converters.importing import default_config, import_checkpoint
from fx_mm.models import build_backbone, build_model
from fx_mm.models.backbones import PlainViT
from fx_mm.utils.errors import UserError
from fx_mm.utils.weight_files import dump_safetensors

CONFIG = 'foundation_x/foundation-x_vit-b_518px.py'
START = ['classification']


@pytest.fixture
def config(_leave_scope):
    """Read the shipped config with a tiny vision transformer."""

    def read(vit=None, name=CONFIG, **options):
        small = {
            'tasks': ['rsna/cls'],
            'task_defaults.cls.img_size': TINY.size,
            **options,
        }
        if vit is not None:
            vit = dict(_delete_=True, **vit)
            small['model.student.backbone.vit'] = vit
        return load_config(str(CONFIGS / name), small)

    return read


@pytest.fixture
def bring(tmp_path, config):
    def run(content, vit=None, **options):
        path = tmp_path / 'source.pth'
        torch.save(content, path)
        cfg = config(vit, **options)
        return import_checkpoint(read_foreign(str(path)), cfg), cfg

    return run


def rad_dino():
    weights = peers.made_up(peers.dinov2_shapes())
    return weights, peers.hugging_face(weights), peers.vit_cfg()


def chexfound():
    shapes = peers.dinov2_shapes(patch=16, registers=4, gated=True)
    weights = peers.made_up(shapes)
    content = {f'backbone.{name}': value for name, value in weights.items()}
    content['dino_head.last_layer.weight_v'] = torch.zeros(5, 3)
    vit = peers.vit_cfg(True, 4, patch_size=16, img_size=64)
    return weights, dict(teacher=content), vit


def eva_x():
    weights = peers.made_up(peers.eva_shapes())
    return weights, dict(model=weights), peers.eva_cfg()


def eva_x_base():
    return None, peers.made_up(peers.eva_shapes(base=True)), None


@pytest.mark.parametrize(
    'source, family, side',
    [
        (rad_dino, 'dinov2_hf', 56),
        (chexfound, 'dinov2', 64),
        (eva_x, 'eva02', 64),
    ],
)
def test_the_whole_way(bring, tmp_path, source, family, side):
    """The file that is written gives the maps that the source's weights do."""
    weights, content, vit = source()
    result, cfg = bring(content, vit)
    assert result.source.family == family
    result.check(START)
    result.save(tmp_path / 'out.pth')
    model = build_model(expand_config(cfg))
    saved = torch.load(tmp_path / 'out.pth')['state_dict']
    model.student.load_state_dict(saved, strict=False)
    x = torch.randn(1, 3, side, side)
    expected = (
        peers.eva_map(weights, x, 4)
        if family == 'eva02'
        else peers.dinov2_map(weights, x)
    )
    with torch.no_grad():
        found = model.student.eval().extract_feat(x)[2]
    torch.testing.assert_close(
        found.flatten(2).transpose(1, 2), expected, rtol=1e-4, atol=1e-5
    )
    (row,) = (row for row in result.rows if row.name == 'backbone')
    assert row.missing == 0
    assert 'feature pyramid of the backbone starts at random' in (
        result.report()
    )
    named = [*content] if family == 'dinov2_hf' else []
    assert set(result.unused) <= {
        *named,
        'backbone.mask_token',
        'dino_head.last_layer.weight_v',
    }


def test_nothing_in_it(tmp_path):
    torch.save({}, tmp_path / 'x.pth')
    with pytest.raises(UserError, match='no weights'):
        read_foreign(str(tmp_path / 'x.pth'))


def test_the_config_is_to_be_named(tmp_path):
    torch.save(rad_dino()[1], tmp_path / 'x.pth')
    with pytest.raises(UserError, match='--config'):
        default_config(read_foreign(str(tmp_path / 'x.pth')))


def test_safetensors_and_positions_of_another_size(tmp_path, config):
    weights, content, vit = rad_dino()
    path = tmp_path / 'model.safetensors'
    path.write_bytes(dump_safetensors(content, {}))
    cfg = config(dict(vit, img_size=84))
    result = import_checkpoint(read_foreign(str(path)), cfg)
    assert 'interpolated from 17 to 37 tokens' in result.report()
    name = 'backbone.vit.pos_embed'
    found = result.checkpoint['state_dict'][name]
    assert found.shape == (1, 37, peers.DIMS)
    assert torch.equal(found[:, 0], weights['pos_embed'][:, 0])


def test_weights_from_the_config(tmp_path, config):
    """``init_cfg`` reads the same files."""
    weights, content, vit = rad_dino()
    path = tmp_path / 'model.safetensors'
    path.write_bytes(dump_safetensors(content, {}))
    key = 'model.student.backbone.init_cfg.checkpoint'
    model = build_model(expand_config(config(vit, **{key: str(path)})))
    model.init_weights()
    for half in (model.student, model.teacher):
        found = half.backbone.vit.layers[0].attn.qkv.weight
        assert torch.equal(found, weights['blocks.0.attn.qkv.weight'])


@pytest.mark.parametrize(
    'source, vit, message',
    [
        (rad_dino, peers.vit_cfg(registers=4), '0 registers.*4 registers'),
        (rad_dino, peers.vit_cfg(patch_size=16), '14x14 px.*16x16 px'),
        (rad_dino, peers.eva_cfg(), 'type PlainViT, but.*RotaryViT'),
        (eva_x, peers.vit_cfg(), 'type RotaryViT, but.*PlainViT'),
        (
            chexfound,
            peers.vit_cfg(registers=4, patch_size=16),
            'registers, gated layers, layer scale, but',
        ),
        # without its norms it would be another function, and nothing missing
        (eva_x_base, peers.eva_cfg(), 'gated layers, norms in them, but'),
    ],
)
def test_another_architecture_is_refused(bring, source, vit, message):
    with pytest.raises(UserError, match=message):
        bring(source()[1], vit)


def test_init_cfg_refuses_it_too(tmp_path):
    path = tmp_path / 'x.pth'
    torch.save(eva_x_base()[1], path)
    init = dict(type='Pretrained', checkpoint=str(path))
    cfg = dict(type='PyramidViT', vit=peers.eva_cfg(), init_cfg=init)
    with pytest.raises(UserError, match='norms in them, but'):
        build_backbone(cfg).init_weights()


def test_another_backbone_is_refused(bring):
    name = 'foundation_x/foundation-x_r50_150c.py'
    with pytest.raises(UserError, match='is ResNet; give a config with Pyr'):
        bring(
            rad_dino()[1],
            name=name,
            **{
                'model.student.backbone.depth': 18,
                'model.student.backbone.base_channels': 8,
            },
        )


def test_what_is_not_known_is_said(bring):
    weights, _, vit = rad_dino()
    weights |= {'blocks.0.attn.gate.weight': torch.zeros(2)}
    result, _ = bring(weights, vit)
    key = 'blocks.0.attn.gate.weight'
    assert result.unused[key] == 'not known from a vision transformer'
    # and what is missing refuses the file
    del weights['blocks.1.mlp.fc2.weight']
    result, _ = bring(weights, vit)
    with pytest.raises(UserError, match='lacks.*backbone'):
        result.check(START)


def test_the_published_shapes_fit_the_shipped_config():
    """RAD-DINO: ViT-B, patches of 14 px, 518 px; nothing is allocated."""
    vit = load_config(str(CONFIGS / CONFIG)).model.student.backbone.vit
    with torch.device('meta'):
        model = PlainViT(**{k: v for k, v in vit.items() if k != 'type'})
    state = model.state_dict()
    assert state['pos_embed'].shape == (1, 37 * 37 + 1, 768)
    assert state['patch_embed.projection.weight'].shape == (768, 3, 14, 14)
    assert state['layers.11.ffn.layers.0.0.weight'].shape == (3072, 768)
    assert state['layers.11.attn.gamma1.weight'].shape == (768,)


def same_map(theirs, vit, side):
    """Whether the weights of a model of another package give its map."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    ours = build_backbone(dict(type='PyramidViT', vit=vit)).eval()
    weights = ours.adapt_weights(theirs.state_dict())
    missing, _ = ours.load_state_dict(weights, strict=False)
    assert all(name.startswith('pyramid.') for name in missing)
    x = torch.randn(1, 3, side, side)
    with torch.no_grad():
        found = ours(x)[2].flatten(2).transpose(1, 2)
        expected = theirs.eval()(x)
    tokens = getattr(expected, 'last_hidden_state', expected)
    torch.testing.assert_close(found, tokens[:, 1:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('side', [56, 70])
def test_against_transformers(side):
    transformers = pytest.importorskip('transformers')
    cfg = transformers.Dinov2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        mlp_ratio=2,
        image_size=56,
    )
    vit = peers.vit_cfg()
    vit['arch']['feedforward_channels'] = 32
    same_map(transformers.Dinov2Model(cfg), vit, side)


@pytest.mark.parametrize('base', [False, True])
def test_against_timm(base):
    eva = pytest.importorskip('timm.models.eva')
    model = eva.Eva(
        img_size=64,
        patch_size=16,
        embed_dim=16,
        depth=2,
        num_heads=2,
        mlp_ratio=1.5,
        swiglu_mlp=True,
        scale_mlp=base,
        qkv_fused=not base,
        use_rot_pos_emb=True,
        ref_feat_shape=(4, 4),
        num_classes=0,
        global_pool='',
    )
    same_map(model, peers.eva_cfg(base), 64)
