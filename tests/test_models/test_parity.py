"""The same weights give the same numbers as the stock modules."""

import model_helpers as h
import pytest
import torch
from mmdet.models.layers import (
    MLP,
    CdnQueryGenerator,
    coordinate_to_encoding,
)
from mmdet.models.layers.transformer import dino_layers
from mmdet.models.task_modules.assigners import HungarianAssigner
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from mmpretrain.models.heads import LinearClsHead
from mmpretrain.models.losses import CrossEntropyLoss

from fx_mm.analysis.stock_models import build_stock_dino
from fx_mm.models import StackedMatcher
from fx_mm.models.layers import DenoisingQueries
from fx_mm.models.layers.dino_config import DINO

DIMS, LAYERS = 32, 2
MATCH_COSTS = DINO['train_cfg']['assigner']['match_costs']
TASK = h.TASKS[2]


def halve_position_encoding(stock):
    """Give a fork's decoder the position head of DINO and of upstream."""
    if stock.decoder.ref_point_head.layers[0].in_features == 2 * DIMS:
        return
    stock.decoder.ref_point_head = MLP(2 * DIMS, DIMS, DIMS, 2)

    def encode(coordinates, num_feats):
        return coordinate_to_encoding(coordinates, num_feats // 2)

    dino_layers.coordinate_to_encoding = encode


def copy_weights(student, stock):
    """Give the stock detector our weights, by name."""
    ours = student.state_dict()
    prefix = 'localization.tasks.a.'
    names = {}
    for key in stock.state_dict():
        if key.startswith('backbone.norm'):
            stage, rest = key[len('backbone.norm') :].split('.')
            name = f'localization.encoder.norms.{int(stage) - 1}.{rest}'
        elif key.startswith('backbone.'):
            name = key
        elif key.startswith(('neck.', 'encoder.', 'level_embed')):
            name = 'localization.encoder.' + key
        elif key.startswith('decoder.'):
            name = prefix + key
        elif key.startswith('memory_trans_'):
            index = 0 if 'fc' in key else 1
            name = f'{prefix}selection.{index}.{key.split(".")[1]}'
        elif key.startswith('query_embedding'):
            name = 'localization.queries.weight'
        elif key.startswith('dn_query_generator'):
            name = 'localization.label_embedding.weight'
        else:
            _, branches, layer, rest = key.split('.', 3)
            kind = 'cls' if 'cls' in branches else 'box'
            own = 'proposal_' if int(layer) == LAYERS else ''
            name = f'{prefix}head.{own}{kind}_branch.{rest}'
        names[key] = name
    stock.load_state_dict({key: ours[name] for key, name in names.items()})
    used = set(names.values())
    assert {key for key in ours if key not in used} == {
        key for key in ours if key.startswith('localization.tasks.a.denoising')
    }


@pytest.fixture(scope='module')
def pair():
    student = h.build(tasks=[TASK], noise=0.05).student
    cfg = h.plain_cfg(**h.TINY).student
    stock = build_stock_dino(cfg, len(h.FINDINGS), [32, 64, 128])
    halve_position_encoding(stock)
    copy_weights(student, stock)
    branch = student.localization
    del stock.dn_query_generator

    def denoise(samples):
        return branch.tasks['a'].denoising(samples, branch.label_embedding)

    stock.dn_query_generator = denoise
    yield student.train(), stock.train()
    dino_layers.coordinate_to_encoding = coordinate_to_encoding


def batch(padded=False, **kwargs):
    inputs, samples = h.batch('a/loc', tasks=[TASK], **kwargs)
    if padded:
        samples[0].set_metainfo(dict(img_shape=(64, 48)))
    return inputs, samples


@pytest.mark.parametrize('boxes', [0, 1, 7])
@pytest.mark.parametrize('padded', [False, True])
def test_losses_and_gradients_of_stock_dino(pair, boxes, padded):
    student, stock = pair
    inputs, samples = batch(padded, boxes=boxes)
    losses, gradients = [], []
    for model in pair:
        model.zero_grad(set_to_none=True)
        torch.manual_seed(0)
        losses.append(model.loss(inputs, samples))
        sum(v.sum() for v in losses[-1].values()).backward()
        gradients.append(model.backbone.patch_embed.projection.weight.grad)
    ours, theirs = losses
    assert set(ours) == set(theirs)
    for key in ours:
        torch.testing.assert_close(
            ours[key].squeeze(), theirs[key].squeeze(), rtol=1e-4, atol=1e-6
        )
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize('padded', [False, True])
def test_predictions_of_stock_dino(pair, padded):
    results = []
    for model in pair:
        inputs, samples = batch(padded)
        model.eval()
        with torch.no_grad():
            results.append(model.predict(inputs, samples)[1].pred_instances)
        model.train()
    ours, theirs = results
    torch.testing.assert_close(ours.scores, theirs.scores)
    torch.testing.assert_close(ours.bboxes, theirs.bboxes, atol=1e-3, rtol=0)
    assert torch.equal(ours.labels, theirs.labels)


OTHER_COSTS = [
    dict(type='IoUCost', iou_mode='iou', weight=4.0),
    dict(type='FocalLossCost', weight=0.5, alpha=0.6, gamma=1.5, eps=1e-8),
    dict(type='BBoxL1Cost', weight=3.0),
]


@pytest.mark.parametrize('costs', [MATCH_COSTS, OTHER_COSTS])
@pytest.mark.parametrize('seed', range(5))
def test_matches_of_stock_assigner(seed, costs):
    generator = torch.Generator().manual_seed(seed)
    counts, classes = (3, 0, 40, 1), 5
    scores = torch.randn(3, 4, 30, classes, generator=generator)
    boxes = torch.rand(3, 4, 30, 4, generator=generator) * 0.5 + 0.2
    sizes = [(100, 80), (64, 64), (224, 200), (50, 70)]
    labels, truth = [], []
    for count, (height, width) in zip(counts, sizes):
        corner = torch.rand(count, 2, generator=generator) * 0.5
        side = torch.rand(count, 2, generator=generator) * 0.4 + 0.05
        box = torch.cat([corner, corner + side], dim=1)
        truth.append(box * torch.tensor([width, height] * 2))
        labels.append(torch.randint(classes, (count,), generator=generator))
    images, queries, matches = StackedMatcher(costs)(
        scores,
        boxes,
        labels,
        truth,
        torch.tensor([[w, h, w, h] for h, w in sizes]).float(),
    )
    with DefaultScope.overwrite_default_scope('mmdet'):
        assigner = HungarianAssigner(costs)
    for layer in range(3):
        start = 0
        for image, count in enumerate(counts):
            height, width = sizes[image]
            cx, cy, w, hh = boxes[layer, image].unbind(-1)
            pixels = torch.stack(
                [cx - 0.5 * w, cy - 0.5 * hh, cx + 0.5 * w, cy + 0.5 * hh], -1
            ) * torch.tensor([width, height, width, height])
            result = assigner.assign(
                InstanceData(scores=scores[layer, image], bboxes=pixels),
                InstanceData(labels=labels[image], bboxes=truth[image]),
                dict(img_shape=(height, width)),
            )
            expected = torch.zeros(30, dtype=torch.long)
            mine = images == image
            rows = queries[layer][mine]
            expected[rows] = matches[layer][mine] - start + 1
            assert torch.equal(result.gt_inds, expected)
            start += count


@pytest.mark.parametrize('counts', [(3, 0, 2), (0, 0), (1,), (25, 2)])
def test_denoising_of_stock_generator(counts):
    cfg = dict(num_classes=3, embed_dims=8, num_matching_queries=5)
    cfg.update(label_noise_scale=1e-9, box_noise_scale=1.0)
    group_cfg = dict(dynamic=True, num_dn_queries=20)
    stock = CdnQueryGenerator(**cfg, group_cfg=group_cfg)
    ours = DenoisingQueries(**cfg, group_cfg=group_cfg)
    _, samples = h.batch('a/loc', n=len(counts), boxes=0)
    for sample, count in zip(samples, counts):
        _, (donor,) = h.batch('a/loc', n=1, boxes=count, seed=count)
        sample.gt_instances = donor.gt_instances
        sample.set_metainfo(dict(img_shape=(64, 80)))

    def seeded(generator, *args):
        draw = generator.generate_dn_bbox_query

        def noise(*boxes):
            torch.manual_seed(0)
            return draw(*boxes)

        generator.generate_dn_bbox_query = noise
        return generator(samples, *args)

    theirs = seeded(stock)
    mine = seeded(ours, stock.label_embedding)
    for got, wanted in zip(mine[:3], theirs[:3]):
        assert torch.equal(got, wanted)
    assert mine[3] == theirs[3]


def test_matching_survives_nan():
    scores = torch.full((1, 1, 4, 2), float('nan'))
    boxes = torch.full((1, 1, 4, 4), float('nan'))
    images, queries, _ = StackedMatcher(MATCH_COSTS)(
        scores,
        boxes,
        [torch.tensor([0, 1])],
        [torch.tensor([[0.0, 0.0, 5.0, 5.0], [2.0, 2.0, 9.0, 9.0]])],
        torch.tensor([[10.0, 10.0, 10.0, 10.0]]),
    )
    assert len(images) == 2 and queries.unique().numel() == 2


def test_linear_head_of_mmpretrain():
    paper = {
        f'student.classification.{key}': value
        for key, value in dict(
            stages=(3,), pool='avg', head_norm=False
        ).items()
    }
    model = h.build(tasks=h.TASKS[:1], noise=0.05, **paper).student.eval()
    inputs, samples = h.batch('a/cls')
    feature = model.extract_feat(inputs)[-1]
    norm = model.classification.norms[0]
    pooled = norm(feature).mean((2, 3))
    stock = LinearClsHead(3, 128, loss=CrossEntropyLoss(use_sigmoid=True))
    stock.load_state_dict(model.classification.heads.a.state_dict())
    logits = stock((pooled,))
    torch.testing.assert_close(model(inputs, samples), logits)
    target = torch.stack([sample.gt_score for sample in samples])
    loss = stock.loss_module(logits, target)
    ours = model.loss(inputs, samples)['loss_cls']
    torch.testing.assert_close(ours, loss)
