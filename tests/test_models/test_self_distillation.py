"""Self-distillation: views, the loss, the centre, who learns."""

import copy

import model_helpers as h
import pytest
import torch

from fx_mm.models.layers.random_views import Views, cut_views, draw_views
from fx_mm.models.losses.self_distillation import view_cross_entropy
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError

PIXELS = ('pixels',)
TASKS = (
    Task('a', 'ssl', PIXELS),
    Task('b', 'ssl', PIXELS),
    Task('a', 'cls', h.FINDINGS),
)
SMALL = dict(
    type='SelfDistillationBranch', prototypes=12, hidden_dims=24, dims=8,
    small_views=2, small_size=32,
)  # fmt: skip


def build(tasks=TASKS, **options):
    found = {'student.self_supervision': SMALL, 'consistency_weight': 1.0}
    return h.build(tasks=tasks, noise=0.02, **{**found, **options})


@pytest.fixture(scope='module')
def shared_model():
    return build()


@pytest.fixture
def model(shared_model):
    shared_model.student.lock(())
    shared_model.train()
    shared_model.zero_grad(set_to_none=True)
    return shared_model


def batch(task='a/ssl', **kwargs):
    return h.batch(task, tasks=TASKS, **kwargs)


# ----------------------------------------------------------------------- views


def views_of(**values):
    """One view of one image, all of it as it is but for what is given."""
    plain = dict(left=0.0, top=0.0, width=1.0, height=1.0, gain=1.0, shift=0.0)
    plain = {k: torch.tensor([[v]]) for k, v in (plain | values).items()}
    return Views(**{'mirrored': torch.tensor([[False]])} | plain)


def test_a_view_of_all_is_the_image():
    image = torch.rand(1, 3, 16, 16)
    found = cut_views(image, [(16, 16)], views_of(), 16)
    torch.testing.assert_close(found, image)
    mirrored = views_of(mirrored=True)
    found = cut_views(image, [(16, 16)], mirrored, 16)
    torch.testing.assert_close(found, image.flip(-1))
    changed = cut_views(image, [(16, 16)], views_of(gain=2.0, shift=-1.0), 16)
    torch.testing.assert_close(changed, 2 * image - 1)


def test_a_view_is_the_part_of_the_image_that_it_names():
    image = torch.rand(1, 3, 16, 16)
    part = views_of(left=0.25, top=0.5, width=0.5, height=0.5)
    found = cut_views(image, [(16, 16)], part, 8)
    torch.testing.assert_close(found, image[..., 8:16, 4:12])


def test_padding_is_in_no_view():
    image = torch.full((2, 3, 16, 16), 7.0)
    image[0, :, 12:] = image[0, :, :, 8:] = torch.nan
    torch.manual_seed(0)
    views = draw_views(2, [(0.05, 1.0)] * 50, 0.5, 0.0, image.device)
    found = cut_views(image.nan_to_num(-99), [(12, 8), (16, 16)], views, 8)
    inner = found.view(50, 2, 3, 8, 8)[..., 1:-1, 1:-1]
    torch.testing.assert_close(inner, torch.full_like(inner, 7.0))


def test_areas_are_those_asked_for():
    torch.manual_seed(0)
    views = draw_views(4000, [(0.4, 0.6), (0.05, 0.4)], 0.25, 0.4, 'cpu')
    area = views.width * views.height
    assert area[:, 0].min() > 0.399 and area[:, 0].max() < 0.601
    assert area[:, 1].min() > 0.049 and area[:, 1].max() < 0.401
    ratio = views.width / views.height
    assert ratio.min() > 0.749 and ratio.max() < 1.334
    assert (views.left + views.width).max() <= 1 + 1e-6
    assert views.mirrored.float().mean() == pytest.approx(0.25, abs=0.02)
    assert views.gain.min() >= 0.6 and views.gain.max() <= 1.4


# ------------------------------------------------------------------------ loss


def test_the_loss_is_the_mean_over_pairs_of_different_views():
    torch.manual_seed(0)
    student, teacher = torch.randn(4, 3, 5), torch.randn(2, 3, 5)
    center = torch.randn(5)
    loss = view_cross_entropy(student, teacher, center, 0.1, 0.04)
    terms = []
    for g in range(2):
        for v in range(4):
            if g != v:
                for b in range(3):
                    p = ((teacher[g, b] - center) / 0.04).softmax(0)
                    q = (student[v, b] / 0.1).softmax(0)
                    terms.append(-(p * q.log()).sum())
    assert len(terms) == 18
    torch.testing.assert_close(loss, torch.stack(terms).mean())


def test_student_and_teacher_see_the_same_large_views(model):
    inputs, samples = batch()
    _, (student_out,) = model.student.loss_and_features(inputs, samples)
    assert student_out[0].shape == (4, 2, 12)
    twin = copy.deepcopy(model.student)
    twin.eval()
    with torch.no_grad():
        ((found,),) = twin.features(inputs, samples)
    assert found.shape == (2, 2, 12)
    torch.testing.assert_close(
        found, student_out[0][:2].detach(), rtol=1e-4, atol=1e-5
    )


def test_the_centre_follows_the_teacher_in_training_alone(model):
    head = model.student.self_supervision.heads.a
    before = head.center.clone()
    inputs, samples = batch()
    losses = model(inputs, samples, mode='loss')
    assert set(losses) == {'loss_consistency'}
    with torch.no_grad():
        ((theirs,),) = model.teacher.features(inputs, samples)
    wanted = 0.9 * before + 0.1 * theirs.mean((0, 1))
    torch.testing.assert_close(head.center, wanted)
    assert model.student.self_supervision.heads.b.center.abs().sum() == 0
    model.eval()
    held = head.center.clone()
    with torch.no_grad():
        found = model(*batch(), mode='predict')
    assert torch.equal(head.center, held)
    assert found[0].pred_feature.shape == (128,)
    model.update_teacher(0.5)
    assert torch.equal(model.teacher.self_supervision.heads.a.center, held)


def test_low_precision_keeps_a_float32_loss(model):
    with torch.autocast('cpu', torch.bfloat16):
        losses = model(*batch(), mode='loss')
    assert losses['loss_consistency'].dtype == torch.float32
    losses['loss_consistency'].backward()


# ------------------------------------------------------------------ who learns


def test_a_lock_pass_teaches_the_prototypes_alone(model):
    student = model.student
    student.lock(student.freeze_plan('a/ssl', 'lock'))
    model.train()
    model(*batch(), mode='loss')['loss_consistency'].backward()
    assert h.with_gradient(model) == {'self_supervision.heads.a.fc.weight'}


def test_other_tasks_and_the_teacher_get_no_gradient(model):
    model(*batch(), mode='loss')['loss_consistency'].backward()
    got = h.with_gradient(model)
    assert any(name.startswith('backbone') for name in got)
    assert 'self_supervision.projector.0.weight' in got
    assert not any('heads.b' in name for name in got)
    assert not any(name.startswith('classification') for name in got)
    assert all(p.grad is None for p in model.teacher.parameters())


def test_every_parameter_is_in_exactly_one_group(model):
    groups = model.student.param_groups()
    for name, _ in model.student.named_parameters():
        assert sum(group.owns(name) for group in groups) == 1, name


def test_a_few_steps_lower_the_loss():
    """Of the same views; without the centre's move it could only fall."""
    model = build(TASKS[:1])
    inputs, samples = batch(n=4)
    optimizer = torch.optim.Adam(model.student.parameters(), 1e-3)
    found = []
    for _ in range(6):
        torch.manual_seed(3)
        model.student.self_supervision.heads.a.center.zero_()
        loss = model(inputs, samples, mode='loss')['loss_consistency']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    assert found[-1] < found[0] - 0.1


def test_any_backbone_will_do():
    backbone = dict(
        _delete_=True, type='mmdet.ResNet', depth=18, base_channels=16
    )
    options = {**SMALL, 'type': 'SelfDistillationBranch'}
    model = h.build(
        False, TASKS[:1],
        **{'student.self_supervision': options, 'consistency_weight': 1.0,
           'student.backbone': backbone},
    )  # fmt: skip
    loss = model(*batch(), mode='loss')['loss_consistency']
    assert loss.isfinite()


# -------------------------------------------------------------------- refusals


def test_without_a_teacher_there_is_nothing_to_learn():
    model = build(consistency_weight=0.0)
    with pytest.raises(UserError, match='a/ssl learns from the teacher alone'):
        model(*batch(), mode='loss')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(prototypes=1), 'prototypes is 1'),
        (dict(small_size=16), 'small_size is 16'),
        (dict(large_area=(0.9, 0.4)), r'large_area is \(0.9, 0.4\)'),
        (dict(teacher_temperature=0), 'teacher_temperature is 0'),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        build(**{'student.self_supervision': {**SMALL, **options}})


def test_there_is_nothing_to_export(model):
    with pytest.raises(UserError, match='a/ssl learns from images without'):
        model.student.self_supervision.graph({}, 'a', [])
