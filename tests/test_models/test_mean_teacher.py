import copy
from collections import OrderedDict
from dataclasses import replace

import model_helpers as h
import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.runner.checkpoint import load_state_dict

from fx_mm.models.losses.distillation import consistency_loss
from fx_mm.utils.errors import UserError

KINDS = ['a/cls', 'a/loc', 'a/seg']


@pytest.fixture(scope='module')
def shared_model():
    return h.build(noise=0.02)


@pytest.fixture
def model(shared_model):
    """Student and teacher a little apart."""
    shared_model.reset_teacher()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in shared_model.teacher.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    shared_model.student.lock(())
    shared_model.train()
    shared_model.zero_grad(set_to_none=True)
    shared_model.consistency_weight = 0.5
    return shared_model


def gradients(model, task, weight):
    model.zero_grad(set_to_none=True)
    model.consistency_weight = weight
    inputs, samples = h.batch(task)
    torch.manual_seed(0)
    losses = model(inputs, samples, mode='loss')
    sum(losses.values()).backward()
    grads = [p.grad for p in model.student.backbone.parameters()]
    return losses, torch.cat([g.flatten() for g in grads])


def equal(ours, theirs):
    ours, theirs = ours.state_dict(), theirs.state_dict()
    return all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_teacher_starts_as_the_student():
    model = h.build()
    assert equal(model.student, model.teacher)
    assert not any(p.requires_grad for p in model.teacher.parameters())


@pytest.mark.parametrize('task', KINDS)
def test_consistency_reaches_the_student_only(model, task):
    _, plain = gradients(model, task, 0.0)
    losses, mixed = gradients(model, task, 0.5)
    assert losses['loss_consistency'] > 0
    change = (2 * mixed - plain).norm() / plain.norm()
    assert change > 1e-4
    assert all(p.grad is None for p in model.teacher.parameters())


@pytest.mark.parametrize('task', KINDS)
def test_student_runs_once_and_teacher_only_as_deep_as_needed(model, task):
    calls = []

    def count(name):
        return lambda *_: calls.append(name)

    handles = []
    for who in ('student', 'teacher'):
        twin = getattr(model, who)
        modules = dict(
            backbone=twin.backbone,
            head=dict(
                cls=twin.classification.heads['a'],
                loc=twin.localization.tasks['a'].decoder,
                seg=twin.segmentation.heads['a'],
            )[task[-3:]],
        )
        for name, module in modules.items():
            hook = module.register_forward_hook(count(f'{who} {name}'))
            handles.append(hook)
    inputs, samples = h.batch(task)
    model(inputs, samples, mode='loss')
    for handle in handles:
        handle.remove()
    assert sorted(calls) == [
        'student backbone',
        'student head',
        'teacher backbone',
    ]


@pytest.mark.parametrize('task', KINDS)
def test_teacher_rests_where_no_gradient_could_flow(model, task, monkeypatch):
    plain, _ = gradients(model, task, 0.0)

    def refuse(*_):
        raise AssertionError('the teacher ran')

    monkeypatch.setattr(model.teacher, 'features', refuse)
    gradients(model, task, 0.0)
    model.consistency_weight = 0.5
    model.student.lock(model.student.freeze_plan(task, 'lock'))
    torch.manual_seed(0)
    losses = model(*h.batch(task), mode='loss')
    assert set(losses) == set(plain)
    for key, value in plain.items():
        # the factor 1 - w stays, the backbone in eval mode has no DropPath
        torch.testing.assert_close(losses[key], 0.5 * value)


def test_the_weight_may_differ_by_kind(model):
    weights = dict(cls=0.25, loc=0.0, seg=0.5)
    for task, weight in zip(KINDS, weights.values()):
        wanted, gradient = gradients(model, task, weight)
        found, same = gradients(model, task, weights)
        assert found == wanted
        assert torch.equal(gradient, same)
        assert ('loss_consistency' in found) == (weight > 0)
    assert model.needs_teacher
    model.consistency_weight = dict.fromkeys(weights, 0.0)
    assert not model.needs_teacher
    with pytest.raises(UserError, match='has no "seg", which a/seg needs'):
        model.consistency_weight = dict(cls=0.5, loc=0.5)


def test_teacher_runs_if_only_the_encoder_learns(model):
    model.student.lock(('backbone', 'localization/norms'))
    losses = model(*h.batch('a/loc'), mode='loss')
    assert losses['loss_consistency'].requires_grad


def test_features_of_seg_are_normalised(model):
    groups = model.student.features(*h.batch('a/seg'))
    for (feature,) in groups:
        norm = feature.norm(dim=1)
        torch.testing.assert_close(norm, torch.ones_like(norm))


def test_consistency_weighs_groups_alike():
    ones, zeros = torch.ones(2, 3), torch.zeros(2, 3)
    ours = ((ones, ones, ones), (ones,))
    theirs = ((zeros, ones, ones), (zeros,))
    loss = consistency_loss(ours, theirs)
    assert loss.item() == pytest.approx((1 / 3 + 1) / 2)


def test_update(model):
    before = copy.deepcopy(model.teacher.state_dict())
    model.update_teacher(0.8)
    student = model.student.state_dict()
    for key, value in model.teacher.state_dict().items():
        if value.is_floating_point():
            wanted = 0.8 * before[key] + 0.2 * student[key]
            torch.testing.assert_close(value, wanted)
    model.update_teacher(0.0)
    model.update_teacher(1.0)
    for ours, theirs in zip(
        model.student.parameters(), model.teacher.parameters()
    ):
        torch.testing.assert_close(ours, theirs)


def test_update_covers_locked_parts(model):
    model.student.lock(('backbone',))
    before = model.teacher.backbone.patch_embed.projection.weight.clone()
    model.update_teacher(0.5)
    after = model.teacher.backbone.patch_embed.projection.weight
    assert not torch.equal(before, after)


def test_buffers_are_copied():
    norm_cfg = dict(_delete_=True, type='BN')
    options = {'student.segmentation.decoder.norm_cfg': norm_cfg}
    model = h.build(tasks=h.TASKS[4:5], **options)
    model(*h.batch('a/seg'), mode='loss')
    name = 'segmentation.decoder.fuse.bn'
    ours = model.student.get_submodule(name)
    theirs = model.teacher.get_submodule(name)
    assert not torch.equal(ours.running_mean, theirs.running_mean)
    model.update_teacher(0.99)
    assert torch.equal(ours.running_mean, theirs.running_mean)
    assert torch.equal(ours.num_batches_tracked, theirs.num_batches_tracked)


def test_update_after_a_move(model):
    model.update_teacher(0.5)
    model.to(torch.float64).update_teacher(0.0)
    assert equal(model.student, model.teacher)
    model.to(torch.float32)


def test_teacher_is_always_in_eval_mode(model):
    model.train()
    assert model.student.training
    assert not any(m.training for m in model.teacher.modules())


def test_who_answers(model):
    model.eval()
    inputs, samples = h.batch('a/cls')
    with torch.no_grad():
        teacher = model.teacher(inputs, samples)
        student = model.student(inputs, samples)
        assert torch.equal(model(inputs, samples), teacher)
        with model.using('student'):
            assert torch.equal(model(inputs, samples), student)
            score = model(inputs, samples, 'predict')[0].pred_score
            torch.testing.assert_close(score, student[0].sigmoid())
        assert torch.equal(model(inputs, samples), teacher)
    with pytest.raises(RuntimeError, match='stop'), model.using('student'):
        raise RuntimeError('stop')
    assert model.predict_on == 'teacher'
    with pytest.raises(UserError, match='predict_on'):
        model.predict_on = 'both'


@pytest.mark.parametrize('names', [['student'], ['teacher']])
def test_one_of_them_alone(model, names):
    """What is not there is not saved and does not predict."""
    single = copy.deepcopy(model)
    single.keep_predictors(names)
    assert single.teacher is None and single.models == (single.student,)
    assert single.predictors == tuple(names)
    assert single.predict_on == names[0] and single.active is single.student
    heads = {key.partition('.')[0] for key in single.state_dict()}
    assert heads <= {'student', 'data_preprocessor'}
    (other,) = {'student', 'teacher'} - {*names}
    with pytest.raises(UserError, match=f'asks for the {other}, but'):
        single.predict_on = other
    match = f'holds the {names[0]} alone'
    with pytest.raises(UserError, match=match), single.using(other):
        pass
    single.train()
    single.init_weights()
    single.consistency_weight = 0
    assert single.loss(*h.batch('a/cls'))
    for call in (
        lambda: single.update_teacher(0.5),
        lambda: (
            setattr(single, 'consistency_weight', 0.5)
            or single.loss(*h.batch('a/cls'))
        ),
    ):
        with pytest.raises(RuntimeError, match='no teacher'):
            call()
    single.keep_predictors(['student', 'teacher'])
    assert single.predict_on == 'teacher'
    assert equal(single.teacher, single.student)
    assert not any(p.requires_grad for p in single.teacher.parameters())


@pytest.mark.parametrize(
    'kind', ['plain', 'full', 'student', 'teacher', 'mixed']
)
def test_loading_into_one_alone(model, kind):
    single = h.build(seed=5, noise=0.1)
    single.keep_predictors(['student'])
    source = model.state_dict()
    if kind in ('student', 'teacher'):
        source = {k: v for k, v in source.items() if k.startswith(kind)}
    elif kind != 'full':
        source = model.student.state_dict()
        if kind == 'mixed':
            for key, value in model.teacher.state_dict().items():
                source['teacher.' + key] = value
    result = single.load_state_dict(source, strict=False)
    assert not result.missing_keys and not result.unexpected_keys
    wanted = model.teacher if kind == 'teacher' else model.student
    assert equal(single.student, wanted)


def test_statistics_that_are_not_finite_start_again_without_a_teacher():
    norm_cfg = dict(_delete_=True, type='BN')
    options = {'student.segmentation.decoder.norm_cfg': norm_cfg}
    model = h.build(tasks=h.TASKS[4:5], **options)
    model.keep_predictors(['student'])
    norm = model.student.get_submodule('segmentation.decoder.fuse.bn')
    norm.running_mean[:2] = torch.tensor([float('nan'), 3.0])
    norm.running_var[:2] = torch.tensor([float('inf'), 4.0])
    model.restore_buffers()
    assert norm.running_mean[:2].tolist() == [0, 3]
    assert norm.running_var[:2].tolist() == [1, 4]


@pytest.mark.parametrize('load', ['torch', 'mmengine'])
@pytest.mark.parametrize(
    'kind', ['plain', 'full', 'student', 'teacher', 'mixed']
)
def test_loading(model, load, kind):
    fresh = h.build(seed=5, noise=0.1)
    source = model.state_dict()
    if kind == 'plain':
        source = model.student.state_dict()
    elif kind in ('student', 'teacher'):
        source = {k: v for k, v in source.items() if k.startswith(kind)}
    elif kind == 'mixed':
        source = model.student.state_dict()
        for key, value in model.teacher.state_dict().items():
            source['teacher.' + key] = value
    keys = list(source)
    if load == 'torch':
        fresh.load_state_dict(source)
    else:
        load_state_dict(fresh, OrderedDict(source), strict=True)
    assert list(source) == keys
    wanted = model.teacher if kind == 'teacher' else model.student
    assert equal(fresh.student, wanted)
    brought = kind in ('full', 'mixed', 'teacher')
    twin = model.teacher if brought else model.student
    assert equal(fresh.teacher, twin)
    assert not fresh.student.backbone.patch_embed.projection.weight.is_set_to(
        fresh.teacher.backbone.patch_embed.projection.weight
    )


def test_only_the_prefix_student_counts():
    tasks = [replace(h.TASKS[0], dataset='my_student'), h.TASKS[0]]
    model = h.build(tasks=tasks, noise=0.1)
    plain = model.student.state_dict()
    assert any('student.' in key for key in plain)
    fresh = h.build(tasks=tasks, seed=5)
    fresh.load_state_dict(plain)
    assert equal(fresh.student, model.student)
    assert equal(fresh.teacher, model.student)


def test_wrong_keys_are_reported(model):
    source = model.student.state_dict()
    source['backbone.unknown'] = source.pop(
        'backbone.patch_embed.projection.bias'
    )
    with pytest.raises(RuntimeError, match='backbone.unknown'):
        copy.deepcopy(model).load_state_dict(source)


@pytest.mark.parametrize('task', KINDS)
def test_train_step(task):
    """The stock train_step: preprocessing, loss, update, log values."""
    model = h.build()
    optimizer = torch.optim.SGD(model.student.parameters(), lr=0.01)
    _, samples = h.batch(task)
    images = [
        torch.randint(256, (3, 64, 64), dtype=torch.uint8) for _ in samples
    ]
    before = model.student.state_dict()
    before = {key: value.clone() for key, value in before.items()}
    log = model.train_step(
        dict(inputs=images, data_samples=samples), OptimWrapper(optimizer)
    )
    assert log['loss'].isfinite()
    assert 'loss_consistency' in log
    after = model.student.state_dict()
    assert any(not torch.equal(before[key], after[key]) for key in before)
    results = model.val_step(dict(inputs=images, data_samples=samples))
    assert len(results) == 2


@pytest.mark.parametrize('weight', [1.5, -0.1, 'half', float('nan')])
def test_consistency_weight_is_a_share(weight):
    with pytest.raises(UserError, match='consistency_weight is'):
        h.build(**{'consistency_weight': weight})


def test_a_cycle_of_29_passes_is_the_plain_average():
    """Parts that stand still in a pass move the teacher as well."""
    model = h.build(noise=0.02)
    parts = model.student.param_groups()
    expected = {
        name: p.detach().double().clone()
        for name, p in model.teacher.named_parameters()
    }
    torch.manual_seed(0)
    for index in range(29):
        trained = [p for i, p in enumerate(parts) if (i + index) % 3 == 0]
        with torch.no_grad():
            for name, p in model.student.named_parameters():
                if any(part.owns(name) for part in trained):
                    p.add_(0.01 * torch.randn_like(p))
                expected[name].mul_(0.8).add_(p.double(), alpha=0.2)
        model.update_teacher(0.8)
    for name, p in model.teacher.named_parameters():
        torch.testing.assert_close(
            p.double(), expected[name], rtol=1e-5, atol=1e-6
        )


def test_the_teacher_takes_no_statistics_that_are_not_finite():
    model = h.build()
    buffers = [
        dict(part.named_buffers()) for part in (model.student, model.teacher)
    ]
    name = next(name for name in buffers[0] if 'running_mean' in name)
    ours, theirs = (part[name] for part in buffers)
    ours.fill_(3)
    ours[0] = float('nan')
    model.update_teacher(0.8)
    assert theirs.isfinite().all() and (theirs[1:] == 3).all()


@pytest.mark.slow
def test_compiled_backbones_give_the_same():
    """Two shifted blocks in several stages, through the config's switch."""
    plain = h.build()
    compiled = h.build(compile_backbone=True)
    assert [*compiled.state_dict()] == [*plain.state_dict()]
    compiled.load_state_dict(plain.state_dict())
    for model in (plain, compiled):
        gradients(model, 'a/seg', 0.5)
    for ours, theirs in zip(
        compiled.student.parameters(), plain.student.parameters()
    ):
        if theirs.grad is not None:
            torch.testing.assert_close(
                ours.grad, theirs.grad, rtol=1e-3, atol=1e-5
            )
