"""Weights out of any container, under any wrapper, and who predicts."""

import itertools
from collections import OrderedDict

import pytest
import torch
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

from fx_mm.utils.checkpoint import register_loaders
from fx_mm.utils.errors import UserError
from fx_mm.utils.model_weights import (
    find_sets,
    model_weights,
    plain_name,
    read_weights,
)

NAMES = ('layers.0.weight', 'head.bias')


def weights(value=1.0, prefix=''):
    return {prefix + name: torch.full((2,), value) for name in NAMES}


def values(found):
    return {name: value[0].item() for name, value in found.items()}


PREFIXES = ['', '_orig_mod.', 'module.', 'model.', 'net.']
NESTED = [''.join(pair) for pair in itertools.permutations(PREFIXES[1:], 2)]


@pytest.mark.parametrize('prefix', PREFIXES + NESTED)
def test_wrappers_in_any_order(prefix):
    found = read_weights(weights(prefix=prefix), 'x')
    assert values(found) == dict.fromkeys(NAMES, 1.0)


def test_wrappers_inside():
    assert plain_name('student.backbone._orig_mod.a') == 'student.backbone.a'
    assert plain_name('student.model.a') == 'student.model.a'
    assert plain_name('models.a') == 'models.a'


def test_an_average_of_torch_has_a_counter_beside():
    model = torch.optim.swa_utils.AveragedModel(nn.Linear(1, 1))
    assert set(read_weights(model.state_dict(), 'x')) == {
        *('weight', 'bias', 'n_averaged')
    }


@pytest.mark.parametrize(
    'container',
    [
        *('state_dict', 'model_state_dict', 'model', 'net', 'weights'),
        *('params', 'student', 'module', 'model_state', 'network'),
    ],
)
@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_containers_of_one_set(container, prefix):
    content = {'epoch': 3, container: weights(prefix=prefix), 'optimizer': {}}
    assert values(read_weights(content, 'x')) == dict.fromkeys(NAMES, 1.0)


@pytest.mark.parametrize(
    'average',
    [
        *('teacher', 'teacher_model', 'state_dict_ema', 'model_ema'),
        *('ema_model', 'ema'),
    ],
)
def test_an_average_predicts(average):
    content = {'model': weights(1.0), average: weights(2.0, 'module.')}
    sets = find_sets(content, 'x')
    assert values(sets['teacher']) == dict.fromkeys(NAMES, 2.0)
    assert values(sets['student']) == dict.fromkeys(NAMES, 1.0)
    found = model_weights(content, 'x')
    assert (found.held, found.predict_on) == (
        ('teacher', 'student'),
        'teacher',
    )
    assert values(found.chosen) == dict.fromkeys(NAMES, 2.0)


def test_mmengines_average_is_the_state_dict():
    """Its EMAHook swaps both when it saves."""
    content = {'state_dict': weights(2.0), 'ema_state_dict': weights(1.0)}
    assert values(read_weights(content, 'x')) == dict.fromkeys(NAMES, 2.0)


def test_containers_in_containers():
    content = {'ema': {'module': weights(2.0), 'updates': 7}}
    assert values(model_weights(content, 'x').chosen) == dict.fromkeys(
        NAMES, 2.0
    )
    content = {'model': {'state_dict': weights(), 'args': {}}}
    assert values(read_weights(content, 'x')) == dict.fromkeys(NAMES, 1.0)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ([torch.ones(1)], 'holds a list and not weights by name'),
        (torch.ones(1), 'holds a Tensor and not weights by name'),
        (None, 'holds a NoneType'),
        ({}, r'holds no weights \(but nothing\)'),
        ({'epoch': 1, 'model': 'x'}, r'no weights \(but epoch, model\)'),
        ({1: torch.ones(1)}, r'holds no weights \(but 1\)'),
        ({'model': {'module': {}}}, 'holds no weights'),
        (
            {'model.a': torch.ones(1), 'net.a': torch.ones(1)},
            'of two models, such as "model.a" and "net.a"',
        ),
    ],
)
def test_what_holds_no_weights(content, message):
    with pytest.raises(UserError, match=message):
        read_weights(content, 'x')


def test_what_torch_keeps_beside_stays():
    """Versions of modules, by which old weights are read."""
    state = nn.BatchNorm1d(1).state_dict()
    assert read_weights({'state_dict': state}, 'x') is state
    assert isinstance(state, OrderedDict) and state._metadata


def both():
    return {**weights(1.0, 'student.'), **weights(2.0, 'teacher.')}


@pytest.mark.parametrize(
    ('state', 'stated', 'held', 'predict_on'),
    [
        (both(), None, ('teacher', 'student'), 'teacher'),
        (both(), 'student', ('teacher', 'student'), 'student'),
        (both(), 'nobody', ('teacher', 'student'), 'teacher'),
        (weights(1.0, 'student.'), None, ('student',), 'student'),
        (weights(2.0, 'teacher.'), None, ('teacher',), 'teacher'),
        (weights(2.0), 'teacher', ('teacher',), 'teacher'),
        (weights(1.0), 'student', ('student',), 'student'),
        (weights(1.0), None, ('student',), 'student'),
        (
            {**weights(1.0), **weights(2.0, 'teacher.')},
            None,
            ('teacher', 'student'),
            'teacher',
        ),
    ],
)
def test_whose_weights_they_are(state, stated, held, predict_on):
    content = dict(state_dict=state, meta=dict(predict_on=stated))
    found = model_weights(content, 'x')
    assert (found.held, found.predict_on) == (held, predict_on)
    if stated or any(name.startswith('teacher.') for name in state):
        for asked in held:
            wanted = dict.fromkeys(NAMES, float(asked == 'teacher') + 1)
            assert values(model_weights(content, 'x', asked).chosen) == wanted


@pytest.mark.parametrize(
    ('state', 'stated', 'asked', 'message'),
    [
        (
            *(weights(1.0, 'student.'), 'student', 'teacher'),
            'has no teacher, it holds the student alone',
        ),
        (
            *(weights(2.0), 'teacher', 'student'),
            'has no student, it holds the teacher alone',
        ),
        (
            *(weights(1.0, 'student.'), 'teacher', None),
            'was measured as the teacher, but holds the student alone',
        ),
        (weights(), None, 'teacher', 'does not separate student and teacher'),
        (weights(), None, 'student', 'does not separate student and teacher'),
        (both(), None, 'ema', "predict_on is 'ema'; use one of"),
    ],
)
def test_who_is_not_there_is_refused(state, stated, asked, message):
    content = dict(state_dict=state, meta=dict(predict_on=stated))
    with pytest.raises(UserError, match=message):
        model_weights(content, 'x', asked)


@pytest.mark.parametrize('meta', [None, [1], 'x', {}])
def test_any_meta(meta):
    content = dict(state_dict=both(), meta=meta)
    assert model_weights(content, 'x').predict_on == 'teacher'


def test_the_runner_is_given_plain_names(tmp_path):
    path = str(tmp_path / 'x.pth')
    register_loaders()
    for content in (
        weights(1.0, 'module.'),
        {'model_state_dict': weights(1.0, '_orig_mod.'), 'epoch': 3},
    ):
        torch.save(content, path)
        loaded = CheckpointLoader.load_checkpoint(path)
        assert values(loaded['state_dict']) == dict.fromkeys(NAMES, 1.0)
        assert loaded.get('epoch') == content.get('epoch')
