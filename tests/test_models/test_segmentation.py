import model_helpers as h
import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models.decode_heads import FCNHead, UPerHead

from fx_mm.models.layers import UPerDecoder
from fx_mm.models.layers.pyramid import average_in_bins
from fx_mm.registry import MODELS
from fx_mm.structures import FXDataSample

WIDTHS = (8, 16, 24, 32)
DECODERS = dict(
    paper=dict(type='PyramidDecoder'),
    mmseg=dict(type='UPerDecoder', channels=16),
)
LOSS = dict(type='mmseg.CrossEntropyLoss', avg_non_ignore=True)


def pyramid(n=2, shape=(100, 133), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randn(
            n,
            width,
            *(-(-side // stride) for side in shape),
            generator=generator,
        )
        for width, stride in zip(WIDTHS, (4, 8, 16, 32))
    )


def samples_of(classes=3, n=2, shape=(100, 133), mask=None):
    samples = []
    for _ in range(n):
        sample = FXDataSample(
            metainfo=dict(
                img_shape=shape,
                batch_input_shape=shape,
                ori_shape=(shape[0] * 2, shape[1] + 7),
            )
        )
        data = torch.rand(classes, *shape) > 0.5
        if mask is not None:
            data = torch.full_like(data, mask)
        sample.gt_sem_seg = PixelData(data=data.to(torch.uint8))
        samples.append(sample)
    return samples


def branch(decoder='paper', **kwargs):
    torch.manual_seed(0)
    cfg = dict(
        type='SegmentationBranch',
        in_channels=WIDTHS,
        tasks=h.TASKS[4:6],
        decoder=dict(DECODERS[decoder]),
    )
    return MODELS.build({**cfg, **kwargs})


def randomise(module):
    """Weights and running statistics that hide nothing."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.rand(tensor.shape, generator=generator)
                tensor.copy_(noise + 0.5 if 'var' in name else noise - 0.4)
    return module


def stock_head(**kwargs):
    cfg = dict(
        in_channels=list(WIDTHS),
        in_index=[0, 1, 2, 3],
        channels=16,
        num_classes=3,
        norm_cfg=dict(type='BN'),
        loss_decode=LOSS,
        dropout_ratio=0,
    )
    return randomise(UPerHead(**{**cfg, **kwargs}))


def copy_decoder(decoder, stock):
    weights = stock.state_dict()
    own = {k: v for k, v in weights.items() if not k.startswith('conv_seg')}
    decoder.head.load_state_dict(own)


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('align_corners', [False, True])
def test_decoder_is_the_one_of_mmseg(training, align_corners):
    """The same map, gradients and running statistics."""
    stock = stock_head(align_corners=align_corners)
    decoder = UPerDecoder(WIDTHS, 16, dropout=0.0, align_corners=align_corners)
    copy_decoder(decoder, stock)
    stock.train(training)
    decoder.train(training)
    ours = decoder(pyramid())
    theirs = stock._forward_feature(pyramid())
    torch.testing.assert_close(ours, theirs)
    assert ours.shape == (2, decoder.channels, 25, 34)
    ours.square().mean().backward()
    theirs.square().mean().backward()
    gradients = dict(stock.named_parameters())
    for name, parameter in decoder.head.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name].grad)
    buffers = dict(stock.named_buffers())
    for name, buffer in decoder.head.named_buffers():
        torch.testing.assert_close(buffer, buffers[name])


def test_whole_branch_is_the_head_of_mmseg():
    """UPerNet of mmseg: decoder, 1x1 classifier and resize."""
    stock = stock_head().eval()
    ours = branch('mmseg', head_kernel_size=1).eval()
    copy_decoder(ours.decoder, stock)
    ours.heads.b.load_state_dict(stock.conv_seg.state_dict())
    samples = samples_of()
    with torch.no_grad():
        logits = ours(ours.encode(pyramid(), samples), 'b', samples)
        metas = [sample.metainfo for sample in samples]
        for meta in metas:
            meta['pad_shape'] = meta['img_shape']
        wanted = stock.predict(pyramid(), metas, test_cfg=None)
    torch.testing.assert_close(logits, wanted)


def test_head_is_a_head_of_mmseg():
    """Our 3x3 head against mmseg's FCN head without a hidden layer."""
    ours = branch().eval()
    channels = ours.decoder.channels
    stock = FCNHead(
        num_convs=0,
        concat_input=False,
        in_channels=channels,
        channels=channels,
        num_classes=3,
        in_index=0,
        loss_decode=LOSS,
        dropout_ratio=0,
    ).eval()
    samples = samples_of()
    with torch.no_grad():
        # what a 3x3 convolution with only its centre is: mmseg's 1x1
        ours.heads.b.weight.zero_()
        ours.heads.b.weight[:, :, 1, 1] = stock.conv_seg.weight[:, :, 0, 0]
        ours.heads.b.bias.copy_(stock.conv_seg.bias)
        state = ours.encode(pyramid(), samples)
        logits = ours(state, 'b', samples)
        wanted = stock.predict_by_feat(
            stock([state['fused']]),
            [dict(img_shape=(100, 133), pad_shape=(100, 133))] * 2,
        )
    torch.testing.assert_close(logits, wanted)


@pytest.mark.parametrize(
    ('shape', 'bins'), [((7, 7), 6), ((7, 5), 4), ((2, 9), 6), ((1, 1), 2)]
)
def test_average_in_bins_is_adaptive_pooling(shape, bins):
    x = torch.randn(2, 3, *shape, dtype=torch.float64, requires_grad=True)
    ours = average_in_bins(x, bins)
    theirs = F.adaptive_avg_pool2d(x, bins)
    torch.testing.assert_close(ours, theirs)
    grad = torch.randn_like(ours)
    torch.testing.assert_close(
        *(torch.autograd.grad(y, x, grad) for y in (ours, theirs))
    )


def test_decoder_has_no_idle_parameter():
    model = branch('mmseg')
    names = {name for name, _ in model.decoder.named_parameters()}
    assert not any('conv_seg' in name for name in names)
    samples = samples_of()
    losses = model.loss(model.encode(pyramid(), samples), 'b', samples)
    losses['loss_dice'].backward()
    for name, parameter in model.decoder.named_parameters():
        assert parameter.grad is not None, name
    part = next(p for p in model.param_groups() if p.task is None)
    assert part.name == 'segmentation/decoder'
    assert all(part.owns(f'decoder.{name}') for name in names)


def test_dropout_acts_in_training_only():
    decoder = UPerDecoder(WIDTHS, 16, dropout=0.9)
    decoder.train()
    dropped = (decoder(pyramid()) == 0).flatten(2).all(-1)
    assert dropped.float().mean() > 0.5
    decoder.eval()
    assert torch.equal(decoder(pyramid()), decoder(pyramid()))


@pytest.mark.parametrize('mask', [None, False, True])
@pytest.mark.parametrize('per_channel', [False, True])
@pytest.mark.parametrize('autocast', [False, True])
@pytest.mark.parametrize('decoder', DECODERS)
def test_one_odd_image(decoder, autocast, per_channel, mask):
    """Batch of one, 100 x 133, bf16, BCE, empty and full masks."""
    model = branch(
        decoder,
        loss=dict(type='SoftDiceLoss', per_channel=per_channel),
        bce_weight=0.5,
    ).train()
    samples = samples_of(n=1, mask=mask)
    maps = [x.requires_grad_() for x in pyramid(1)]
    with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
        losses = model.loss(model.encode(maps, samples), 'b', samples)
    for key, value in losses.items():
        assert value.dtype == torch.float32 and value.isfinite(), key
    assert 0 < losses['loss_dice'] <= 1
    sum(losses.values()).backward()
    for tensor in (*maps, *model.decoder.parameters()):
        assert tensor.grad.isfinite().all()
    model.eval()
    with (
        torch.no_grad(),
        torch.autocast('cpu', torch.bfloat16, enabled=autocast),
    ):
        state = model.encode(maps, samples)
        result = model.predict(state, 'b', samples)[0].pred_sem_seg.data
        groups = model.consistency(state)
    assert result.shape == (3, 200, 140) and result.dtype == torch.uint8
    assert all(x.dtype == torch.float32 for group in groups for x in group)


def test_empty_masks_pull_everything_down():
    """With smooth 1 the loss is p / (p + 1): finite, and it teaches."""
    model = branch().train()
    samples = samples_of(mask=False)
    logits = model(model.encode(pyramid(), samples), 'b', samples)
    total = logits.sigmoid().sum()
    loss = model.mask_loss(logits, torch.zeros_like(logits))
    torch.testing.assert_close(loss, total / (total + 1))
    # so many pixels saturate it, few do not
    few = torch.zeros(1, 1, 2, 2, requires_grad=True)
    model.mask_loss(few, torch.zeros(1, 1, 2, 2)).backward()
    assert (few.grad > 0.01).all()


def test_padding_is_background():
    model = branch().eval()
    samples = samples_of()
    for sample in samples:
        sample.gt_sem_seg = PixelData(
            data=sample.gt_sem_seg.data[:, :96, :120]
        )
        sample.set_metainfo(dict(img_shape=(96, 120)))
    with torch.no_grad():
        state = model.encode(pyramid(), samples)
        loss = model.loss(state, 'b', samples)['loss_dice']
        logits = model(state, 'b', samples)
    target = torch.zeros_like(logits)
    for index, sample in enumerate(samples):
        target[index, :, :96, :120] = sample.gt_sem_seg.data
    torch.testing.assert_close(loss, model.mask_loss(logits, target))


@pytest.mark.parametrize('per_class', [False, True])
@pytest.mark.parametrize(
    'loss',
    [
        {},
        dict(per_channel=True),
        dict(per_channel=True, present_only=True),
    ],
)
def test_ignored_pixels_change_neither_loss_nor_gradient(loss, per_class):
    model = branch(loss=dict(type='SoftDiceLoss', **loss), bce_weight=0.7)
    samples = samples_of()
    plain = samples_of()
    ignored = torch.zeros(2, 3, 100, 133, dtype=torch.bool)
    ignored[0, :, 20:60, 30:] = True
    if per_class:
        ignored[0, 1] = False
        ignored[0, 2, 50:] = True
    for sample, other, held in zip(samples, plain, ignored):
        sample.gt_sem_seg.data[held] = 0
        other.gt_sem_seg = sample.gt_sem_seg.clone()
        if held.any():
            part = held if per_class else held[:1]
            sample.gt_sem_seg.ignore = part.to(torch.uint8)

    def run(logits, samples):
        logits = logits.clone().requires_grad_()
        model.forward = lambda *_: logits
        losses = model.loss({}, 'b', samples)
        sum(losses.values()).backward()
        return {k: v.item() for k, v in losses.items()}, logits.grad

    logits = torch.randn(2, 3, 100, 133)
    losses, gradient = run(logits, samples)
    assert not gradient[ignored].any() and gradient[~ignored].all()
    for filling in (1e3, -1e3, 0.0, float('inf'), float('nan')):
        other = run(logits.masked_fill(ignored, filling), samples)
        assert other[0] == losses and torch.equal(other[1], gradient)
    # a rotation may leave a pixel with a class at the border of them
    for sample, held in zip(samples, ignored):
        sample.gt_sem_seg.data[held] = 1
    other = run(logits, samples)
    assert other[0] == losses and torch.equal(other[1], gradient)
    for sample, held in zip(samples, ignored):
        sample.gt_sem_seg.data[held] = 0
    # against sums over the other pixels alone
    target = torch.stack([s.gt_sem_seg.data for s in samples]).float()
    bce = F.binary_cross_entropy_with_logits(
        logits[~ignored], target[~ignored]
    )
    assert losses['loss_bce'] == pytest.approx(0.7 * bce.item())
    if not loss:
        probs, truth = logits[~ignored].sigmoid(), target[~ignored]
        dice = (2 * (probs * truth).sum() + 1) / (probs + truth).sum().add(1)
        assert losses['loss_dice'] == pytest.approx(1 - dice.item(), abs=1e-5)
    # and nothing else than before where nothing is ignored
    assert run(logits, plain)[0] != losses


def test_a_batch_of_ignored_pixels_teaches_nothing():
    model = branch(bce_weight=1.0)
    samples = samples_of(mask=False)
    for sample in samples:
        sample.gt_sem_seg.ignore = torch.ones(1, 100, 133, dtype=torch.uint8)
    losses = model.loss(model.encode(pyramid(), samples), 'b', samples)
    assert [loss.item() for loss in losses.values()] == [0, 0]
    sum(losses.values()).backward()
    assert not model.heads.b.weight.grad.any()


def test_ignored_pixels_of_smaller_images_and_autocast():
    model = branch(bce_weight=1.0)
    samples = samples_of()
    for sample in samples:
        data = sample.gt_sem_seg.data[:, :96, :120]
        sample.gt_sem_seg = PixelData(data=data, ignore=data[:1])
        sample.set_metainfo(dict(img_shape=(96, 120)))
    with torch.autocast('cpu', torch.bfloat16):
        losses = model.loss(model.encode(pyramid(), samples), 'b', samples)
    assert all(loss.isfinite() for loss in losses.values())


def test_masks_have_the_original_size_and_place():
    """A bright corner of the logits is the same corner of the mask."""
    model = branch().eval()
    samples = samples_of(n=1)
    fused = torch.full((1, model.decoder.channels, 25, 34), -1.0)
    fused[:, :, :10, :12] = 1.0
    with torch.no_grad():
        model.heads.b.weight.zero_()
        model.heads.b.weight[:, :, 1, 1] = 1.0
        model.heads.b.bias.zero_()
        result = model.predict(dict(fused=fused), 'b', samples)[0]
    mask = result.pred_sem_seg.data[0].float()
    wanted = torch.zeros(200, 140)
    wanted[: round(200 * 10 / 25), : round(140 * 12 / 34)] = 1
    assert F.l1_loss(mask, wanted) < 0.01
