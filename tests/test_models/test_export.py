"""A trained backbone inside of models of mmdet, mmseg and mmpretrain."""

import importlib
import logging
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from mmengine.runner import load_checkpoint, save_checkpoint
from mmengine.structures import InstanceData, PixelData
from model_helpers import TASKS, build, plain_cfg

from fx_mm.config import PlainConfig
from fx_mm.models.backbones import FoundationXBackbone
from fx_mm.utils.errors import UserError

SWIN = dict(
    type='FusedSwinTransformer',
    embed_dims=16,
    depths=(1, 1, 2, 1),
    num_heads=(1, 2, 4, 8),
    window_size=4,
    shift_last_stage=False,
    convert_weights=True,
    init_cfg=dict(type='Pretrained', checkpoint='gone.pth'),
)
OPTIONS = {'student.backbone': dict(_delete_=True, **SWIN)}
TINY = {
    'student.backbone': dict(_delete_=True, **dict(SWIN, init_cfg=None)),
    'student.localization.neck.out_channels': 32,
    'student.segmentation.decoder.channels': 16,
    'student.segmentation.decoder.ppm_channels': 16,
    'student.segmentation.decoder.pool_channels': 16,
}
CHANNELS = [16, 32, 64, 128]


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A MeanTeacher and its file, as CyclicCheckpointHook writes it."""
    model = build(tiny=False, noise=0.05, **TINY)
    with torch.no_grad():
        for parameter in model.teacher.parameters():
            parameter.mul_(1.01)
    cfg = PlainConfig(
        dict(model=plain_cfg(**OPTIONS).to_dict(), work_dir='work_dirs/x')
    )
    path = tmp_path_factory.mktemp('run') / 'iter_100.pth'
    write(path, model, cfg.pretty_text)
    return model.eval(), str(path)


def write(path, model, text):
    meta = dict(
        epoch=1,
        iter=100,
        cfg=text,
        seed=0,
        experiment_name='x',
        time='20260101_000000',
        mmengine_version='0',
        tasks=[dict(task=t.name) for t in TASKS],
        schedule=[['a/cls', 'release', 3]],
    )
    state = dict(
        meta=meta,
        state_dict=model.state_dict(),
        message_hub=dict(log_scalars={}, runtime_info={}, resumed_keys={}),
        optimizer=dict(state={}, param_groups=[]),
    )
    save_checkpoint(state, str(path))


def one_line(path, **options):
    return dict(type='fx_mm.FoundationXBackbone', checkpoint=path, **options)


def images(n=2, size=64):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, 3, size, size, generator=generator) - 0.5


def retinanet(backbone):
    neck = dict(
        type='FPN',
        in_channels=CHANNELS,
        out_channels=16,
        start_level=1,
        num_outs=5,
    )
    anchors = dict(
        type='AnchorGenerator',
        octave_base_scale=4,
        scales_per_octave=1,
        ratios=[1.0],
        strides=[8, 16, 32, 64, 128],
    )
    head = dict(
        type='RetinaHead',
        num_classes=2,
        in_channels=16,
        stacked_convs=1,
        feat_channels=16,
        anchor_generator=anchors,
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
    )
    assigner = dict(
        type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0
    )
    return dict(
        type='RetinaNet',
        data_preprocessor=dict(type='DetDataPreprocessor'),
        backbone=backbone,
        neck=neck,
        bbox_head=head,
        train_cfg=dict(assigner=assigner, allowed_border=-1, pos_weight=-1),
        test_cfg=dict(nms_pre=100, max_per_img=10),
    )


def segmentor(backbone):
    head = dict(
        type='FCNHead',
        in_channels=128,
        in_index=3,
        channels=16,
        num_convs=1,
        num_classes=3,
        norm_cfg=dict(type='BN'),
    )
    return dict(
        type='EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor'),
        backbone=backbone,
        decode_head=head,
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
    )


def classifier(backbone):
    return dict(
        type='ImageClassifier',
        backbone=backbone,
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=3, in_channels=128),
        # as in mmpretrain's Swin configs: it runs over all layers
        init_cfg=[
            dict(type='TruncNormal', layer='Linear', std=0.02, bias=0.0),
            dict(type='Constant', layer='LayerNorm', val=1.0, bias=0.0),
        ],
    )


def samples(package):
    if package == 'mmdet':
        from mmdet.structures import DetDataSample

        made = DetDataSample(
            metainfo=dict(
                img_shape=(64, 64),
                batch_input_shape=(64, 64),
                pad_shape=(64, 64),
                scale_factor=(1, 1),
            )
        )
        made.gt_instances = InstanceData(
            bboxes=torch.tensor([[8.0, 8.0, 40.0, 40.0]]),
            labels=torch.tensor([1]),
        )
    elif package == 'mmseg':
        from mmseg.structures import SegDataSample

        made = SegDataSample(metainfo=dict(img_shape=(64, 64)))
        made.gt_sem_seg = PixelData(data=torch.ones(1, 64, 64).long())
    else:
        from mmpretrain.structures import DataSample

        made = DataSample().set_gt_label(1)
    return [made, made.clone()]


MODELS = dict(mmdet=retinanet, mmseg=segmentor, mmpretrain=classifier)


@pytest.fixture
def scope(request):
    """The default scope of a package, for one test."""
    with DefaultScope.overwrite_default_scope(request.param):
        yield request.param


@pytest.mark.parametrize('predict_on', ['teacher', 'student'])
@pytest.mark.parametrize('scope', MODELS, indirect=True)
def test_loss_step_in_each_package(trained, scope, predict_on, tmp_path):
    source, path = trained
    registry = importlib.import_module(f'{scope}.registry').MODELS
    cfg = ConfigDict(MODELS[scope](one_line(path, predict_on=predict_on)))
    model = registry.build(cfg)
    model.init_weights()
    x = images()
    expected = getattr(source, predict_on).extract_feat(x)
    model.eval()
    for ours, theirs in zip(model.backbone(x), expected, strict=True):
        assert torch.equal(ours, theirs)

    model.train()
    losses = model.loss(x, samples(scope))
    total = model.parse_losses(losses)[0]
    assert torch.isfinite(total)
    total.backward()
    grads = [p.grad for p in model.backbone.parameters()]
    assert any(g is not None and g.abs().sum() > 0 for g in grads)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01)

    # a later checkpoint loads without the first one
    later = tmp_path / 'later.pth'
    save_checkpoint(dict(state_dict=model.state_dict()), str(later))
    cfg.backbone = dict(
        type='fx_mm.FoundationXBackbone', checkpoint=None, backbone=SWIN
    )
    twin = registry.build(cfg)
    load_checkpoint(twin, str(later), strict=True)
    model.eval(), twin.eval()
    for a, b in zip(model.backbone(x), twin.backbone(x)):
        assert torch.equal(a, b)


@pytest.mark.slow
def test_one_line_is_enough():
    """Nothing of fx_mm has to be imported for it."""
    script = (
        'import sys\n'
        'import mmdet.registry\n'
        'assert not any(name.startswith("fx_mm") for name in sys.modules)\n'
        'mmdet.registry.MODELS.build(dict(\n'
        '    type="fx_mm.FoundationXBackbone",\n'
        '    backbone=dict(type="FusedSwinTransformer", embed_dims=8,\n'
        '        depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1))))\n'
    )
    subprocess.run([sys.executable, '-c', script], check=True)


@pytest.mark.parametrize(
    ('branch', 'stages'),
    [('localization', (1, 2, 3)), ('classification', (1, 2, 3))],
)
def test_output_norms_are_the_learnt_ones(trained, branch, stages):
    source, path = trained
    backbone = FoundationXBackbone(path, output_norm=branch).eval()
    assert tuple(map(int, backbone.norms)) == stages
    x = images()
    raw = source.teacher.extract_feat(x)
    norms = getattr(source.teacher, branch)
    norms = getattr(norms, 'encoder', norms).norms
    ours = backbone(x)
    assert torch.equal(ours[0], raw[0])
    for norm, stage in zip(norms, stages):
        assert torch.equal(ours[stage], norm(raw[stage]))
        assert ours[stage].is_contiguous()
        assert not torch.allclose(ours[stage], raw[stage], atol=1e-2)
    # without the file, the branch's config is not there to ask
    twin = FoundationXBackbone(
        backbone=SWIN, output_norm=branch, norm_stages=stages
    )
    twin.load_state_dict(backbone.state_dict(), strict=True)


def test_output_norms_of_another_kind(tmp_path):
    norm = dict(type='GN', num_groups=4)
    changed = {'student.localization.norm_cfg': norm}
    model = build(tiny=False, noise=0.05, **{**TINY, **changed}).eval()
    cfg = plain_cfg(**{**OPTIONS, **changed}).to_dict()
    path = str(tmp_path / 'x.pth')
    write(path, model, PlainConfig(dict(model=cfg)).pretty_text)
    backbone = FoundationXBackbone(path, output_norm='localization').eval()
    x = images()
    raw, ours = model.teacher.extract_feat(x), backbone(x)
    norms = model.teacher.localization.encoder.norms
    for stage in (1, 2, 3):
        torch.testing.assert_close(ours[stage], norms[stage - 1](raw[stage]))
    with pytest.raises(UserError, match='has no norm on stages'):
        FoundationXBackbone(path, output_norm='localization', out_indices=(0,))


def test_out_indices(trained):
    source, path = trained
    backbone = FoundationXBackbone(
        path, out_indices=(3, 1), output_norm='localization'
    )
    assert [*backbone.norms] == ['1', '3']
    backbone = FoundationXBackbone(path, out_indices=(3, 1)).eval()
    x = images()
    maps = source.teacher.extract_feat(x)
    ours = backbone(x)
    assert len(ours) == 2
    assert torch.equal(ours[0], maps[3]) and torch.equal(ours[1], maps[1])


def test_plain_foundation_x_and_explicit_backbone(trained, tmp_path):
    source, _ = trained
    path = tmp_path / 'x.pth'
    torch.save(dict(state_dict=source.student.state_dict()), path)
    with pytest.raises(UserError, match='give backbone=dict'):
        FoundationXBackbone(str(path))
    backbone = FoundationXBackbone(str(path), backbone=SWIN).eval()
    x = images()
    assert torch.equal(backbone(x)[3], source.student.extract_feat(x)[3])


def test_config_text_is_read_and_never_executed(trained, tmp_path):
    source, _ = trained
    path = tmp_path / 'x.pth'
    cfg = Config(dict(model=plain_cfg(**OPTIONS).to_dict()))
    assert 'dict(' in cfg.pretty_text
    write(path, source, cfg.pretty_text)
    FoundationXBackbone(str(path))
    mark = tmp_path / 'executed'
    for text in (
        f'model = open({str(mark)!r}, "w")',
        f'open({str(mark)!r}, "w")\nmodel = dict(type="FoundationX")',
        f'model = dict(**open({str(mark)!r}, "w"))',
        'model = [1]',
        'model = {',
        '',
    ):
        write(path, source, text)
        with pytest.raises(UserError, match='give backbone=dict'):
            FoundationXBackbone(str(path))
    assert not mark.exists()


def test_log_says_how_to_go_on_without_the_file(trained):
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logger = MMLogger.get_instance('export')
    MMLogger._instance_dict.move_to_end('export')
    logger.addHandler(handler)
    FoundationXBackbone(trained[1])
    assert any('shift_last_stage' in r.getMessage() for r in records)


def test_mistakes_are_one_sentence(trained, tmp_path):
    _, path = trained
    for options, word in (
        (dict(), 'needs checkpoint'),
        (dict(checkpoint=path, predict_on='best'), 'predict_on'),
        (dict(checkpoint=path, output_norm='segmentation'), 'output_norm'),
        (dict(checkpoint=path, out_indices=(4,)), 'out_indices'),
        (dict(checkpoint='gone.pth'), 'checkpoint=None and backbone'),
        (
            dict(checkpoint=path, backbone=dict(SWIN, embed_dims=32)),
            'do not fit',
        ),
    ):
        with pytest.raises(UserError, match=word):
            FoundationXBackbone(**options)


def test_without_norms_in_the_file(tmp_path):
    model = build(
        tiny=False,
        **TINY,
        **{'student.localization.norm_cfg': None},
    )
    path = tmp_path / 'x.pth'
    cfg = PlainConfig(dict(model=plain_cfg(**OPTIONS).to_dict()))
    write(path, model, cfg.pretty_text)
    with pytest.raises(UserError, match='encoder.norms'):
        FoundationXBackbone(str(path), output_norm='localization')
