"""Norms and low-rank additions that differ by task kind; mixtures."""

import copy

import model_helpers as h
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fx_mm.models import FoundationXBackbone
from fx_mm.models.adapters import KindLoRA, KindNorms, LoRAMixture
from fx_mm.models.loading import load_all_weights
from fx_mm.models.param_groups import check_coverage
from fx_mm.tasks import TaskTable
from fx_mm.utils.errors import UserError

NORMS = dict(type='KindNorms')
LOW = dict(type='KindLoRA', rank=2, alpha=4)
MIXTURE = dict(type='LoRAMixture', experts=3, rank=2, alpha=4)
ADAPTERS = [NORMS, LOW, MIXTURE]
# without boxes, whose branch takes most of the time
TASKS = tuple(task for task in h.TASKS if task.kind.name != 'loc')
OWN = ['a/cls', 'a/seg']
TABLE = TaskTable(h.TASKS)


@pytest.fixture(scope='module')
def plain():
    return h.build(tasks=TASKS, noise=0.02).eval()


@pytest.fixture(scope='module')
def models(plain):
    found = {}
    for cfg in ADAPTERS:
        model = h.build(tasks=TASKS, **{'student.adapter': cfg})
        result = model.load_state_dict(plain.state_dict(), strict=False)
        assert not result.unexpected_keys
        assert all('.adapter.' in name for name in result.missing_keys)
        found[cfg['type']] = model.eval()
    return found


@pytest.fixture(params=[cfg['type'] for cfg in ADAPTERS])
def model(request, models):
    return copy.deepcopy(models[request.param])


def test_untrained_it_changes_no_bit(plain, model):
    for task in OWN:
        for role in ('student', 'teacher'):
            before = h.outputs(getattr(plain, role), task)
            after = h.outputs(getattr(model, role), task)
            assert all(map(torch.equal, before, after)), task


def test_it_can_be_explained(model):
    inputs, samples = h.batch('a/cls')
    found = model.student.explain(inputs[:1], samples[:1], 0.0)
    assert len(found) == len(h.FINDINGS)


def test_norms_are_those_of_the_formula():
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.LayerNorm(5))
    norm = backbone[0]
    nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)
    adapter = KindNorms(backbone, TABLE)
    h.move_adapter(nn.ModuleDict(dict(adapter=adapter)))
    x = torch.randn(3, 4, 5)
    (layer,) = adapter.layers.values()
    for task in h.TASKS:
        scale = 1 + layer.weight[task.kind.name]
        weight = norm.weight * scale
        bias = norm.bias * scale + layer.bias[task.kind.name]
        adapter.select(task)
        wanted = F.layer_norm(x, (5,), weight, bias)
        torch.testing.assert_close(backbone(x), wanted)


def test_low_rank_additions_are_those_of_the_formula():
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(5, 7))
    linear = copy.deepcopy(backbone[0])
    adapter = KindLoRA(backbone, TABLE, rank=2, alpha=6, targets=['0'])
    h.move_adapter(nn.ModuleDict(dict(adapter=adapter)))
    x = torch.randn(3, 4, 5)
    (layer,) = adapter.layers.values()
    for task in h.TASKS:
        part = layer.kinds[task.kind.name]
        adapter.select(task)
        weight = linear.weight + 3 * part.up @ part.down
        torch.testing.assert_close(
            backbone(x), F.linear(x, weight, linear.bias)
        )


@pytest.mark.parametrize('shape', [(4, 5), (2, 3, 5)])
def test_mixtures_are_those_of_the_formula(shape):
    """Image by image, expert by expert."""
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(5, 7))
    linear = copy.deepcopy(backbone[0])
    adapter = LoRAMixture(
        backbone, TABLE, experts=3, rank=2, alpha=6, targets=['0']
    )
    h.move_adapter(nn.ModuleDict(dict(adapter=adapter)), 1.0)
    images = torch.randn(6, *shape)
    (layer,) = adapter.layers.values()
    used = []
    for task in h.TASKS:
        adapter.select(task)
        found = backbone(images)
        used.append(adapter.log_vars())
        for x, y in zip(images, found):
            gate = (
                layer.gate_features @ x.reshape(-1, 5).mean(0)
                + layer.gate_task @ adapter.embeddings[task.name]
                + layer.gate_bias
            ).softmax(0)
            wanted = linear(x)
            for e, share in enumerate(gate):
                rows = slice(2 * e, 2 * e + 2)
                down, up = layer.expert_down[rows], layer.expert_up[:, rows]
                wanted = wanted + 3 * share * (x @ down.T @ up.T)
            torch.testing.assert_close(y, wanted)
    assert all(sum(x.values()).item() == pytest.approx(1) for x in used)
    assert len({x['expert_0'].item() for x in used}) == len(h.TASKS)


@pytest.mark.parametrize('task', OWN)
def test_a_batch_reaches_what_is_of_its_kind_or_task(model, task):
    student = model.train().student
    h.move_adapter(student)
    student.lock(student.freeze_plan(task, 'release'))
    model.train()
    h.backward(model, task)
    learning = {n for n in h.with_gradient(model) if 'adapter.' in n}
    kind = task.partition('/')[2]
    assert learning
    if isinstance(student.adapter, LoRAMixture):
        reached = {n for n in learning if 'embeddings' in n}
        assert reached == {f'adapter.embeddings.{task}'}
        assert not h.with_gradient(model) & set(student.base_weights)
    else:
        assert all(f'.{kind}' in n for n in learning)
        assert any('backbone.' in n for n in h.with_gradient(model))
    student.lock(student.freeze_plan(task, 'lock'))
    model.train()
    h.backward(model, task)
    assert not any('adapter' in n for n in h.with_gradient(model))


def test_every_parameter_is_in_one_group(model):
    names = [name for name, _ in model.student.named_parameters()]
    check_coverage(model.student.param_groups(), names)
    assert len(names) == len(set(names))


def test_the_teacher_follows(model):
    h.move_adapter(model.student)
    model.update_teacher(0.0)
    for task in OWN:
        ours, theirs = (
            h.outputs(getattr(model, role), task)
            for role in ('student', 'teacher')
        )
        assert all(map(torch.equal, ours, theirs))
    before = {
        n: p.clone() for n, p in model.teacher.adapter.named_parameters()
    }
    h.move_adapter(model.student)
    model.update_teacher(0.75)
    ours = dict(model.student.adapter.named_parameters())
    for name, theirs in model.teacher.adapter.named_parameters():
        wanted = 0.75 * before[name] + 0.25 * ours[name]
        torch.testing.assert_close(theirs, wanted)


def test_tasks_that_share_images_do_not_share_maps(model):
    h.move_adapter(model.student)
    inputs, _ = h.batch('a/cls')
    student, maps = model.student, {}
    with torch.no_grad(), student.sharing_features():
        for task in TASKS:
            maps[task.name] = student.extract_feat(inputs, task)
    for task in TASKS:
        with torch.no_grad():
            alone = student.extract_feat(inputs, task)
        assert all(map(torch.equal, alone, maps[task.name]))
    distinct = {id(found) for found in maps.values()}
    keys = {student.maps_key(task) for task in TASKS}
    assert len(distinct) == len(keys) >= 2


def test_maps_of_no_task_are_refused(model):
    inputs, _ = h.batch('a/cls')
    with pytest.raises(UserError, match='depend on the task'):
        model(inputs)


def test_what_was_trained_is_loaded_and_predicts(model):
    h.move_adapter(model.student)
    model.reset_teacher()
    checkpoint = dict(
        state_dict=copy.deepcopy(model.state_dict()),
        meta=dict(predict_on='teacher', tasks=[t.meta for t in TASKS]),
    )
    wanted = h.outputs(model.teacher, 'a/seg')
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    load_all_weights(model, checkpoint, 'x.pth')
    assert model.student.adapter is not None
    assert torch.equal(wanted[0], h.outputs(model.active, 'a/seg')[0])


def test_one_backbone_cannot_take_it_up(model, plain, tmp_path):
    checkpoint = dict(
        state_dict=model.state_dict(),
        meta=dict(predict_on='teacher', tasks=[t.meta for t in TASKS]),
    )
    with pytest.raises(UserError, match='cannot be merged into one backbone'):
        load_all_weights(copy.deepcopy(plain), checkpoint, 'x.pth')
    path = tmp_path / 'x.pth'
    torch.save(checkpoint, path)
    backbone = h.model_cfg(**h.TINY)['student']['backbone']
    with pytest.raises(UserError, match='cannot be merged into one backbone'):
        FoundationXBackbone(str(path), backbone=backbone)


def test_usage_is_logged_in_training_alone(models):
    model = copy.deepcopy(models['LoRAMixture']).train()
    losses = model(*h.batch('a/cls'), mode='loss')
    shares = [losses[f'expert_{i}'].item() for i in range(3)]
    assert shares == pytest.approx([1 / 3] * 3)
    total, logged = model.parse_losses(losses)
    assert total.item() == pytest.approx(
        sum(v.item() for k, v in losses.items() if 'loss' in k)
    )
    student = model.student
    student.lock(student.freeze_plan('a/cls', 'lock'))
    model.train()
    losses = model(*h.batch('a/cls'), mode='loss')
    assert not any('expert' in name for name in losses)


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(MIXTURE, experts=1), 'adapter.experts is 1'),
        (dict(MIXTURE, embedding=0), 'adapter.embedding is 0'),
        (dict(MIXTURE, rank=0), 'adapter.rank is 0'),
        (dict(MIXTURE, train=['x']), "train names 'x'"),
        (dict(MIXTURE, targets=['x']), "'x', which is no linear layer"),
        (dict(LOW, alpha=0), 'adapter.alpha is 0'),
    ],
)
def test_mistakes_are_named(cfg, message):
    with pytest.raises(UserError, match=message):
        h.build(tasks=TASKS[:1], **{'student.adapter': cfg})


def test_a_backbone_without_layer_norms_is_refused():
    with pytest.raises(UserError, match='Sequential has no layer norm'):
        KindNorms(nn.Sequential(nn.Linear(2, 2)), TABLE)


def test_another_scale_is_refused(models):
    weights = models['LoRAMixture'].state_dict()
    other = h.build(tasks=TASKS, **{'student.adapter': dict(MIXTURE, alpha=2)})
    with pytest.raises(UserError, match='alpha / rank = 2, .* has 1'):
        other.load_state_dict(weights)
