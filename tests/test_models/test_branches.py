import model_helpers as h
import pytest
import torch
import torch.nn.functional as F

from fx_mm.models import MaskedBCELoss, MaskedSoftmaxLoss, SoftDiceLoss
from fx_mm.models.layers import DenoisingQueries, PyramidDecoder
from fx_mm.registry import MODELS
from fx_mm.utils.errors import UserError

NAN = float('nan')


def test_bce_ignores_unknown_labels():
    logits = torch.tensor([[1.0, -2.0], [0.5, 3.0]], requires_grad=True)
    target = torch.tensor([[1.0, NAN], [NAN, 0.0]])
    loss = MaskedBCELoss()(logits, target)
    known = torch.stack([logits[0, 0], logits[1, 1]])
    wanted = F.binary_cross_entropy_with_logits(
        known, torch.tensor([1.0, 0.0])
    )
    torch.testing.assert_close(loss, wanted)
    loss.backward()
    assert logits.grad[0, 1] == 0 and logits.grad[1, 0] == 0
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize('weight', [3.0, (1.0, 3.0)])
def test_bce_pos_weight(weight):
    logits, target = torch.randn(4, 2), torch.ones(4, 2)
    wanted = F.binary_cross_entropy_with_logits(
        logits, target, pos_weight=torch.tensor(weight)
    )
    torch.testing.assert_close(MaskedBCELoss(weight)(logits, target), wanted)


def test_softmax_ignores_unknown_rows():
    logits = torch.randn(3, 4, requires_grad=True)
    target = F.one_hot(torch.tensor([2, 0, 1]), 4).float()
    target[1] = NAN
    loss = MaskedSoftmaxLoss()(logits, target)
    wanted = F.cross_entropy(logits[[0, 2]], torch.tensor([2, 1]))
    torch.testing.assert_close(loss, wanted)
    loss.backward()
    assert logits.grad[1].abs().sum() == 0
    assert MaskedSoftmaxLoss()(logits, target * NAN).item() == 0


def test_dice_is_over_the_whole_batch():
    logits = torch.randn(3, 2, 4, 4)
    target = (torch.rand(3, 2, 4, 4) > 0.5).to(torch.uint8)
    probs, y = logits.sigmoid(), target.float()
    wanted = 1 - (2 * (probs * y).sum() + 1) / (probs.sum() + y.sum() + 1)
    torch.testing.assert_close(SoftDiceLoss()(logits, target), wanted)
    single = [
        SoftDiceLoss()(logits[:, c : c + 1], target[:, c : c + 1])
        for c in range(2)
    ]
    torch.testing.assert_close(
        SoftDiceLoss(per_channel=True)(logits, target),
        torch.stack(single).mean(),
    )


@pytest.mark.parametrize('pool', ['avg', 'max', 'avg+max'])
@pytest.mark.parametrize('projector', ['none', 'linear', 'mlp'])
def test_pools_and_projectors(pool, projector):
    branch = MODELS.build(
        dict(
            type='ClassificationBranch',
            in_channels=(4, 8, 16, 32),
            tasks=h.TASKS[:2],
            pool=pool,
            projector=projector,
            projector_dims=12,
        )
    )
    pyramid = [torch.randn(2, 4 * 2**i, 24 >> i, 24 >> i) for i in range(4)]
    state = branch.encode(pyramid, [])
    dims = 12 if projector != 'none' else 64 if '+' in pool else 32
    assert state['pooled'].shape == (2, dims)
    assert branch(state, 'a', []).shape == (2, 3)
    names = {part.name for part in branch.param_groups()}
    assert ('classification/projector' in names) == (projector != 'none')


@pytest.mark.parametrize('stages, dims', [((3,), 64), ((1, 3), 80)])
def test_stages_are_pooled_side_by_side(stages, dims):
    branch = MODELS.build(
        dict(
            type='ClassificationBranch',
            in_channels=(4, 8, 16, 32),
            tasks=h.TASKS[:2],
            stages=stages,
            pool='avg+max',
        )
    )
    pyramid = [torch.randn(2, 4 * 2**i, 24 >> i, 24 >> i) for i in range(4)]
    assert branch.encode(pyramid, [])['pooled'].shape == (2, dims)


def test_a_head_standardises_its_own_dataset_only():
    branch = MODELS.build(
        dict(
            type='ClassificationBranch',
            in_channels=(4, 8, 16, 32),
            tasks=h.TASKS[:2],
            head_norm=True,
        )
    ).train()
    pooled = torch.randn(8, 32, generator=torch.Generator().manual_seed(0))
    pooled = 0.1 * pooled + 0.5
    exact = pooled.double()
    variance = exact.var(0, unbiased=False)
    expected = (exact - exact.mean(0)) / (variance + 1e-5).sqrt()
    expected = expected.float()
    logits = branch(dict(pooled=pooled), 'a', [])
    torch.testing.assert_close(logits, branch.heads.a((expected,)))
    assert branch.head_norms.a.num_batches_tracked == 1
    assert branch.head_norms.b.num_batches_tracked == 0
    # one image has no variance: the running statistics serve
    assert branch(dict(pooled=pooled[:1]), 'a', []).isfinite().all()
    part = next(p for p in branch.param_groups() if p.task == 'a/cls')
    assert 'head_norms.a' in part.modules


def test_dice_over_present_classes_is_silent_about_the_absent():
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    target = torch.zeros(2, 3, 4, 4)
    loss = SoftDiceLoss(per_channel=True, present_only=True)
    assert loss(logits, target).item() == 0
    target[0, 1, :2] = 1
    one = SoftDiceLoss()(logits[:, 1:2], target[:, 1:2])
    torch.testing.assert_close(loss(logits, target), one)
    loss(logits, target).backward()
    assert logits.grad[:, 1].abs().sum() > 0
    assert logits.grad[:, [0, 2]].abs().sum() == 0


def test_multi_class_loss_by_config():
    losses = {}
    for kind in ('softmax', 'bce'):
        options = {'student.classification.multi_class_loss': kind}
        student = h.build(tasks=h.TASKS[:2], **options).student
        losses[kind] = type(student.classification.heads.b.loss_module)
    assert losses == dict(softmax=MaskedSoftmaxLoss, bce=MaskedBCELoss)


@pytest.mark.parametrize(
    'option, value',
    [
        ('classification.pool', 'sum'),
        ('classification.projector', 'conv'),
        ('localization.queries', 'own'),
    ],
)
def test_unknown_options_are_refused(option, value):
    with pytest.raises(UserError, match=f'{option} is {value!r}; use one of'):
        h.build(**{f'student.{option}': value})


def test_more_queries_than_tokens_are_refused():
    tasks = [h.with_options(h.TASKS[2], img_size=128)]
    # strides 8, 16, 32: 256 + 64 + 16 tokens
    h.build(tasks=tasks, **{'student.localization.num_queries': 336})
    with pytest.raises(UserError, match='337, but an image of 128 px gives'):
        h.build(tasks=tasks, **{'student.localization.num_queries': 337})
    model = h.build(
        tasks=h.TASKS[2:3], **{'student.localization.num_queries': 100}
    )
    with pytest.raises(UserError, match='84 tokens'):
        model(*h.batch('a/loc', size=64), mode='loss')


@pytest.mark.parametrize('share_decoder', [False, True])
@pytest.mark.parametrize('sharing', ['shared', 'per_task'])
def test_sharing_of_decoder_and_queries(share_decoder, sharing):
    options = {
        'student.localization.share_decoder': share_decoder,
        'student.localization.queries': sharing,
        'student.localization.label_embedding': sharing,
    }
    student = h.build(tasks=h.TASKS[2:4], noise=0.02, **options).student
    parts = {part.name: part for part in student.param_groups()}
    assert ('localization/decoder' in parts) == share_decoder
    assert ('a/loc/decoder' in parts) != share_decoder
    for name in ('queries', 'label_embedding'):
        assert (f'localization/{name}' in parts) == (sharing == 'shared')
        assert (f'a/loc/{name}' in parts) == (sharing == 'per_task')
    for name, _ in student.named_parameters():
        assert sum(part.owns(name) for part in parts.values()) == 1
    for mode in ('lock', 'lock_plus'):
        student.zero_grad(set_to_none=True)
        plan = student.freeze_plan('a/loc', mode)
        student.lock(plan)
        sum(student.loss(*h.batch('a/loc')).values()).backward()
        learning = {
            part.name
            for part in parts.values()
            if any(
                part.owns(n) and p.grad is not None
                for n, p in student.named_parameters()
            )
        }
        wanted = {'a/loc/head', 'a/loc/selection'}
        if sharing == 'per_task':
            wanted |= {'a/loc/queries', 'a/loc/label_embedding'}
        if mode == 'lock' and not share_decoder:
            wanted.add('a/loc/decoder')
        assert learning == wanted


def test_proposals_learn_unless_switched_off():
    gradients = []
    for weight in (1.0, 0.0):
        options = {'student.localization.proposal_loss_weight': weight}
        student = h.build(tasks=h.TASKS[2:3], **options).student
        losses = student.loss(*h.batch('a/loc'))
        assert ('enc_loss_cls' in losses) == (weight > 0)
        sum(losses.values()).backward()
        head = student.localization.tasks['a'].head
        gradients.append(head.proposal_cls_branch.weight.grad)
    assert gradients[0].abs().sum() > 0
    assert gradients[1] is None or gradients[1].abs().sum() == 0


def test_encoder_l2():
    options = {'student.localization.encoder_l2': 1e-4}
    student = h.build(tasks=h.TASKS[2:3], **options).student
    encoder = student.localization.encoder.encoder
    wanted = 1e-4 * sum(p.square().sum() for p in encoder.parameters())
    losses = student.loss(*h.batch('a/loc'))
    torch.testing.assert_close(losses['loss_encoder_l2'], wanted)
    student.lock(('localization/encoder',))
    assert 'loss_encoder_l2' not in student.loss(*h.batch('a/loc'))


def test_denoising_labels_stay_within_the_classes():
    generator = DenoisingQueries(
        num_classes=1,
        embed_dims=8,
        num_matching_queries=5,
        group_cfg=dict(num_dn_queries=6),
    )
    _, samples = h.batch('b/loc', boxes=3)
    embedding = torch.nn.Embedding(4, 8)
    content, anchors, mask, meta = generator(samples, embedding)
    assert meta == dict(num_denoising_queries=12, num_denoising_groups=2)
    assert content.shape == (2, 12, 8) and anchors.shape == (2, 12, 4)
    assert mask.shape == (17, 17)
    assert (content == embedding.weight[0]).all()
    # matching queries see no denoising query, a group sees no other
    assert mask[12:, :12].all() and not mask[12:, 12:].any()
    assert mask[:6, 6:12].all() and not mask[:6, :6].any()


@pytest.mark.parametrize('norm', ['BN', 'GN'])
def test_decoder_trains_on_one_image(norm):
    norm_cfg = dict(type=norm)
    if norm == 'GN':
        norm_cfg['num_groups'] = 2
    decoder = PyramidDecoder((8, 16, 32, 64), norm_cfg=norm_cfg).train()
    sides = (16, 8, 4, 2)
    maps = [torch.randn(1, 128 // s, s, s) for s in sides]
    out = decoder(maps)
    assert out.shape == (1, 8, 16, 16) and out.isfinite().all()
    assert all(m.training for m in decoder.modules())


def test_decoder_has_the_layers_of_the_paper():
    decoder = PyramidDecoder((128, 256, 512, 1024))
    count = sum(p.numel() for p in decoder.parameters())
    # foundation_x_keys.md: PPM and FPN of the Swin-B model
    assert count == 20_894_464
    assert isinstance(decoder.laterals[0], torch.nn.Identity)


def test_bce_term_of_segmentation():
    options = {'student.segmentation.bce_weight': 0.5}
    student = h.build(tasks=h.TASKS[4:5], **options).student.eval()
    inputs, samples = h.batch('a/seg')
    losses = student.loss(inputs, samples)
    target = torch.stack([s.gt_sem_seg.data for s in samples]).float()
    logits = student(inputs, samples)
    wanted = 0.5 * F.binary_cross_entropy_with_logits(logits, target)
    torch.testing.assert_close(losses['loss_bce'], wanted)


def test_masks_without_the_padding():
    student = h.build(tasks=h.TASKS[4:5]).student.eval()
    inputs, samples = h.batch('a/seg')
    for sample in samples:
        sample.set_metainfo(dict(img_shape=(64, 32), ori_shape=(64, 32)))
    with torch.no_grad():
        logits = student(inputs, samples)
        result = student.predict(inputs, samples)[0].pred_sem_seg.data
    wanted = (logits[0, :, :, :32].sigmoid() > 0.5).to(torch.uint8)
    assert torch.equal(result, wanted)
