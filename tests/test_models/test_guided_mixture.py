"""A mixture that a light model guides: its shares, its loss, what stays."""

import copy
import math

import model_helpers as h
import pytest
import torch
import torch.nn.functional as F

from fx_mm.models.adapters import GuidedMixture
from fx_mm.models.backbones import HiddenPatches, build_backbone
from fx_mm.utils.errors import UserError

# without boxes, whose branch takes most of the time
TASKS = tuple(task for task in h.TASKS if task.kind.name != 'loc')
OWN = ['a/cls', 'a/seg']
LIGHT = dict(
    type='FusedSwinTransformer',
    embed_dims=8,
    depths=(1, 1, 1, 1),
    num_heads=(1, 2, 4, 8),
    window_size=4,
)


@pytest.fixture(scope='module')
def adapter(tmp_path_factory):
    """Its config; the guide's weights are in a file."""
    torch.manual_seed(1)
    guide = build_backbone(LIGHT)
    guide.init_weights()
    file = str(tmp_path_factory.mktemp('guide') / 'light.pth')
    torch.save(dict(state_dict=guide.state_dict()), file)
    pretrained = dict(type='Pretrained', checkpoint=file)
    return dict(
        type='GuidedMixture',
        experts=3,
        rank=2,
        alpha=4,
        guide=dict(LIGHT, init_cfg=pretrained),
    )


@pytest.fixture(scope='module')
def plain():
    return h.build(tasks=TASKS, noise=0.02).eval()


@pytest.fixture(scope='module')
def built(adapter, plain):
    model = h.build(tasks=TASKS, **{'student.adapter': adapter})
    result = model.load_state_dict(plain.state_dict(), strict=False)
    assert not result.unexpected_keys
    assert all('.adapter.' in name for name in result.missing_keys)
    return model.eval()


@pytest.fixture
def model(built):
    return copy.deepcopy(built)


def moved(model):
    """The model with a gate that tells images apart and experts that add."""
    torch.manual_seed(3)
    adapter = model.student.adapter
    with torch.no_grad():
        adapter.gate.mix.weight.normal_(std=5)
        for layer in adapter.layers.values():
            layer.expert_up.normal_(std=0.1)
    model.reset_teacher()
    return model


def test_untrained_it_changes_no_bit(plain, model):
    for task in OWN:
        for role in ('student', 'teacher'):
            before = h.outputs(getattr(plain, role), task)
            after = h.outputs(getattr(model, role), task)
            assert all(map(torch.equal, before, after)), task


def test_the_guide_is_the_file(adapter, model):
    weights = torch.load(adapter['guide']['init_cfg']['checkpoint'])
    for name, value in model.student.adapter.guide.state_dict().items():
        assert torch.equal(value, weights['state_dict'][name]), name


@torch.no_grad()
def test_shares_and_additions_are_those_of_the_formula(model):
    """By a loop over images, positions and experts of one layer."""
    student = moved(model).student
    adapter = student.adapter
    inputs, _ = h.batch('a/seg', n=3)
    seen = {}
    name = 'stages.0.blocks.1.attn.w_msa.qkv'
    linear = student.backbone.get_submodule(name)
    layer = adapter.layers[name.replace('.', '/')]
    hook = linear.register_forward_hook(
        lambda _, args, output: seen.update(x=args[0], y=output)
    )
    student.extract_feat(inputs, student.tasks['a/seg'])
    hook.remove()
    last = adapter.guide(inputs)[-1]
    gate, width = adapter.gate, adapter.width
    query = adapter.embeddings['a/seg']
    bare = F.linear(seen['x'], linear.weight, linear.bias)
    for image in range(3):
        tokens = last[image].flatten(1).T
        scores = gate.key(tokens) @ query / math.sqrt(width)
        mean = scores.softmax(0) @ gate.value(tokens)
        shares = gate.mix(mean).softmax(0)
        added = 0
        for e, share in enumerate(shares):
            rows = slice(2 * e, 2 * e + 2)
            low = seen['x'][image] @ layer.expert_down[rows].T
            added = added + share * low @ layer.expert_up[:, rows].T
        torch.testing.assert_close(seen['y'][image], bare[image] + 2 * added)


def test_a_window_has_the_shares_of_its_image(model):
    """Of backbones that hand on windows, image by image."""
    layer = next(iter(model.student.adapter.layers.values()))
    layer.sight.shares = torch.tensor([[1.0, 0, 0], [0, 0.5, 0.5]])
    found = layer.shares(torch.zeros(6, 4, 16))
    assert found[:, 0].tolist() == [1, 1, 1, 0, 0, 0]


def test_images_and_tasks_have_shares_of_their_own(model):
    student = moved(model).student
    inputs, _ = h.batch('a/seg', n=2)
    found = {}
    for name in OWN:
        student.extract_feat(inputs, student.tasks[name])
        found[name] = student.adapter.sight.shares
        torch.testing.assert_close(found[name].sum(1), torch.ones(2))
        assert not torch.allclose(*found[name])
    assert not torch.allclose(*found.values())


@pytest.mark.parametrize('task', OWN)
def test_the_loss_is_that_of_the_formula(model, task):
    student = moved(model).train().student
    inputs, samples = h.batch(task)
    losses, _ = student.loss_and_features(inputs, samples)
    adapter = student.adapter
    with torch.no_grad():
        maps = student.eval().extract_feat(inputs, student.tasks[task])
        errors = []
        for teller, own, seen in zip(
            adapter.tellers, maps, adapter.guide(inputs)
        ):
            seen = seen - seen.mean(1, keepdim=True)
            seen = seen / (seen.square().mean(1, keepdim=True) + 1e-5).sqrt()
            errors.append((teller(own) - seen).square().mean())
    wanted = 0.5 * sum(errors) / 4
    torch.testing.assert_close(losses['loss_guide'].detach(), wanted)


@pytest.mark.parametrize('mode', ['lock', 'release'])
def test_what_learns_in_a_pass(model, mode):
    """The guide never, which also stays as in evaluation."""
    student = moved(model).train().student
    before = copy.deepcopy(student.adapter.guide.state_dict())
    student.lock(student.freeze_plan('a/seg', mode))
    model.train()
    assert not student.adapter.guide.training
    losses = h.backward(model, 'a/seg')
    assert ('loss_guide' in losses) == (mode == 'release')
    learning = h.with_gradient(model)
    own = {n for n in learning if n.startswith('adapter.')}
    assert not any(n.startswith('adapter.guide.') for n in own)
    assert bool(own) == (mode == 'release')
    if own:
        other = 'adapter.embeddings.a/cls'
        assert own == {
            f'adapter.{name}'
            for name, p in student.adapter.named_parameters()
            if p.requires_grad and name not in other
        } - {'adapter.embeddings.b/cls', 'adapter.embeddings.b/seg'}
    model.update_teacher(0.3)
    for role in model.models:
        after = role.adapter.guide.state_dict()
        assert all(torch.equal(before[n], after[n]) for n in before)


def test_it_can_be_copied_after_a_step(model):
    h.backward(model.train(), 'a/seg')
    copy.deepcopy(model)


def test_without_weight_there_is_no_loss(adapter):
    cfg = dict(adapter, guide_weight=0)
    student = h.build(tasks=TASKS, **{'student.adapter': cfg}).student
    losses, _ = student.loss_and_features(*h.batch('a/seg'))
    assert 'loss_guide' not in losses


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(guide=LIGHT), 'guide names no weights'),
        (dict(guide_weight=-1), 'guide_weight is -1'),
        (
            dict(guide=dict(LIGHT, patch_size=8, strides=(8, 2, 2, 2))),
            'guide gives maps of strides',
        ),
        (dict(guide=dict(LIGHT, embed_dims=12)), 'names no weights'),
    ],
)
def test_mistakes_are_named(adapter, options, message):
    with pytest.raises(UserError, match=message):
        h.build(tasks=TASKS, **{'student.adapter': {**adapter, **options}})


def test_a_guide_of_another_size_than_its_file_is_refused(adapter):
    guide = dict(adapter['guide'], embed_dims=16)
    cfg = dict(adapter, guide=guide)
    with pytest.raises(UserError, match='of the same architecture and size'):
        h.build(tasks=TASKS, **{'student.adapter': cfg})


def test_the_guide_does_not_see_what_is_hidden(model):
    student = model.student
    where = torch.ones(1, 16, 16, dtype=torch.bool)
    hidden = HiddenPatches(where, torch.zeros(student.backbone.patch_dims))
    with pytest.raises(UserError, match='what masked images hide'):
        student.extract_feat(
            torch.zeros(1, 3, 64, 64), student.tasks['a/seg'], hidden
        )


def test_it_is_what_the_registry_builds():
    assert h.MODELS.get('GuidedMixture') is GuidedMixture
