"""Every tool answers with the model that training measured."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from small_run import small_cfg

from fx_mm.analysis.embeddings import embed
from fx_mm.apis import FoundationXInferencer, build_runner, load_model
from fx_mm.apis.image_sources import list_sources
from fx_mm.apis.inference import TaskPipelines
from fx_mm.config import PlainConfig
from fx_mm.converters.exporting import export_backbone
from fx_mm.converters.publishing import publish_checkpoint, write_published
from fx_mm.datasets.image_pipeline import sample_meta
from fx_mm.datasets.transforms.formatting import META_KEYS
from fx_mm.deployment import onnx_export
from fx_mm.models.backbones import FoundationXBackbone, PretrainedWeights
from fx_mm.models.mean_teacher import bare_model
from fx_mm.structures import FXDataSample
from fx_mm.utils.checkpoint import find_checkpoint, load_file
from fx_mm.utils.errors import UserError

CLS, SEG = 'phantom_a/cls', 'phantom_c/seg'
SHORT = {
    'tasks': [CLS, SEG],
    'cycle.max_batches': 2,
    'train_cfg.max_cycles': 1,
    'default_hooks.checkpoint.max_keep_ckpts': 1,
}
ALONE = {
    'custom_hooks': [dict(type='LockReleaseHook')],
    'model.consistency_weight': 0.0,
}


class Trained:
    """A run of a few steps, what it saved, and who must answer."""

    def __init__(self, root, folder, role, **options):
        self.role = role
        cfg = small_cfg(root, folder / 'work', **SHORT, **options)
        runner = build_runner(cfg)
        runner.train()
        self.cfg, self.model = cfg, bare_model(runner.model).eval()
        self.checkpoint = find_checkpoint(cfg.work_dir)
        text = PlainConfig(cfg.to_dict()).pretty_text
        self.config = folder / 'config.py'
        self.config.write_text(text)

    @property
    def expected(self):
        return getattr(self.model, self.role)

    def predict(self, tasks, image):
        """Scores and masks of the run's own model."""
        found = []
        for task in tasks:
            pipelines = TaskPipelines([task])
            (data,) = pipelines(image).inputs.values()
            meta = {key: data[key] for key in META_KEYS} | sample_meta(task)
            batch = dict(
                inputs=[data['img']],
                data_samples=[FXDataSample(metainfo=meta)],
            )
            amp = torch.autocast('cpu', torch.bfloat16)
            with torch.no_grad(), amp, self.model.using(self.role):
                (sample,) = self.model.test_step(batch)
            found.append(sample)
        return found[0].pred_score.numpy(), found[1].pred_sem_seg.data.numpy()


@pytest.fixture(scope='module')
def alone(phantom_root, tmp_path_factory):
    folder = tmp_path_factory.mktemp('alone')
    return Trained(phantom_root, folder, 'student', **ALONE)


@pytest.fixture(scope='module')
def both(phantom_root, tmp_path_factory):
    folder = tmp_path_factory.mktemp('both')
    return Trained(phantom_root, folder, 'teacher')


@pytest.fixture(scope='module')
def measured_student(both, tmp_path_factory):
    """There is a teacher, but the training measured the student."""
    other = copy.copy(both)
    loaded = load_file(both.checkpoint)
    loaded['meta']['predict_on'] = other.role = 'student'
    other.checkpoint = str(tmp_path_factory.mktemp('measured') / 'iter_4.pth')
    torch.save(loaded, other.checkpoint)
    return other


@pytest.fixture(
    params=[
        'alone',
        'both',
        pytest.param('measured_student', marks=pytest.mark.slow),
    ]
)
def trained(request):
    return request.getfixturevalue(request.param)


def same(ours, theirs, prefix=''):
    theirs = theirs.state_dict()
    assert theirs
    return all(torch.equal(ours[prefix + k], v) for k, v in theirs.items())


def files_of(trained, folder):
    """The checkpoint and what is published of it."""
    loaded = load_file(trained.checkpoint)
    yield trained.checkpoint
    content = publish_checkpoint(loaded, trained.checkpoint, trained.role)
    yield str(write_published(content, folder / 'x.safetensors'))


def results(folder):
    return json.loads(Path(folder, 'results.json').read_text())


def test_what_is_saved(alone, both):
    for trained in (alone, both):
        saved = load_file(trained.checkpoint)
        heads = {name.partition('.')[0] for name in saved['state_dict']}
        roles = {'student'} if trained is alone else {'student', 'teacher'}
        assert heads & {'student', 'teacher'} == roles
        assert saved['meta']['predict_on'] == trained.role
        found = results(trained.cfg.work_dir)
        assert found['predict_on'] == trained.role
        assert set(found['metrics']) == roles
        assert (trained.model.teacher is None) == (trained is alone)
    # else nothing here could tell them apart
    student = both.model.student.state_dict()
    assert not same(student, both.model.teacher)


@pytest.mark.parametrize(
    'options, role',
    [
        ({}, 'teacher'),
        ({'test_cfg.predict_on': 'student'}, 'student'),
        ({'test_cfg.predict_on': ['student', 'teacher']}, 'student'),
        ({'val_cfg.predict_on': ['student']}, 'teacher'),
        ({'val_cfg.predict_on': ['student'], 'test_cfg': None}, 'student'),
        (ALONE, 'student'),
    ],
)
def test_who_predicts_is_who_is_tested(make_cfg, options, role):
    cfg = make_cfg(report=True, **SHORT, **options)
    assert build_runner(cfg).predict_on == role


def test_images_are_answered_alike(trained, tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    for file in files_of(trained, tmp_path):
        infer = FoundationXInferencer(file)
        assert infer.predict_on == trained.role
        (result,) = infer(image)
        (source,) = list_sources(image)[0]
        scores, masks = trained.predict(infer.tasks, source)
        assert np.array_equal(result[CLS].scores, scores)
        assert np.array_equal(result[SEG].masks, masks)


def test_backbones_are_the_same(trained, tmp_path):
    backbone = trained.expected.backbone
    for file in files_of(trained, tmp_path):
        ours = FoundationXBackbone(file)
        assert ours.predict_on == trained.role
        assert same(ours.backbone.state_dict(), backbone)
        loaded = load_model(trained.cfg, file)
        assert loaded.predict_on == trained.role
        assert same(loaded.active.state_dict(), trained.expected)
        exported, _ = export_backbone(file, 'mmdet', norms='none')
        assert exported['meta']['exported']['predict_on'] == trained.role
        assert same(exported['state_dict'], backbone, 'backbone.')
        fresh = FoundationXBackbone(
            backbone=dict(trained.cfg.model.student.backbone)
        ).backbone
        PretrainedWeights(file)(fresh)
        assert same(fresh.state_dict(), backbone)


def test_the_graph_is_of_the_same(trained, monkeypatch, tmp_path):
    kept = []

    class Enough(Exception):
        pass

    def stop(model, *_):
        kept.append(model)
        raise Enough

    monkeypatch.setattr(onnx_export, 'TaskGraph', stop)
    for file in files_of(trained, tmp_path):
        with pytest.raises(Enough):
            onnx_export.export_onnx(None, file, tmp_path / 'x.onnx')
        assert same(kept[-1].state_dict(), trained.expected)


def test_vectors_are_of_the_same(trained):
    found = embed(trained.cfg, trained.checkpoint, splits=['val'])
    assert found.meta['predict_on'] == trained.role
    asked = embed(
        *(trained.cfg, trained.checkpoint),
        predict_on=trained.role,
        splits=['val'],
    )
    assert np.array_equal(found.vectors, asked.vectors)


@pytest.mark.slow
def test_tools_test_measures_the_same(run, trained, tmp_path):
    before = results(trained.cfg.work_dir)
    code, _, err = run(
        *('test', trained.config, trained.checkpoint),
        *('--work-dir', tmp_path),
    )
    assert code == 0, err
    assert results(tmp_path)['predict_on'] == trained.role
    assert results(tmp_path)['metrics'] == before['metrics']


def test_what_is_not_there_is_not_answered(run, alone, tmp_path):
    message = 'has no teacher, it holds the student alone'
    file = alone.checkpoint
    for ask in (
        lambda: FoundationXInferencer(file, predict_on='teacher'),
        lambda: FoundationXBackbone(file, predict_on='teacher'),
        lambda: load_model(alone.cfg, file, predict_on='teacher'),
        lambda: embed(alone.cfg, file, predict_on='teacher'),
        lambda: export_backbone(file, 'timm', 'teacher'),
        lambda: onnx_export.export_onnx(
            None, file, tmp_path / 'x.onnx', predict_on='teacher'
        ),
        lambda: publish_checkpoint(load_file(file), file, 'teacher'),
    ):
        with pytest.raises(UserError, match=message):
            ask()
    code, _, err = run(
        *('test', alone.config, file, '--work-dir', tmp_path),
        *('--predict-on', 'both'),
    )
    assert code == 1
    assert 'asks for the teacher, but there are weights of the student' in err


def test_a_published_teacher_is_no_student(run, both, tmp_path):
    content = publish_checkpoint(
        load_file(both.checkpoint), both.checkpoint, 'teacher'
    )
    file = str(write_published(content, tmp_path / 'x'))
    message = 'has no student, it holds the teacher alone'
    for ask in (
        lambda: FoundationXInferencer(file, predict_on='student'),
        lambda: FoundationXBackbone(file, predict_on='student'),
        lambda: load_model(both.cfg, file, predict_on='student'),
    ):
        with pytest.raises(UserError, match=message):
            ask()
    args = ('test', both.config, file, '--work-dir', tmp_path)
    code, _, err = run(*args, '--predict-on', 'student')
    assert code == 1 and 'weights of the teacher alone' in err
    code, _, err = run(*args)
    assert code == 0, err
    before = results(both.cfg.work_dir)['metrics']
    assert results(tmp_path)['metrics'] == {'teacher': before['teacher']}


@pytest.mark.parametrize('start', ['alone', 'both'])
@pytest.mark.parametrize('hooks', [True, False])
def test_a_resume_may_gain_or_lose_a_teacher(
    request, make_cfg, start, hooks, tmp_path
):
    first = request.getfixturevalue(start)
    options = {**SHORT, 'train_cfg.max_cycles': 2, 'val_cfg': None}
    options |= {} if hooks else ALONE
    cfg = make_cfg(**options)
    runner = build_runner(cfg, resume=first.checkpoint)
    runner.load_or_resume()
    model = bare_model(runner.model)
    assert same(model.student.state_dict(), first.model.student)
    if not hooks:
        assert model.predictors == ('student',) and model.teacher is None
    else:
        twin = first.model.teacher or first.model.student
        assert same(model.teacher.state_dict(), twin)
    log = Path(runner.log_dir, f'{runner.timestamp}.log').read_text()
    assert ('left out: the teacher' in log) == (start == 'both' and not hooks)
    assert ('newly initialised: the teacher' in log) == (
        start == 'alone' and hooks
    )


@pytest.mark.parametrize(
    'options, message',
    [
        ({'custom_hooks': ALONE['custom_hooks']}, 'has no MeanTeacherHook'),
        ({'custom_hooks': []}, 'no LockReleaseHook and no MeanTeacherHook'),
        ({**ALONE, 'val_cfg.predict_on': 'teacher'}, 'has no MeanTeacherHook'),
        ({'val_cfg.predict_on': 'taecher'}, "predict_on is 'taecher'"),
        ({'val_cfg.predict_on': []}, 'predict_on is empty'),
        ({'val_cfg.predict_on': ['teacher', 'x']}, "predict_on is 'x'"),
    ],
)
def test_configs_that_ask_for_nobody(make_runner, options, message):
    with pytest.raises(UserError, match=message):
        make_runner(**SHORT, **options)


def test_weights_alone_are_not_resumed(alone, make_cfg, tmp_path):
    content = publish_checkpoint(load_file(alone.checkpoint), 'x')
    file = str(write_published(content, tmp_path / 'x'))
    runner = build_runner(make_cfg(**SHORT, **ALONE), resume=file)
    with pytest.raises(UserError, match='holds weights alone; start from'):
        runner.load_or_resume()
