"""Test-time augmentation equals an average by hand."""

import copy

import model_helpers as h
import pytest
import torch
from mmdet.structures.bbox import bbox_overlaps
from torchvision.transforms.functional import ten_crop

from fx_mm.utils.errors import UserError

SIDE, WHOLE = 64, 80
SIZES = [(64, 64), (64, 96)]


def build(**tta):
    tasks = [
        h.with_options(
            task, img_size=SIDE, tta=tta.get(task.name.replace('/', '_'))
        )
        for task in h.TASKS
    ]
    return h.build(tasks=tasks, noise=0.02).eval()


@pytest.fixture(scope='module')
def single():
    return build()


@pytest.fixture(scope='module')
def flipping():
    return build(a_cls='flip', b_cls='flip', a_loc='flip', a_seg='flip')


@pytest.fixture(scope='module')
def cropping():
    return build(a_cls='ten_crop', b_cls='center_crop')


@torch.no_grad()
def predict(model, inputs, samples):
    samples = copy.deepcopy(samples)
    return model(inputs, samples, mode='predict')


def probabilities(model, inputs, samples):
    """Maps (B, C, H, W) at the input size."""
    with torch.no_grad():
        return model(inputs, samples, mode='tensor').sigmoid()


def same_image(samples):
    """The original has the size of the input, so masks are not resized."""
    for sample in samples:
        sample.set_metainfo(
            dict(ori_shape=sample.img_shape, scale_factor=(1.0, 1.0))
        )
    return samples


@pytest.mark.parametrize('task', ['b/loc', 'b/seg'])
def test_a_task_without_it_is_as_before(single, flipping, task):
    inputs, samples = h.batch(task)
    one = predict(single, inputs, samples)[0]
    other = predict(flipping, inputs, samples)[0]
    key = 'pred_instances' if task == 'b/loc' else 'pred_sem_seg'
    for name, value in one.get(key).items():
        assert torch.equal(value, other.get(key).get(name))


@pytest.mark.parametrize('weights', ['teacher', 'student'])
@pytest.mark.parametrize('task', ['a/cls', 'b/cls'])
def test_scores_of_image_and_mirror_image(single, flipping, task, weights):
    inputs, samples = h.batch(task, size=SIDE)
    with single.using(weights), flipping.using(weights):
        views = [predict(single, x, samples) for x in (inputs, inputs.flip(3))]
        merged = predict(flipping, inputs, samples)
    for result, *parts in zip(merged, *views):
        expected = (parts[0].pred_score + parts[1].pred_score) / 2
        torch.testing.assert_close(result.pred_score, expected)


@pytest.mark.parametrize('task', ['a/cls', 'b/cls'])
def test_scores_do_not_change_with_the_mirror_image(flipping, task):
    inputs, samples = h.batch(task, size=SIDE)
    one, other = (
        predict(flipping, x, samples) for x in (inputs, inputs.flip(3))
    )
    for a, b in zip(one, other):
        torch.testing.assert_close(a.pred_score, b.pred_score)


def test_ten_crops_by_hand(single, cropping):
    inputs, samples = h.batch('a/cls', size=WHOLE)
    expected = 0
    for view in ten_crop(inputs, SIDE):
        results = predict(single, view, h.batch('a/cls', size=SIDE)[1])
        expected = expected + torch.stack([r.pred_score for r in results])
    results = predict(cropping, inputs, samples)
    scores = torch.stack([r.pred_score for r in results])
    torch.testing.assert_close(scores, expected / 10)


def test_the_centre_crop_alone(single, cropping):
    inputs, samples = h.batch('b/cls', size=WHOLE)
    (result, *_) = predict(cropping, inputs, samples)
    (alone, *_) = predict(
        single, inputs[..., 8:72, 8:72], h.batch('b/cls', size=SIDE)[1]
    )
    torch.testing.assert_close(result.pred_score, alone.pred_score)
    torch.testing.assert_close(result.pred_score.sum(), torch.tensor(1.0))


def test_views_run_one_by_one(cropping):
    shapes = []
    handle = cropping.teacher.backbone.register_forward_hook(
        lambda module, args, output: shapes.append(tuple(args[0].shape))
    )
    predict(cropping, *h.batch('a/cls', size=WHOLE, n=3))
    handle.remove()
    assert shapes == 10 * [(3, 3, SIDE, SIDE)]


def test_crops_leave_padding_out(cropping):
    inputs, samples = h.rectangle('a/cls', (70, WHOLE))
    padded = torch.nn.functional.pad(inputs, (0, 16, 0, 26), value=9.0)
    alone = predict(cropping, inputs, samples)
    for sample in samples:
        sample.set_metainfo(dict(batch_input_shape=padded.shape[2:]))
    for a, b in zip(alone, predict(cropping, padded, samples)):
        torch.testing.assert_close(a.pred_score, b.pred_score)


@pytest.mark.parametrize('shape', [(64, 64), (63, 100), (100, 20)])
def test_too_small_images_are_refused(cropping, shape):
    inputs, samples = h.rectangle('a/cls', shape)
    found = f'0.png.*a/cls.*{shape[1]}x{shape[0]}.*64x64.*resize_size'
    with pytest.raises(UserError, match=found):
        predict(cropping, inputs, samples)


@pytest.mark.parametrize('shape', SIZES)
def test_masks_of_image_and_mirror_image(single, flipping, shape):
    inputs, samples = h.rectangle('a/seg', shape)
    samples = same_image(samples)
    mean = probabilities(single.teacher, inputs, samples)
    mirrored = probabilities(single.teacher, inputs.flip(3), samples)
    mean = (mean + mirrored.flip(3)) / 2
    threshold = mean.median().item()
    flipping.teacher.segmentation.threshold = threshold
    results = predict(flipping, inputs, samples)
    masks = torch.stack([r.pred_sem_seg.data for r in results])
    sure = (mean - threshold).abs() > 1e-5
    assert sure.float().mean() > 0.99
    assert torch.equal(masks[sure] == 1, (mean > threshold)[sure])
    assert 0.2 < masks.float().mean() < 0.8
    # the mirror image's masks are the mirror image of the masks
    results = predict(flipping, inputs.flip(3), samples)
    again = torch.stack([r.pred_sem_seg.data for r in results])
    assert torch.equal(masks[sure], again.flip(3)[sure])


def test_mirrored_masks_leave_padding_where_it_is(single, flipping):
    inputs, samples = h.rectangle('a/seg', (64, 40))
    samples = same_image(samples)
    inputs = torch.nn.functional.pad(inputs, (0, 24))
    for sample in samples:
        sample.set_metainfo(dict(batch_input_shape=(64, 64)))
    view = inputs.clone()
    view[..., :40] = inputs[..., :40].flip(3)
    mean = probabilities(single.teacher, inputs, samples)[..., :40]
    mean = mean + probabilities(single.teacher, view, samples)[..., :40].flip(
        3
    )
    threshold = mean.median().item() / 2
    flipping.teacher.segmentation.threshold = threshold
    results = predict(flipping, inputs, samples)
    masks = torch.stack([r.pred_sem_seg.data for r in results])
    sure = (mean / 2 - threshold).abs() > 1e-5
    assert torch.equal(masks[sure] == 1, (mean / 2 > threshold)[sure])


def boxes_of(result):
    found = result.pred_instances
    return found.bboxes, found.scores, found.labels


def test_boxes_of_both_views_are_there_and_differ(single, flipping):
    inputs, samples = h.batch('a/loc')
    width = samples[0].ori_shape[1]
    views = [predict(single, x, samples) for x in (inputs, inputs.flip(3))]
    merged = predict(flipping, inputs, samples)
    for result, plain, mirrored in zip(merged, *views):
        boxes, scores, labels = boxes_of(result)
        ours = boxes_of(plain)
        theirs = boxes_of(mirrored)
        back = theirs[0].clone()
        back[:, 0::2] = width - theirs[0][:, [2, 0]]
        union = [torch.cat(x) for x in zip(ours, (back, *theirs[1:]))]
        assert 0 < len(boxes) <= len(ours[0])
        assert (scores[:-1] >= scores[1:]).all()
        for box, score, label in zip(boxes, scores, labels):
            same = (union[0] - box).abs().amax(1) < 1e-3
            same &= (union[1] == score) & (union[2] == label)
            assert same.any()
        # one class has no two boxes on the same spot, and the best stays
        iou = bbox_overlaps(boxes, boxes).fill_diagonal_(0)
        alike = labels[:, None] == labels[None]
        assert iou[alike].max() <= 0.5
        assert scores[0] == union[1].max()


def test_boxes_follow_the_mirror_image(flipping):
    inputs, samples = h.batch('a/loc')
    width = samples[0].ori_shape[1]
    one, other = (
        predict(flipping, x, samples) for x in (inputs, inputs.flip(3))
    )
    for a, b in zip(one, other):
        (ours, scores, labels), (theirs, *rest) = boxes_of(a), boxes_of(b)
        back = theirs.clone()
        back[:, 0::2] = width - theirs[:, [2, 0]]
        torch.testing.assert_close(scores, rest[0])
        # equal scores may swap places
        best = scores > scores[-1]
        assert torch.equal(labels[best], rest[1][best])
        torch.testing.assert_close(ours[best], back[best], atol=0.1, rtol=0)


def test_no_box_in_either_view(flipping, monkeypatch):
    inputs, samples = h.batch('a/loc')
    branch = flipping.teacher.localization
    infer = branch.infer
    monkeypatch.setattr(
        branch, 'infer', lambda *args: [x[:0] for x in infer(*args)]
    )
    for result in predict(flipping, inputs, samples):
        assert result.pred_instances.bboxes.shape == (0, 4)


def test_weights_have_the_same_names(single, cropping):
    assert single.state_dict().keys() == cropping.state_dict().keys()
