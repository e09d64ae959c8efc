import model_helpers as h
import pytest

TASK_NAMES = [f'{t["dataset"]}/{t["kind"]}' for t in h.TASKS]


@pytest.fixture(scope='module')
def shared_model():
    return h.build(noise=0.02)


@pytest.fixture
def model(shared_model):
    shared_model.student.lock(())
    shared_model.train()
    shared_model.zero_grad(set_to_none=True)
    shared_model.consistency_weight = 0.5
    return shared_model


def backward(model, task, **kwargs):
    inputs, samples = h.batch(task, **kwargs)
    losses = model(inputs, samples, mode='loss')
    sum(v for k, v in losses.items() if 'loss' in k).backward()
    return losses


def with_gradient(model):
    return {
        name
        for name, p in model.student.named_parameters()
        if p.grad is not None and p.grad.abs().sum() > 0
    }


def test_every_parameter_is_in_exactly_one_part(model):
    parts = model.student.parts()
    assert len({part.name for part in parts}) == len(parts)
    for name, _ in model.student.named_parameters():
        owners = [part.name for part in parts if part.owns(name)]
        assert len(owners) == 1, (name, owners)
    for part in parts:
        assert any(part.owns(n) for n, _ in model.student.named_parameters())
        if part.task is not None:
            assert part.task in TASK_NAMES
            assert part.name.startswith(part.task + '/')


@pytest.mark.parametrize('task', TASK_NAMES)
def test_other_tasks_get_no_gradient(model, task):
    backward(model, task)
    got = with_gradient(model)
    for part in model.student.parts():
        owned = {name for name in got if part.owns(name)}
        if part.task not in (None, task):
            assert not owned, part.name
        if part.task == task or part.name == 'backbone':
            assert owned, part.name


@pytest.mark.parametrize('mode', ['lock', 'lock_plus', 'release'])
@pytest.mark.parametrize('task', ['a/cls', 'a/loc', 'a/seg'])
def test_exactly_the_planned_parameters_learn(model, task, mode):
    student = model.student
    plan = student.freeze_plan(task, mode)
    student.lock(plan)
    student.lock(plan)
    backward(model, task)
    got = with_gradient(model)
    used = {
        'a/cls': ('backbone', 'classification'),
        'a/loc': ('backbone', 'localization'),
        'a/seg': ('backbone', 'segmentation'),
    }[task]
    locked = set()
    for part in student.parts():
        names = {n for n, _ in student.named_parameters() if part.owns(n)}
        if part.name in plan:
            locked |= names
        elif part.task == task or part.name.split('/')[0] in used:
            assert names <= got, part.name
    assert not got & locked
    for name, parameter in student.named_parameters():
        assert parameter.requires_grad == (name not in locked)
        if name in locked:
            assert parameter.grad is None
    expected = dict(
        lock={'a/cls': 1, 'a/seg': 1, 'a/loc': 3},
        lock_plus={'a/cls': 1, 'a/seg': 1, 'a/loc': 2},
    )
    if mode != 'release':
        own = [p for p in student.parts() if p.task == task]
        free = [p.name for p in own if p.name not in plan]
        assert len(free) == expected[mode][task], free


def test_lock_of_the_paper(model):
    assert set(model.student.freeze_plan('a/loc', 'lock')) == {
        'backbone',
        'localization/norms',
        'localization/neck',
        'localization/level_embed',
        'localization/encoder',
        'localization/queries',
        'localization/label_embedding',
    }
    everything = {part.name for part in model.student.parts()}
    plan = model.student.freeze_plan('a/seg', 'lock')
    assert everything - set(plan) == {'a/seg/head'}


def test_locked_parts_stay_in_eval_mode(model):
    student = model.student
    student.lock(('backbone', 'a/loc/decoder'))
    model.train()
    assert not any(m.training for m in student.backbone.modules())
    own = student.localization.tasks
    assert not any(m.training for m in own['a'].decoder.modules())
    assert own['b'].decoder.training and student.segmentation.training
    model.eval()
    model.train()
    assert not student.backbone.training
    student.lock(())
    assert student.backbone.training and own['a'].decoder.training
    assert all(p.requires_grad for p in student.parameters())
