"""Out of fx_mm again: published checkpoints, and backbones elsewhere."""

import hashlib

import made_up_weights as m
import numpy as np
import pytest
import torch
from made_up_weights import FX, TASKS
from mmdet.models.backbones import SwinTransformer as DetSwin
from mmengine.config import ConfigDict
from mmpretrain.models import SwinTransformer as PretrainSwin

from fx_mm.apis import FoundationXInferencer, load_model
from fx_mm.converters.exporting import export_backbone
from fx_mm.converters.files import write_checkpoint
from fx_mm.converters.hub_folder import shown_config
from fx_mm.converters.publishing import (
    publish_checkpoint,
    strip_run_keys,
    write_published,
)
from fx_mm.registry import MODELS
from fx_mm.tasks import TaskTable
from fx_mm.utils.checkpoint import load_file
from fx_mm.utils.errors import UserError

# ------------------------------------------------------------------- publish


@pytest.mark.parametrize('predict_on', [None, 'student', 'teacher'])
def test_a_published_checkpoint_predicts_the_same(
    trained, tmp_path, predict_on
):
    path, cfg, _ = trained()
    published = publish_checkpoint(load_file(path), path, predict_on)
    file = write_published(published, tmp_path / 'model.pth')
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert file.name == f'model-{digest[:8]}.pth'
    assert set(published) == {'meta', 'state_dict'}
    meta = load_file(file)['meta']
    assert [task['task'] for task in meta['tasks']] == TASKS['tasks']
    assert meta['mmengine_version'] and meta['fx_mm_version']
    assert '/somewhere/private' not in meta['cfg']
    assert 'schedule' not in meta and 'seed' not in meta
    image = np.random.default_rng(0).integers(0, 255, (90, 80), np.uint8)
    role = predict_on or 'teacher'
    answers = [
        FoundationXInferencer(cfg, checkpoint, predict_on=role)(image)[0]
        for checkpoint in (path, file)
    ]
    before, after = (
        (
            answer['rsna/cls'].scores,
            answer['rsna/loc'].boxes,
            answer['siim_acr/seg'].masks,
        )
        for answer in answers
    )
    for ours, theirs in zip(before, after):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_publishing_twice_gives_one_name(trained, tmp_path):
    path, _, _ = trained()
    files = [
        write_published(
            publish_checkpoint(load_file(path), path), tmp_path / x
        )
        for x in ('a', 'b.pth')
    ]
    assert files[0].name[1:] == files[1].name[1:]
    with pytest.raises(UserError, match='exists already'):
        write_published(
            publish_checkpoint(load_file(path), path), tmp_path / 'a'
        )


def test_student_and_teacher_are_not_confused(trained, tmp_path):
    path, _, _ = trained()
    published = publish_checkpoint(load_file(path), path, 'teacher')
    file = str(write_published(published, tmp_path / 'x'))
    message = 'has no student, it holds the teacher alone'
    with pytest.raises(UserError, match=message):
        publish_checkpoint(load_file(file), file, 'student')
    with pytest.raises(UserError, match=message):
        export_backbone(file, 'timm', 'student')
    for predict_on in (None, 'teacher'):
        again = publish_checkpoint(load_file(file), file, predict_on)
        assert again['meta']['predict_on'] == 'teacher'
        assert list(again['state_dict']) == list(published['state_dict'])
    loaded = load_file(path)
    loaded['state_dict'] = {
        name: value
        for name, value in loaded['state_dict'].items()
        if name.startswith('teacher.')
    }
    torch.save(loaded, path)
    with pytest.raises(UserError, match=message):
        publish_checkpoint(loaded, path, 'student')
    with pytest.raises(UserError, match=message):
        export_backbone(path, 'timm', 'student')
    export_backbone(path, 'timm', 'teacher')


def test_the_published_config_still_builds_the_backbone(trained, tmp_path):
    path, _, model = trained()
    published = publish_checkpoint(load_file(path), path, 'student')
    file = write_published(published, tmp_path / 'model')
    backbone = MODELS.build(
        dict(
            type='fx_mm.FoundationXBackbone',
            checkpoint=str(file),
            predict_on='student',
        )
    ).eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for ours, theirs in zip(
            backbone(image), model.student.backbone(image)
        ):
            assert torch.equal(ours, theirs)


def test_safetensors_say_the_same(trained, tmp_path):
    path, cfg, model = trained()
    published = publish_checkpoint(load_file(path), path, 'teacher')
    file = write_published(published, tmp_path / 'x.safetensors')
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert file.name == f'x-{digest[:8]}.safetensors'
    loaded = load_file(file)
    assert loaded['meta']['cfg'] == published['meta']['cfg']
    assert set(loaded['state_dict']) == set(published['state_dict'])
    (task,) = FoundationXInferencer(str(file), tasks='rsna/cls').tasks
    assert task.classes == TaskTable.from_cfg(cfg)['rsna/cls'].classes
    again = load_model(cfg, str(file))
    assert again.predict_on == 'teacher'
    for key, value in model.teacher.state_dict().items():
        assert torch.equal(again.active.state_dict()[key], value)


def test_no_credentials_are_published(trained, tmp_path):
    path, _, _ = trained()
    loaded = load_file(path)
    loaded['meta']['cfg'] += (
        "x = dict(api_key='secret', a='http://me:secret@host/x')\n"
    )
    published = publish_checkpoint(loaded, path, 'teacher')
    assert 'secret' not in published['meta']['cfg']
    assert "'http://host/x'" in published['meta']['cfg']
    config = shown_config(published, path)
    assert config.x == dict(api_key='***', a='http://host/x')


def test_strip_run_keys():
    text = "a = 1\nwork_dir = ('x'\n 'y')\nresume = 0\nb = {'work_dir': 2}\n"
    assert strip_run_keys(text) == "a = 1\nb = {'work_dir': 2}\n"
    assert strip_run_keys('') == ''


def test_what_cannot_be_published(trained):
    path, _, _ = trained()
    with pytest.raises(UserError, match='no table of tasks'):
        publish_checkpoint(dict(state_dict={}), 'x.pth')
    checkpoint = load_file(path)
    plain = publish_checkpoint(checkpoint, path, 'teacher')
    del plain['meta']['predict_on']
    with pytest.raises(
        UserError, match='does not separate student and teacher'
    ):
        publish_checkpoint(plain, path, 'student')
    name = next(iter(checkpoint['state_dict']))
    checkpoint['state_dict'][name].view(-1)[0] = float('inf')
    with pytest.raises(UserError, match='not finite; publish an earlier one'):
        publish_checkpoint(checkpoint, path)


# -------------------------------------------------------------------- export


def test_safetensors_of_a_backbone(trained, tmp_path):
    path, _, _ = trained()
    for to, fits in (('timm', True), ('microsoft', False)):
        content, _ = export_backbone(path, to)
        file = tmp_path / f'{to}.safetensors'
        if fits:
            write_checkpoint(content, file)
            for name, value in load_file(file).items():
                assert torch.equal(content[name], value)
            continue
        with pytest.raises(UserError, match='a name that ends in .pth'):
            write_checkpoint(content, file)


def export(path, tmp_path, to, **kwargs):
    content, notes = export_backbone(path, to, **kwargs)
    file = tmp_path / f'{to}.pth'
    write_checkpoint(content, file)
    return str(file), content, notes


def from_note(note, file):
    """Build the backbone that the tool says how to write."""
    cfg = eval(note.removeprefix('backbone=').replace('OUT', 'file'))
    return MODELS.build(ConfigDict(cfg))


def test_mmdet_loads_the_backbone(trained, tmp_path):
    path, _, model = trained()
    file, content, notes = export(path, tmp_path, 'mmdet')
    inner = {
        k.removeprefix('backbone.'): v
        for k, v in content['state_dict'].items()
    }
    stock = from_note(notes[0], file)
    assert type(stock) is DetSwin
    stock.load_state_dict(inner)
    for parameter in stock.parameters():
        torch.nn.init.zeros_(parameter)
    stock.init_weights()  # as a detector would
    stock.eval()
    assert 'out_indices=(1, 2, 3)' in notes[0] and len(notes) == 1
    image = torch.randn(2, 3, 64, 64)
    encoder = model.teacher.localization.encoder
    with torch.no_grad():
        maps = model.teacher.backbone(image)[1:]
        for norm, ours, theirs in zip(encoder.norms, maps, stock(image)):
            torch.testing.assert_close(norm(ours), theirs)


def test_mmpretrain_loads_the_backbone(trained, tmp_path):
    options = {'model.student.backbone.shift_last_stage': False}
    path, _, model = trained(options)
    file, content, notes = export(
        path, tmp_path, 'mmpretrain', predict_on='student'
    )
    inner = {
        k.removeprefix('backbone.'): v
        for k, v in content['state_dict'].items()
    }
    stock = from_note(notes[0], file)
    assert type(stock) is PretrainSwin
    stock.init_weights()
    for key, value in stock.state_dict().items():
        assert torch.equal(value, inner[key])
    stock.load_state_dict(inner)
    stock.eval()
    image = torch.randn(2, 3, 64, 64)
    norm = model.student.classification.norms[0]
    with torch.no_grad():
        ours = norm(model.student.backbone(image)[-1])
        torch.testing.assert_close(ours, stock(image)[-1])
    assert 'never does' in notes[1]


@pytest.mark.parametrize(
    'to, wanted', [('timm', m.new_timm), ('microsoft', m.old_timm)]
)
def test_timm_has_these_names(trained, bring, tmp_path, to, wanted):
    path, _, model = trained()
    _, content, notes = export(path, tmp_path, to)
    weights = content.get('model', content)
    names = {
        name: shape
        for name, shape in wanted().items()
        if not name.startswith('head')
        and 'attn_mask' not in name
        and '_index' not in name
    }
    assert {k: tuple(v.shape) for k, v in weights.items()} == names
    assert 'always does' in notes[0]
    # and back again
    back = bring(content, FX, {**TASKS})
    state = back.checkpoint['state_dict']
    for key, value in model.teacher.state_dict().items():
        if key.startswith(('backbone.', 'classification.norms.')):
            assert torch.equal(state[key], value), key


@pytest.mark.parametrize('to', ['mmdet', 'mmpretrain'])
def test_openmmlab_and_back_again(trained, bring, tmp_path, to):
    path, _, model = trained()
    _, content, _ = export(path, tmp_path, to)
    state = bring(content, FX, {**TASKS}).checkpoint['state_dict']
    norms = (
        'localization.encoder.norms.'
        if to == 'mmdet'
        else 'classification.norms.'
    )
    wanted = {
        key: value
        for key, value in model.teacher.state_dict().items()
        if key.startswith(('backbone.', norms))
    }
    assert state.keys() == wanted.keys()
    assert all(torch.equal(state[key], wanted[key]) for key in wanted)


def test_exports_without_a_branch(trained, tmp_path):
    path, _, _ = trained({'tasks': ['rsna/cls']})
    with pytest.raises(UserError, match='no localization branch.*--norms'):
        export_backbone(path, 'mmdet')
    content, _ = export_backbone(path, 'mmdet', norms='none')
    assert not any('.norm3' in name for name in content['state_dict'])
    content, _ = export_backbone(path, 'mmdet', norms='classification')
    assert 'backbone.norm3.weight' in content['state_dict']


def test_timm_needs_the_norm_of_the_last_stage(trained, tmp_path):
    path, _, _ = trained({'model.student.classification.stages': (1, 2)})
    with pytest.raises(UserError, match='no norm on the last stage'):
        export_backbone(path, 'timm')
    content, _ = export_backbone(path, 'timm', norms='none')
    assert 'norm.weight' not in content


def test_a_foreign_checkpoint_is_not_exported(tmp_path):
    torch.save(dict(model=m.filled(m.old_timm())), tmp_path / 'x.pth')
    with pytest.raises(UserError, match='is not one of fx_mm; convert it'):
        export_backbone(str(tmp_path / 'x.pth'), 'timm')


def test_a_shift_that_mmdet_has_is_named(trained):
    options = {'model.student.backbone.shift_last_stage': False}
    _, notes = export_backbone(trained(options)[0], 'mmdet')
    assert 'does not: maps of the last stage differ' in notes[1]


def test_only_a_swin_is_renamed(trained):
    r50 = 'foundation_x/foundation-x_r50_150c.py'
    options = {
        'tasks': ['rsna/cls'],
        'model.student.backbone': dict(
            _delete_=True, type='mmdet.ResNet', depth=18, base_channels=8
        ),
    }
    path, _, _ = trained(options, r50)
    with pytest.raises(UserError, match='is ResNet, and only a Swin'):
        export_backbone(path, 'timm', norms='none')


def test_the_published_model_loads_with_the_config(trained, tmp_path):
    path, cfg, model = trained()
    published = publish_checkpoint(load_file(path), path, 'teacher')
    file = write_published(published, tmp_path / 'x')
    loaded = load_model(cfg, str(file))
    for key, value in model.teacher.state_dict().items():
        assert torch.equal(loaded.student.state_dict()[key], value)
