"""A folder for a model hub, the way to it and back."""

import json
import re
import sys

import hub_stand_in
import huggingface_hub
import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard, constants
from made_up_weights import TASKS

from fx_mm.apis import FoundationXInferencer
from fx_mm.converters.hub import fetch_folder
from fx_mm.converters.hub_folder import (
    read_folder,
    without_folders,
    write_folder,
)
from fx_mm.converters.model_card import check_results, model_card
from fx_mm.utils.errors import UserError

PUBLISH = 'model_converters/publish'
WEIGHTS = 'model.safetensors'


def predict(infer):
    image = np.random.default_rng(0).integers(0, 255, (90, 80), np.uint8)
    (result,) = infer(image)
    return [
        np.asarray(each)
        for each in (
            result['rsna/cls'].scores,
            result['rsna/loc'].boxes,
            result['rsna/loc'].scores,
            result['siim_acr/seg'].masks,
        )
    ]


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A stand-in on the loopback; the cache is empty."""
    with hub_stand_in.serve() as (address, held):
        monkeypatch.setattr(constants, 'ENDPOINT', address)
        # made of the former where the package is imported
        files = f'{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}'
        monkeypatch.setattr(constants, 'HUGGINGFACE_CO_URL_TEMPLATE', files)
        monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path / 'hf'))
        monkeypatch.setattr(constants, 'HF_HUB_DISABLE_XET', True)
        monkeypatch.setenv('HF_TOKEN', hub_stand_in.TOKEN)
        yield held


@pytest.fixture
def folder(trained, run, tmp_path):
    """What the tool wrote."""
    path, _, _ = trained()
    folder = tmp_path / 'chest'
    code, out, err = run(PUBLISH, path, '--to', folder)
    assert (code, err) == (0, '') and out == f'written to {folder}\n'
    return folder


def refused(call, *args, **kwargs):
    with pytest.raises(UserError) as caught:
        call(*args, **kwargs)
    text = str(caught.value)
    assert text.endswith('.') and '\n' not in text
    return text


def test_there_and_back_to_the_bit(trained, run, hub, tmp_path):
    path, cfg, _ = trained()
    wanted = predict(FoundationXInferencer(cfg, path))
    folder = tmp_path / 'chest'
    assert run(PUBLISH, path, '--to', folder)[0] == 0
    licence = ['--licence', 'CC-BY-NC-4.0']
    code, out, err = run(PUBLISH, path, '--to', 'hf://owner/chest', *licence)
    assert code == 0, err
    assert out.startswith('pushed to http://127.0.0.1')
    assert out.endswith('/owner/chest\n')
    assert hub.private and hub.message.startswith('Publish with fx_mm')
    assert sorted(hub.files) == ['README.md', 'config.json', WEIGHTS]
    for source in (folder, 'owner/chest', 'hf://owner/chest'):
        infer = FoundationXInferencer.from_pretrained(source)
        assert infer.predict_on == 'teacher'
        for ours, theirs in zip(predict(infer), wanted, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    # only what predicting needs was fetched
    cached = {p.name for p in (tmp_path / 'hf').rglob('snapshots/*/*')}
    assert cached == {'config.json', WEIGHTS}


def test_nothing_private_and_no_pickle(folder):
    assert {p.name for p in folder.iterdir()} == {
        *('README.md', 'config.json', WEIGHTS)
    }
    text = (folder / 'config.json').read_text()
    assert 'private' not in text and not re.search('"[/~]', text)
    config, weights = read_folder(folder, 'x')
    assert list(config.task_table.names) == TASKS['tasks']
    head = weights.read_bytes()[:5000]
    assert b'"tasks' in head.replace(b'\\', b'') and b'pickle' not in head


def test_card(folder):
    text = (folder / 'README.md').read_text()
    card = ModelCard(text)
    assert card.data.license == 'unknown' and 'loc' in card.data.tags
    for section in (
        *('Intended use', 'Data and tasks', 'Results', 'Limits', 'Licence'),
        'Citation',
    ):
        assert f'\n## {section}\n' in text
    assert 'Not evaluated' in text and 'stated no licence' in text
    assert 'owner' in text and str(folder.parent) not in text


def results(**more):
    return dict(
        checkpoint='iter_40.pth',
        split='test',
        tasks={'rsna/cls': dict(n_images=7)},
        notes={'rsna/cls': ['No positives of x.']},
        metrics=dict(teacher={'rsna/cls': dict(AUC=0.5)}),
        intervals=dict(teacher={'rsna/cls': dict(AUC=dict(low=0.4, high=1))}),
        bootstrap=dict(level=0.95, method='percentile', resamples=9),
        **more,
    )


def test_results_of_the_card(folder):
    config, _ = read_folder(folder, 'x')
    meta = dict(fx_mm_version='1', imported=dict(family='Ark'))
    text = model_card('o/n', meta, config, 'teacher', results(), 'MIT')
    head = yaml.safe_load(text.split('---')[1])
    assert head['license'] == 'mit'
    assert '| rsna/cls | AUC | 0.500 [0.400, 1.000] | 7 |' in text
    assert '| rsna/loc | mAP_40 | n/a | not evaluated |' in text
    assert '95% intervals, percentile bootstrap of 9' in text
    assert '- No positives of x.' in text and 'non-commercial' in text
    assert "from_pretrained('o/n')" in text
    assert 'phantom' not in text
    config.phantom = dict(root='x')
    text = model_card('o/n', meta, config, 'student')
    assert 'on no patient' in text and 'those of the student' in text
    check_results(results(), 'r', 'iter_40.pth', 'teacher')
    wrong = refused(check_results, results(), 'r', 'iter_5.pth', 'teacher')
    assert 'is of iter_40.pth, and not of iter_5.pth' in wrong
    wrong = refused(check_results, results(), 'r', 'iter_40.pth', 'student')
    assert '--predict-on student' in wrong


def test_folders_that_are_none(folder, trained, run, tmp_path):
    load = FoundationXInferencer.from_pretrained
    assert 'neither a folder nor owner/name' in refused(load, 'nothing')
    (tmp_path / 'empty').mkdir()
    assert 'has no config.json' in refused(load, tmp_path / 'empty')
    path = str(tmp_path / 'iter_40.pth')
    code, _, err = run(PUBLISH, path, '--to', folder)
    assert code == 1 and 'exists already; give another folder' in err
    config = folder / 'config.json'
    content = json.loads(config.read_text())
    for change, wanted in (
        (dict(fx_mm_format=2), 'has the format 2, this fx_mm'),
        (dict(config=[]), 'does not hold the config'),
        (
            dict(config=dict(content['config'], hooks=dict(type='os.system'))),
            'the type "os.system"',
        ),
        (
            dict(config=dict(content['config'], text='x')),
            'a key that mmengine keeps for itself',
        ),
    ):
        config.write_text(json.dumps({**content, **change}))
        assert wanted in refused(load, folder)
    for text in ('', '[]', '{}', 'import os'):
        config.write_text(text)
        assert 'is not a config of fx_mm' in refused(load, folder)
    config.write_text(json.dumps(content))
    weights = folder / WEIGHTS
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    assert 'may be cut short' in refused(load, folder)
    weights.unlink()
    assert f'has no {WEIGHTS}' in refused(load, folder)


def test_private_places():
    for text, name in (
        ('', ''),
        ('phantom_b/loc', 'phantom_b/loc'),
        ('data/images/', 'data/images/'),
        ('https://host/x.pth', 'https://host/x.pth'),
        ('/home/me/x.pth', 'x.pth'),
        ('~/x.pth', 'x.pth'),
        ('C:\\Users\\me\\x.pth', 'x.pth'),
        ('file:///home/me/x.pth', 'x.pth'),
        ('sqlite:////home/me/x.db', 'x.db'),
        ('https://me:secret@host/x.pth', 'x.pth'),
    ):
        assert without_folders(dict(a=[text, 1])) == dict(a=[name, 1])


def test_what_json_cannot_hold(folder, tmp_path):
    config, _ = read_folder(folder, 'x')
    published = dict(meta={}, state_dict={})
    for value, wanted in (
        ({1: 2}, 'keys that are no text'),
        (float('nan'), 'cannot be written as JSON'),
        (folder, 'cannot be written as JSON'),
    ):
        config.env_cfg = dict(x=value)
        target = tmp_path / 'other'
        text = refused(write_folder, published, config, '', target)
        assert wanted in text and not target.exists()


def test_words_that_do_not_go_together(run):
    for words, wanted in (
        (['x'], 'Give either'),
        (['x', 'y', '--to', 'z'], 'Give either'),
        (['x', 'y', '--public'], 'are of --to'),
        (['x', '--to', 'z', '--public'], 'is of a repository'),
        (['x', '--to', 'z', '--adapter-alone'], 'is of a file'),
    ):
        code, _, err = run(PUBLISH, *words)
        assert code == 1 and wanted in err


def test_what_the_hub_refuses(hub, trained, run, monkeypatch):
    path, _, _ = trained()
    to = ['--to', 'hf://owner/chest']
    code, _, err = run(PUBLISH, path, *to, '--licence', 'mine')
    assert code == 1 and 'is --licence one of its list?' in err
    monkeypatch.delenv('HF_TOKEN')
    text = refused(fetch_folder, 'owner/chest')
    assert 'or it is private: check the name, or set HF_TOKEN' in text
    code, _, err = run(PUBLISH, path, *to)
    assert code == 1 and 'refuses to write' in err
    monkeypatch.setenv('HF_TOKEN', hub_stand_in.TOKEN)
    text = refused(fetch_folder, 'owner/chest', 'v9')
    assert 'has no revision "v9"' in text
    assert 'is no name on a hub' in refused(fetch_folder, 'a--b/..c')
    code, _, err = run(PUBLISH, path, '--to', 'hf://a/b/c')
    assert code == 1 and 'is no name on a hub' in err
    monkeypatch.setattr(constants, 'ENDPOINT', 'http://127.0.0.1:9')
    assert 'out of reach, to read' in refused(fetch_folder, 'owner/chest')
    code, _, err = run(PUBLISH, path, *to)
    assert code == 1 and 'out of reach, to write' in err


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, huggingface_hub.__name__, None)
    text = refused(fetch_folder, 'owner/chest')
    assert 'pip install onedl-fx-mm[hub]' in text
