"""The localization branch takes the dicts of a DINO config of mmdet."""

import copy
import functools
from inspect import signature

import model_helpers as h
import pytest
import torch
from mmcv.ops import MultiScaleDeformableAttention
from mmdet.registry import MODELS as MMDET
from mmengine.config import ConfigDict
from mmengine.hub import get_config
from mmengine.registry import DefaultScope

from fx_mm.analysis.stock_models import build_stock_dino
from fx_mm.models import LocalizationBranch
from fx_mm.models.layers import TaskDINOHead, dino_config
from fx_mm.models.layers.dino_config import DINO
from fx_mm.registry import MODELS
from fx_mm.tasks import TaskTable
from fx_mm.utils.errors import UserError

SHIPPED = 'mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py'
WIDTHS = [512, 1024, 2048]
LOC = h.TASKS[2:3]


@functools.cache
def shipped(name):
    """The config of a model as mmdet ships it."""
    return get_config(name).model


def pasted(name=SHIPPED):
    """What stands in it beside backbone and preprocessor."""
    dicts = copy.deepcopy(shipped(name))
    for key in ('type', 'backbone', 'data_preprocessor'):
        dicts.pop(key)
    return dicts


def settle(**given):
    return dino_config(given, WIDTHS)


def build(**options):
    """The demo's branch, tiny, with further options."""
    options = {f'student.localization.{k}': v for k, v in options.items()}
    return h.build(tasks=LOC, noise=0.02, **options).student


# ------------------------------------------------------------------ pasting


def test_the_defaults_are_those_of_mmdet():
    mmdets = pasted().to_dict()
    del mmdets['bbox_head']['num_classes']
    mmdets['neck']['bias'] = True
    mmdets['num_feature_levels'] = 4
    ours = settle()

    def check(theirs, ours):
        for key, value in theirs.items():
            if isinstance(value, dict):
                check(value, ours[key])
            elif key != 'dropout':  # mmcv's own default for a decoder
                assert ours[key] == value, key
            else:
                assert ours.get(key, 0.0) == value

    check(mmdets, ours)
    assert dino_config(pasted(), WIDTHS).keys() == mmdets.keys()


@pytest.mark.slow
def test_a_config_of_mmdet_is_pasted_and_trains():
    """dino-4scale_r50_8xb2-12e_coco.py as mmdet ships it."""
    mmdets = copy.deepcopy(shipped(SHIPPED))
    backbone = dict(mmdets.backbone, type='mmdet.ResNet', init_cfg=None)
    backbone['out_indices'] = (0, 1, 2, 3)
    torch.manual_seed(0)
    cfg = dict(
        type='FoundationX',
        backbone=backbone,
        localization=dict(norm_cfg=None, **pasted()),
    )
    tasks = TaskTable([h.with_options(LOC[0], img_size=224)])
    student = MODELS.build(dict(cfg, tasks=tasks))
    student.init_weights()
    student.train()
    losses = student.loss(*h.batch('a/loc', size=224, n=1))
    sum(losses.values()).backward()
    assert len(losses) == 6 * 3 * 2 + 3
    assert all(value.isfinite() for value in losses.values())
    branch = student.localization
    for part in (branch.encoder, branch.tasks):
        for name, parameter in part.named_parameters():
            assert parameter.grad is not None, name
    assert (branch.num_queries, branch.num_levels) == (900, 4)
    head = branch.tasks['a'].head
    assert head.num_classes == len(h.FINDINGS)
    assert head.test_cfg == dict(max_per_img=300)

    # the benchmark's stock model is mmdet's detector of the same dicts
    with torch.device('meta'):
        stock = build_stock_dino(cfg, 80, WIDTHS)
        with DefaultScope.overwrite_default_scope('mmdet'):
            theirs = MMDET.build(mmdets)
    ours = {k: v.shape for k, v in stock.state_dict().items()}
    added = {
        name
        for name in ours
        if name.startswith('neck') and name.endswith('conv.bias')
    }
    assert len(added) == 4
    assert ours == {
        **{k: v.shape for k, v in theirs.state_dict().items()},
        **dict.fromkeys(added, (256,)),
    }


def test_other_configs_of_mmdet():
    improved = dino_config(
        pasted('mmdet::dino/dino-4scale_r50_improved_8xb2-12e_coco.py'), WIDTHS
    )
    assert improved['dn_cfg']['group_cfg']['num_dn_queries'] == 300
    assert improved['positional_encoding']['temperature'] == 10000
    assert improved['bbox_head']['loss_cls']['loss_weight'] == 2.0
    widths = [192, 384, 768, 1536]
    five = pasted('mmdet::dino/dino-5scale_swin-l_8xb2-12e_coco.py')
    assert dino_config(five, widths)['num_feature_levels'] == 5
    with pytest.raises(UserError, match='in_channels is .*, but the stages'):
        dino_config(five, widths[1:])


def test_what_is_given_is_not_changed():
    given = pasted()
    before = copy.deepcopy(given)
    dino_config(given, WIDTHS)
    assert given == before
    cfg = h.model_cfg(tasks=LOC, **h.TINY).student
    before = copy.deepcopy(cfg)
    branch = MODELS.build(cfg).localization
    assert cfg == before
    neck = dict(branch.dino_cfg['neck'])
    assert neck['in_channels'] == [32, 64, 128] and neck['num_outs'] == 3
    assert 'batch_first' not in str(branch.dino_cfg)


# ----------------------------------------------------------- partial dicts


@pytest.mark.parametrize(
    'given',
    [
        dict(neck=dict(out_channels=64, num_outs=5)),
        dict(
            positional_encoding=dict(num_feats=32),
            decoder=dict(
                layer_cfg=dict(cross_attn_cfg=ConfigDict(num_levels=5))
            ),
        ),
        dict(
            bbox_head=dict(embed_dims=64),
            num_feature_levels=5,
            encoder=dict(layer_cfg=dict(ffn_cfg=dict(embed_dims=64))),
        ),
    ],
)
def test_width_and_levels_follow_from_any_place(given):
    cfg = settle(**given)
    encoder, decoder = (cfg[k]['layer_cfg'] for k in ('encoder', 'decoder'))
    assert cfg['neck']['out_channels'] == 64
    assert cfg['positional_encoding']['num_feats'] == 32
    for part in (
        cfg['bbox_head'],
        *(entry for coder in (encoder, decoder) for entry in coder.values()),
    ):
        assert part['embed_dims'] == 64
    assert cfg['neck']['num_outs'] == cfg['num_feature_levels'] == 5
    assert encoder['self_attn_cfg']['num_levels'] == 5
    assert decoder['cross_attn_cfg']['num_levels'] == 5


@pytest.mark.parametrize(
    'given, encoder, decoder',
    [
        ((None, None), None, None),
        (('triton', None), 'triton', 'triton'),
        ((None, 'mmcv'), 'mmcv', 'mmcv'),
        (('grid_sample', 'auto'), 'grid_sample', 'auto'),
    ],
)
def test_the_kernel_follows_from_any_place(given, encoder, decoder):
    places = ('encoder', 'self_attn_cfg'), ('decoder', 'cross_attn_cfg')
    options = {
        coder: dict(layer_cfg={attention: dict(kernel=kernel)})
        for (coder, attention), kernel in zip(places, given)
        if kernel
    }
    cfg = settle(**options)
    assert [
        cfg[coder]['layer_cfg'][attention].get('kernel')
        for coder, attention in places
    ] == [encoder, decoder]


def test_an_unknown_kernel_is_refused_at_its_place():
    decoder = dict(layer_cfg=dict(cross_attn_cfg=dict(kernel='cuda')))
    with pytest.raises(
        UserError,
        match=r"decoder\.layer_cfg\.cross_attn_cfg\.kernel is 'cuda'",
    ):
        settle(decoder=decoder)


def test_all_attentions_take_the_kernel():
    key = 'encoder.layer_cfg.self_attn_cfg.kernel'
    student = build(**{key: 'grid_sample'})
    found = [
        module.kernel
        for module in student.modules()
        if isinstance(module, MultiScaleDeformableAttention)
    ]
    assert found == ['grid_sample'] * len(found) and len(found) >= 2
    # mmdet's own knows no such key
    options = {**h.TINY, f'student.localization.{key}': 'triton'}
    cfg = h.model_cfg(tasks=LOC, **options).student
    build_stock_dino(cfg, 3, [32, 64, 128])


def test_another_type_replaces_the_default():
    loss = settle(bbox_head=dict(loss_cls=dict(type='CrossEntropyLoss')))
    assert loss['bbox_head']['loss_cls'] == dict(type='CrossEntropyLoss')
    same = settle(bbox_head=dict(loss_cls=dict(type='mmdet.FocalLoss')))
    assert same['bbox_head']['loss_cls']['alpha'] == 0.25
    norm = settle(neck=dict(norm_cfg=dict(type='BN')))['neck']['norm_cfg']
    assert norm == dict(type='BN')
    assert settle(neck=dict(norm_cfg=None))['neck']['norm_cfg'] is None


def test_one_key_by_cfg_options():
    student = build(
        **{'encoder.num_layers': 2, 'decoder.layer_cfg.ffn_cfg.num_fcs': 3}
    )
    branch = student.localization
    assert len(branch.encoder.encoder.layers) == 2
    assert len(branch.tasks['a'].decoder.layers) == 2
    assert len(branch.tasks['a'].decoder.layers[0].ffn.layers) == 4


# ---------------------------------------------------------------- honoured


def losses_of(student, seed=0):
    student.train().zero_grad(set_to_none=True)
    torch.manual_seed(seed)
    losses = student.loss(*h.batch('a/loc'))
    sum(losses.values()).backward()
    return losses


def test_losses_by_config():
    plain = losses_of(build())
    heavier = losses_of(build(**{'bbox_head.loss_cls.loss_weight': 2.0}))
    for key in plain:
        factor = 2 if key.endswith('loss_cls') else 1
        torch.testing.assert_close(heavier[key], factor * plain[key])
    other = losses_of(
        build(
            bbox_head=dict(
                loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True),
                loss_iou=dict(type='CIoULoss', loss_weight=2.0),
            )
        )
    )
    for key in plain:
        changed = key.endswith(('loss_cls', 'loss_iou'))
        assert (other[key] != plain[key]) == changed, key
        assert other[key].isfinite()


def test_costs_by_config():
    costs = dict(type='IoUCost', iou_mode='iou', weight=3.0)
    student = build(train_cfg=dict(assigner=dict(match_costs=costs)))
    (cost,) = student.localization.tasks['a'].head.matcher.match_costs
    assert (cost.iou_mode, cost.weight) == ('iou', 3.0)
    assert all(value.isfinite() for value in losses_of(student).values())


def test_boxes_kept_by_config():
    student = build(test_cfg=dict(max_per_img=7)).eval()
    inputs, samples = h.batch('a/loc')
    with torch.no_grad():
        result = student.predict(inputs, samples)
    assert [len(sample.pred_instances) for sample in result] == [7, 7]


def test_none_trains_without_denoising():
    plain, without = build(), build(dn_cfg=None)
    assert any('dn_' in key for key in losses_of(plain))
    losses = losses_of(without)
    assert losses and not any('dn_' in key for key in losses)
    assert list(plain.state_dict()) == list(without.state_dict())


def test_static_denoising_groups():
    group = dict(dynamic=False, num_groups=3)
    branch = build(dn_cfg=dict(group_cfg=group)).localization
    _, samples = h.batch('a/loc', boxes=2)
    meta = branch.tasks['a'].denoising(samples, branch.label_embedding)[3]
    assert meta == dict(num_denoising_groups=3, num_denoising_queries=12)


def test_positions_by_config():
    branch = build(
        positional_encoding=dict(temperature=10000, offset=-0.5)
    ).localization
    encoding = branch.encoder.positional_encoding
    assert (encoding.temperature, encoding.offset) == (10000, -0.5)
    assert encoding.normalize and encoding.num_feats == 16


def test_dropout_of_the_decoders_attention_as_in_mmdet():
    options = {'decoder.layer_cfg.self_attn_cfg.dropout': 0.25}
    attention = (
        build(**options).localization.tasks['a'].decoder.layers[0].self_attn
    )
    assert attention.attn.dropout == attention.dropout_layer.p == 0.25
    # and no later attention inherits it
    attention = build().localization.tasks['a'].decoder.layers[0].self_attn
    assert attention.attn.dropout == attention.dropout_layer.p == 0.0


def test_recomputed_encoder_layers_have_the_same_gradients():
    results = []
    for layers in (-1, 1):
        options = {
            'encoder.num_layers': 2,
            'encoder.num_cp': layers,
            'encoder.layer_cfg.self_attn_cfg.dropout': 0.1,
        }
        student = build(**options)
        encoder = student.localization.encoder.encoder
        calls = []
        for layer in encoder.layers:
            layer.register_forward_pre_hook(
                lambda module, _, calls=calls: calls.append(module)
            )
        losses = losses_of(student)
        again = int(layers > 0)
        assert [calls.count(layer) for layer in encoder.layers] == [
            1 + again,
            1,
        ]
        results.append(
            [*losses.values()]
            + [p.grad for p in student.localization.encoder.parameters()]
        )
    for ours, theirs in zip(*results, strict=True):
        assert torch.equal(ours, theirs)


@MODELS.register_module()
class WarmHead(TaskDINOHead):
    """A head of somebody's own."""

    def __init__(self, warmth, **kwargs):
        super().__init__(**kwargs)
        self.warmth = warmth


def test_a_head_of_ones_own():
    head = dict(type='fx_mm.WarmHead', warmth=3)
    student = build(bbox_head=head)
    head = student.localization.tasks['a'].head
    assert type(head) is WarmHead and head.warmth == 3
    assert all(value.isfinite() for value in losses_of(student).values())


# ------------------------------------------------------------------ refused


@pytest.mark.parametrize(
    'given, message',
    [
        (
            dict(
                neck=dict(out_channels=256),
                positional_encoding=dict(num_feats=64),
            ),
            'positional_encoding.num_feats is 64, but by .*neck.out_channels '
            'it would be 128; correct one',
        ),
        (
            dict(neck=dict(num_outs=4), num_feature_levels=5),
            'num_feature_levels is 5, but by .*neck.num_outs it would be 4',
        ),
        (
            dict(neck=dict(in_channels=[256, 512, 1024])),
            r'neck.in_channels is \[256, 512, 1024\], but the stages in use '
            r'have \[512, 1024, 2048\]',
        ),
        (
            dict(neck=dict(out_channels=36)),
            'self_attn_cfg.num_heads is 8, which does not divide the width 36',
        ),
        (
            dict(neck=dict(out_channels=31)),
            'neck.out_channels is 31; it must be a multiple of 2',
        ),
        (dict(encoder=3), 'encoder is 3; it must be a dict'),
        (
            dict(encoder=dict(layer_cfg=None)),
            'encoder.layer_cfg is None; it must be a dict',
        ),
        (
            dict(encoder=dict(num_layer=2)),
            'Unknown key "num_layer" in model localization.encoder; did you '
            'mean "num_layers"',
        ),
        (
            dict(decoder=dict(layer_cfg=dict(ffn_cfg=dict(drop=0.1)))),
            'Unknown key "drop" in model localization.decoder.layer_cfg.ffn',
        ),
        (dict(test_cfg=dict(score_thr=0.1)), 'Unknown key "score_thr"'),
        (dict(dn_cfg=dict(num_classes=3)), 'Unknown key "num_classes"'),
        (dict(as_two_stage=False), 'as_two_stage is False, but DINO needs'),
        (
            dict(decoder=dict(return_intermediate=False)),
            'decoder.return_intermediate is False, but DINO needs True',
        ),
        (
            dict(dn_cfg=dict(group_cfg=dict(dynamic=False))),
            'dn_cfg.group_cfg.num_groups is None; it must be a whole number',
        ),
    ],
)
def test_contradictions_and_unknown_keys(given, message):
    with pytest.raises(UserError, match=message):
        settle(**given)


@pytest.mark.parametrize(
    'options, message',
    [
        (
            {'bbox_head.type': 'DETRHead'},
            "bbox_head.type is 'DETRHead'; use DINOHead",
        ),
        (
            {'train_cfg.assigner.type': 'NoAssigner'},
            "train_cfg.assigner.type is 'NoAssigner'; use HungarianAssigner",
        ),
        (
            {'train_cfg.assigner.match_costs': [dict(type='DiceCost')]},
            'match_costs has DiceCost; known are',
        ),
        ({'train_cfg.assigner.match_costs': []}, 'match_costs has NoneType'),
        (
            {
                'bbox_head.loss_cls': dict(
                    type='QualityFocalLoss', use_sigmoid=True
                )
            },
            'loss_cls is a QualityFocalLoss; use FocalLoss',
        ),
        ({'bbox_head.loss_cls': dict(type='CrossEntropyLoss')}, 'use_sigmoid'),
        ({'bbox_head.num_pred_layer': 7}, 'bbox_head.num_pred_layer is not'),
        ({'bbox_head.first_label': 1}, 'bbox_head.first_label is not read'),
    ],
)
def test_what_the_head_cannot_be(options, message):
    with pytest.raises(UserError, match=message):
        build(**options)


def test_every_argument_of_mmdets_dino_is_an_argument():
    theirs = {*pasted(), 'num_feature_levels'}
    parameters = signature(LocalizationBranch).parameters
    assert {*DINO} == theirs <= {*parameters}
    for key in ('num_queries', 'with_box_refine', 'as_two_stage'):
        assert parameters[key].default == DINO[key]
