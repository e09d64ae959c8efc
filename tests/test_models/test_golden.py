"""The authors' own numbers: a tiny Foundation X, its weights and outputs.

Runs where FX_MM_GOLDEN names the folder of ``golden_tiny.npz`` and
``golden_tiny_weights.npz``, which hold no code and are not shipped.
"""

import os
from pathlib import Path

import pytest
import torch
from mmengine.structures import InstanceData, PixelData

from fx_mm.analysis.gpu_check.golden import (
    CLS_HEADS,
    HEADS,
    VARIABLE,
    build_golden,
    read_outputs,
    read_weights,
)
from fx_mm.analysis.gpu_check.golden import golden_sample as sample
from fx_mm.converters import convert_foundation_x
from fx_mm.models.backbones import FusedSwinTransformer

CONFIGS = Path(__file__).parents[2] / 'configs'
GOLDEN = os.environ.get(VARIABLE)
pytestmark = pytest.mark.skipif(not GOLDEN, reason='FX_MM_GOLDEN is not set')


@pytest.fixture(scope='module')
def golden():
    return read_outputs(GOLDEN)


@pytest.fixture(scope='module')
def weights():
    return read_weights(GOLDEN)


@pytest.fixture(scope='module')
def conversion(weights):
    return build_golden(CONFIGS, weights)


@pytest.fixture(scope='module')
def model(conversion):
    return conversion[0]


@pytest.fixture(scope='module')
def pyramid(model, golden):
    with torch.no_grad():
        return model.extract_feat(golden['input.image'])


def with_boxes(golden):
    cx, cy, w, h = golden['input.target_boxes'].unbind(-1)
    corners = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
    return sample(
        gt_instances=InstanceData(
            bboxes=torch.stack(corners, -1) * 224,
            labels=golden['input.target_labels'] - 1,
        ),
    )


def close(ours, theirs, atol=2e-5, rtol=0):
    torch.testing.assert_close(ours, theirs, atol=atol, rtol=rtol)


def loss_close(ours, theirs):
    """The authors add 1e-6 to the normalised areas in their GIoU."""
    close(ours, theirs, atol=0, rtol=2e-5)


def boxes_close(ours, theirs):
    close(ours, theirs, atol=2e-6)


def test_every_weight_is_used_or_known_to_be_useless(conversion, weights):
    model, result = conversion
    assert isinstance(model.backbone, FusedSwinTransformer)
    assert result.missing == ()
    assert set(result.state_dict) == set(model.state_dict())
    reasons = set(result.unused.values())
    absent = {
        f'the model has no task {dataset}/seg'
        for dataset in ('tbx11k', 'node21', 'rsna')
    }
    assert absent <= reasons
    other = {r for r in reasons - absent if 'the same as' not in r}
    assert other == {
        'the authors never apply these norms',
        'the authors never apply this head',
        'the decoder refines boxes and has no use for classes',
    }
    assert len(weights) == len(result.state_dict) + len(result.unused)


def test_the_prefix_of_a_wrapped_model(model, weights):
    wrapped = {f'module.{key}': value for key, value in weights.items()}
    result = convert_foundation_x(wrapped, model)
    ours = model.state_dict()
    for name, value in result.state_dict.items():
        assert torch.equal(ours[name], value)


def test_backbone(pyramid, golden):
    for stage, feature in enumerate(pyramid):
        close(feature, golden[f'backbone.stage{stage}'])


@torch.no_grad()
def test_classification(model, pyramid, golden):
    branch = model.classification
    state = branch.encode(pyramid, [])
    close(branch.consistency(state)[0][0], golden['cls.pooled'])
    for index, dataset in enumerate(CLS_HEADS):
        logits = branch(state, dataset, [])
        close(logits, golden[f'cls.head{index}.logits'])
    truth = sample(gt_score=golden['input.cls_target14'][0])
    loss = branch.loss(state, 'chexpert', truth)['loss_cls']
    close(loss, golden['cls.head6.bce'])


@torch.no_grad()
def test_segmentation(model, pyramid, golden):
    branch = model.segmentation
    decoder = branch.decoder
    last = pyramid[-1]
    pooled = decoder.bottleneck(torch.cat([last, *decoder.ppm(last)], dim=1))
    close(pooled, golden['seg.ppm'])
    state = branch.encode(pyramid, sample())
    close(state['fused'], golden['seg.fpn'])
    close(branch.consistency(state)[1][0], golden['seg.cons_b_norm'])
    for index in (2, 4, 5):
        logits = golden[f'seg.head{index}.logits']
        mask = golden['input.seg_mask'][0].expand(logits.shape[1], -1, -1)
        samples = sample(gt_sem_seg=PixelData(data=mask))
        dataset = HEADS[index]
        close(branch(state, dataset, samples), logits)
        loss = branch.loss(state, dataset, samples)['loss_dice']
        close(loss, golden[f'seg.head{index}.dice_loss'])


@pytest.fixture(scope='module')
def state(model, pyramid, golden):
    with torch.no_grad():
        return model.localization.encode(pyramid, sample())


@torch.no_grad()
def test_localization_encoder(model, state, golden):
    encoder = model.localization.encoder
    for level, feature in enumerate(state['maps']):
        close(feature, golden[f'loc.feat{level}'])
        position = encoder.positional_encoding(None, input=feature)
        close(position, golden[f'loc.pos{level}'], atol=1e-6)
    for level, feature in enumerate(encoder.neck(state['maps'])):
        close(feature, golden[f'loc.proj{level}'])
    close(state['memory'], golden['loc.memory'])
    # the consistency feature stays the memory before any projection
    features = model.localization.consistency(state)
    assert features[1][0] is state['memory']


@pytest.mark.parametrize('index', [0, 3])
@torch.no_grad()
def test_localization_decoder(model, state, golden, index, monkeypatch):
    branch, dataset = model.localization, HEADS[index]
    theirs = {
        key.removeprefix(f'loc.dec{index}.'): value
        for key, value in golden.items()
        if key.startswith(f'loc.dec{index}.')
    }
    chosen = []
    topk = torch.Tensor.topk

    def spy(*args, **kwargs):
        chosen.append(topk(*args, **kwargs))
        return chosen[-1]

    monkeypatch.setattr(torch.Tensor, 'topk', spy)
    outputs = branch.decode(state, dataset, sample(), denoise=False)
    monkeypatch.undo()
    assert torch.equal(chosen[0].indices, theirs['topk_index'])
    close(outputs['proposal_scores'], theirs['interm_logits'])
    boxes_close(outputs['proposal_boxes'], theirs['interm_boxes'])
    close(outputs['hidden_states'], theirs['hs'])

    logits, boxes = branch(state, dataset, sample())
    close(logits[0], theirs['aux0_logits'])
    boxes_close(boxes[0], theirs['aux0_boxes'])
    close(logits[1], theirs['pred_logits'])
    boxes_close(boxes[1], theirs['pred_boxes'])


@pytest.mark.parametrize('index', [0, 3])
@torch.no_grad()
def test_localization_losses(model, state, golden, index, monkeypatch):
    branch, dataset = model.localization, HEADS[index]
    head, samples = branch.tasks[dataset].head, with_boxes(golden)
    key = f'loc.dec{index}.'
    matches = []
    matcher = head.matcher

    def spy(*args):
        matches.append(matcher(*args))
        return matches[-1]

    monkeypatch.setattr(head, 'matcher', spy)
    losses = branch.loss(state, dataset, samples)
    losses.pop('loss_encoder_l2')
    loss_close(sum(losses.values()), golden[key + 'weighted_loss'])
    _, queries, targets = matches[0]
    assert torch.equal(queries[-1], golden[key + 'match_query'])
    assert torch.equal(targets[-1], golden[key + 'match_target'])

    # the authors compute the loss of the proposals and give it no weight
    monkeypatch.setattr(head, 'proposal_loss_weight', 1.0)
    losses = branch.loss(state, dataset, samples)
    names = golden[key + 'loss_names']
    values = dict(zip(names, golden[key + 'loss_values']))
    for ours, theirs, weight in (
        ('loss_cls', 'loss_ce', 1),
        ('loss_bbox', 'loss_bbox', 5),
        ('loss_iou', 'loss_giou', 2),
    ):
        for prefix, suffix in (('', ''), ('d0.', '_0'), ('enc_', '_interm')):
            loss_close(losses[prefix + ours], weight * values[theirs + suffix])


@pytest.mark.parametrize('index', [0, 3])
@torch.no_grad()
def test_localization_predictions(model, state, golden, index):
    dataset, key = HEADS[index], f'loc.dec{index}.post_'
    result = model.localization.predict(state, dataset, sample())
    ours = result[0].pred_instances
    # logit 0 is no class: the authors report it, we do not
    kept = golden[key + 'labels'] > 0
    count = int(kept.sum())
    assert count > 50
    assert torch.equal(ours.labels[:count], golden[key + 'labels'][kept] - 1)
    close(ours.scores[:count], golden[key + 'scores'][kept], atol=2e-6)
    boxes = golden[key + 'boxes'][kept].clamp(0, 224)
    close(ours.bboxes[:count], boxes, atol=224 * 2e-6)


def test_denoising_mask(model, golden):
    branch = model.localization
    task = branch.tasks['tbx11k']
    _, _, mask, meta = task.denoising(
        with_boxes(golden), branch.label_embedding
    )
    count, groups = golden['dn.pad_size,num_groups'].tolist()
    assert meta == dict(
        num_denoising_queries=count, num_denoising_groups=groups
    )
    assert torch.equal(mask, golden['dn.attn_mask'])
