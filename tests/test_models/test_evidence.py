"""What a finding rests on: maps of labels, points of boxes."""

import pytest
import torch
from model_helpers import batch, build
from torch import nn

import fx_mm.ops.deformable_attention as attention


@pytest.fixture(scope='module')
def model():
    return build(noise=0.05).eval().student


@pytest.fixture(scope='module')
def plain():
    """As the paper: the average of the last map."""
    options = dict(
        stages=(3,), pool='avg', head_norm=False, type='ClassificationBranch'
    )
    model = build(noise=0.05, **{'student.classification': options})
    for head in model.student.classification.heads.values():
        head.fc.weight.data *= 100  # maps far above pytorch-grad-cam's 1e-7
    return model.eval().student


def one(task, seed=0):
    return batch(task, n=1, seed=seed)


class Whole(nn.Module):
    """Logits of a task from images."""

    def __init__(self, model, task):
        super().__init__()
        self.model, self.task = model, task

    def forward(self, inputs):
        _, samples = one(self.task)
        return self.model(inputs, samples)


def test_no_finding_no_evidence(model):
    for task in ('a/cls', 'a/loc', 'a/seg'):
        assert model.explain(*one(task), score_thr=1.1) == []
    assert model.explain(*one('a/seg'), score_thr=0.0) == []


@pytest.mark.parametrize('task', ['a/cls', 'b/cls'])
def test_map_is_that_of_a_backward_through_all(model, task):
    """Average and maximum of three stages."""
    inputs, samples = one(task)
    found = model.explain(inputs, samples, 0.0)
    whole = Whole(model, task)
    kept = {}
    handles = [
        norm.register_forward_hook(
            lambda m, a, out, i=i: kept.update({i: out})
        )
        for i, norm in enumerate(model.classification.norms)
    ]
    logits = whole(inputs)[0]
    for handle in handles:
        handle.remove()
    assert [each.label for each in found] == list(range(len(logits)))
    scores = logits.sigmoid() if task == 'a/cls' else logits.softmax(0)
    maps = [kept[i] for i in range(3)]
    for each in maps:
        each.retain_grad()
    for evidence, logit, score in zip(found, logits, scores):
        for each in maps:
            each.grad = None
        logit.backward(retain_graph=True)
        expected = 0
        for each in maps:
            part = (each.grad * each).sum(1, keepdim=True)
            part = part * part.numel()
            expected += nn.functional.interpolate(
                part, (8, 8), mode='bilinear'
            )
        assert torch.allclose(evidence.heat, expected.relu()[0, 0], atol=1e-5)
        assert evidence.score == pytest.approx(float(score))
    assert any(each.heat.max() > 0 for each in found)
    model.zero_grad()


def test_map_says_what_the_logit_says(plain):
    """Its mean, before negative places are cut, is the logit but for bias."""
    inputs, samples = one('a/cls')
    branch = plain.classification
    found = plain.explain(inputs, samples, 0.0)
    with torch.no_grad():
        logits = plain(inputs, samples)[0]
        (last,) = branch.normed_maps(plain.extract_feat(inputs))
    weight, bias = branch.heads['a'].fc.weight, branch.heads['a'].fc.bias
    for evidence, logit in zip(found, logits):
        label = evidence.label
        raw = torch.einsum('c,chw->hw', weight[label], last[0])
        assert torch.allclose(evidence.heat, raw.relu(), rtol=1e-4, atol=1e-4)
        assert float(raw.mean() + bias[label]) == pytest.approx(
            float(logit), rel=1e-4, abs=1e-4
        )


def test_map_is_that_of_pytorch_grad_cam(plain):
    cam = pytest.importorskip('pytorch_grad_cam')
    targets = pytest.importorskip('pytorch_grad_cam.utils.model_targets')
    inputs, samples = one('a/cls')
    whole = Whole(plain, 'a/cls')
    layers = [plain.classification.norms[0]]
    for evidence in plain.explain(inputs, samples, 0.0):
        ours = nn.functional.interpolate(
            evidence.heat[None, None], inputs.shape[2:], mode='bilinear'
        )[0, 0].numpy()
        ours = (ours - ours.min()) / (ours.max() - ours.min() + 1e-7)
        target = targets.ClassifierOutputTarget(evidence.label)
        for method in (cam.HiResCAM, cam.GradCAM):
            theirs = method(model=whole, target_layers=layers)
            expected = theirs(input_tensor=inputs, targets=[target])[0]
            assert abs(ours - expected).max() < 1e-3
    plain.zero_grad()


@pytest.mark.parametrize('task', ['a/loc', 'b/loc'])
def test_points_are_those_of_the_boxes_that_are_predicted(
    model, task, monkeypatch
):
    inputs, samples = one(task)
    calls = []
    sample_levels = attention.sample_levels

    def watch(value, shapes, locations, weights, kernel):
        calls.append((locations, weights))
        return sample_levels(value, shapes, locations, weights, kernel)

    monkeypatch.setattr(attention, 'sample_levels', watch)
    found = model.explain(inputs, samples, 0.0)
    (answer,) = model.predict(inputs, samples)
    boxes = torch.stack([each.box for each in found])
    assert torch.allclose(boxes, answer.pred_instances.bboxes)
    scores = [each.score for each in found]
    assert scores == pytest.approx(answer.pred_instances.scores.tolist())
    # each set of points is that of one query of the decoder's last layer
    decoder_layers = len(calls) // 2
    locations, weights = calls[decoder_layers - 1]
    heads = weights.shape[2]
    for each in found[:5]:
        assert float(each.shares.sum()) == pytest.approx(1, abs=1e-5)
        same = (locations[0].flatten(1, -2) == each.points).all((1, 2))
        (query,) = same.nonzero()[:, 0].tolist()[:1]
        assert torch.allclose(weights[0, query].flatten() / heads, each.shares)
        # the points surround the box before its last refinement
        center = each.points.mean(0)
        assert 0 < center[0] < 1 and 0 < center[1] < 1
