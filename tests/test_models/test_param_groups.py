import model_helpers as h
import pytest
import torch

TASK_NAMES = [task.name for task in h.TASKS]


FORMS = {
    'per_dataset': {},
    'shared': {
        'student.localization.share_decoder': True,
        'student.localization.queries': 'per_task',
        'student.localization.label_embedding': 'per_task',
        'student.region_guidance': dict(type='RegionGuidance'),
    },
    'mmseg': {
        'student.segmentation.decoder': dict(
            _delete_=True, type='UPerDecoder', channels=16
        ),
        'student.classification.projector': 'mlp',
        'student.classification.projector_dims': 16,
    },
}
BATCH_NORM = {
    'student.localization.neck.norm_cfg': dict(_delete_=True, type='BN'),
    'student.segmentation.decoder.norm_cfg': dict(_delete_=True, type='BN'),
}


@pytest.fixture(scope='module', params=FORMS)
def any_form(request):
    """Models with something to move: BatchNorm, dropout, DropPath."""
    options = {**BATCH_NORM, **FORMS[request.param]}
    if request.param == 'mmseg':
        del options['student.segmentation.decoder.norm_cfg']
    options['student.backbone.drop_path_rate'] = 0.1
    return h.build(noise=0.02, **options)


@pytest.fixture
def form(any_form):
    any_form.student.lock(())
    any_form.train()
    any_form.zero_grad(set_to_none=True)
    return any_form


def test_every_parameter_is_in_exactly_one_part(form):
    parts = form.student.param_groups()
    assert len({part.name for part in parts}) == len(parts)
    for name, _ in form.student.named_parameters():
        owners = [part.name for part in parts if part.owns(name)]
        assert len(owners) == 1, (name, owners)
    for part in parts:
        assert any(part.owns(n) for n, _ in form.student.named_parameters())
        if part.task is not None:
            assert part.task in TASK_NAMES
            assert part.name.startswith(part.task + '/')


BRANCH = dict(cls='classification', loc='localization', seg='segmentation')


def in_use(part, task):
    """Whether a batch of a task runs through a part."""
    if part.task is not None:
        return part.task == task
    return part.name.split('/')[0] in ('backbone', BRANCH[task[-3:]])


@pytest.mark.parametrize('task', TASK_NAMES)
def test_other_tasks_get_no_gradient(form, task):
    h.backward(form, task)
    got = h.with_gradient(form)
    parameters = dict(form.student.named_parameters())
    for part in form.student.param_groups():
        owned = {name for name in parameters if part.owns(name)}
        if in_use(part, task):
            assert owned & got, part.name
        else:
            assert all(parameters[n].grad is None for n in owned), part.name
    assert all(p.grad is None for p in form.teacher.parameters())


@pytest.mark.parametrize('mode', ['lock', 'lock_plus', 'release'])
@pytest.mark.parametrize('task', TASK_NAMES)
def test_exactly_the_planned_moves(form, task, mode):
    """Gradients, and what an optimizer with weight decay then moves."""
    student = form.student
    plan = student.freeze_plan(task, mode)
    student.lock(plan)
    student.lock(plan)
    before = {k: v.clone() for k, v in form.state_dict().items()}
    optimizer = torch.optim.AdamW(student.parameters(), 1e-3, weight_decay=0.1)
    h.backward(form, task)
    got = h.with_gradient(form)
    optimizer.step()
    after = form.state_dict()
    moved = {k for k in before if not torch.equal(before[k], after[k])}
    form.load_state_dict(before)
    assert not any(key.startswith('teacher.') for key in moved)
    parameters = dict(student.named_parameters())
    for part in student.param_groups():
        names = {name for name in parameters if part.owns(name)}
        buffers = {n for n, _ in student.named_buffers() if part.owns(n)}
        ours = {n for n in names | buffers if f'student.{n}' in moved}
        if part.name in plan:
            assert all(parameters[n].grad is None for n in names), part.name
        if part.name in plan or not in_use(part, task):
            assert not ours, part.name
        else:
            assert names <= got, part.name
            assert names <= ours, part.name
        for name in names:
            assert parameters[name].requires_grad == (part.name not in plan)


def test_lock_plus_is_the_table_of_the_authors(form):
    """Reference 2.3: only heads and content queries of the task learn."""
    student = form.student
    everything = {part.name: part for part in student.param_groups()}
    for task in TASK_NAMES:
        plan = student.freeze_plan(task, 'lock_plus')
        free = set(everything) - set(plan)
        if task.endswith('/loc'):
            wanted = {f'{task}/head', f'{task}/selection'}
            for name in ('queries', 'label_embedding'):
                if f'{task}/{name}' in everything:
                    wanted.add(f'{task}/{name}')
        else:
            wanted = {f'{task}/head'}
        assert free == wanted


@pytest.mark.parametrize('task', ['a/cls', 'a/seg'])
def test_lock_and_lock_plus_differ_in_localization_only(model, task):
    plans = [model.student.freeze_plan(task, m) for m in ('lock', 'lock_plus')]
    assert plans[0] == plans[1]


def test_lock_of_the_paper(model):
    groups = model.student.param_groups()
    everything = {group.name for group in groups}
    plan = set(model.student.freeze_plan('a/loc', 'lock'))
    # all that is shared, and what belongs to other tasks
    assert plan == {g.name for g in groups if g.task != 'a/loc'}
    assert plan >= {
        'backbone',
        'localization/norms',
        'localization/neck',
        'localization/level_embed',
        'localization/encoder',
        'localization/queries',
        'localization/label_embedding',
    }
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
