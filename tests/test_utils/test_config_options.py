"""--cfg-options keeps what the shell gave."""

import argparse

import pytest
from mmengine.config import Config, DictAction

from fx_mm.utils.config_options import ConfigOptions, KeptOptions


def parse(*texts, action=ConfigOptions):
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=action)
    return parser.parse_args(['--cfg-options', *texts]).cfg_options


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('my dir', 'my dir'),
        ('  both ends ', '  both ends '),
        ('a  b', 'a  b'),
        ('', ''),
        (' ', ' '),
        ('a=b', 'a=b'),
        ('[Pleural effusion, Mass]', ['Pleural effusion', 'Mass']),
        ("['Pleural effusion', 'Mass']", ['Pleural effusion', 'Mass']),
        ('Pleural effusion,Mass', ['Pleural effusion', 'Mass']),
        ("['Edema, acute',Mass]", ['Edema, acute', 'Mass']),
        ('["a] b", c]', ['a] b', 'c']),
        ('"a, b"', 'a, b'),
        ("Hampton's hump", "Hampton's hump"),
        ("[Hampton's hump, Crohn's]", ["Hampton's hump", "Crohn's"]),
        ("' padded '", ' padded '),
        ('[(1, 2), [a b, true]]', [(1, 2), ['a b', True]]),
        ('run(1,2)', 'run(1,2)'),
        ('(a),(b)', [('a',), ('b',)]),
        ('[0.1] of it', '[0.1] of it'),
        (' 3', 3),
        ('"1"', '1'),
        ("['007',010]", ['007', 10]),
        ("'None'", 'None'),
        ('2024_01', '2024_01'),
        (' True', True),
        ('Ätelektase links', 'Ätelektase links'),
        ('a\tb\nc', 'a\tb\nc'),
    ],
)
def test_blanks_commas_and_quotes(text, value):
    assert parse(f'a.b={text}') == {'a.b': value}


@pytest.mark.parametrize(
    'text',
    [
        *('1', '0.1', '1e-4', '-3', 'x', 'true', 'False', 'None', 'none'),
        *('1,2,3', '[1,2]', '(1,2)', '[(1,2),(3,4)]', '[[1]]', '[]', '()'),
        *('[a,b]', 'a,b', '[(a,b),[1,2],false]', '(1,)', 'a,', ',', '[a,,b]'),
        *('"[1,2]"', "'[a,b]'", "['a','b']", '["a",1]', "'x'"),
        *('a/b.pth', 's3://b/c', '*.png', 'x[0]', 'inf'),
    ],
)
def test_without_blanks_as_mmengine(text):
    ours, theirs = (
        parse(f'k={text}', action=action)
        for action in (ConfigOptions, DictAction)
    )
    assert ours == theirs
    assert type(ours['k']) is type(theirs['k'])


def test_options_are_merged(tmp_path):
    cfg = Config(dict(work_dir='x', tasks=[dict(classes=['a'])]))
    options = parse('work_dir=my dir', 'tasks.0.classes=[Pleural effusion,b]')
    cfg.merge_from_dict(options)
    assert cfg.work_dir == 'my dir'
    assert cfg.tasks[0].classes == ['Pleural effusion', 'b']


def test_kept_as_typed():
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=KeptOptions)
    args = parser.parse_args(['--cfg-options', 'a=b c', 'd=[1, 2]'])
    assert args.typed_options == ['a=b c', 'd=[1, 2]']
    assert args.cfg_options == {'a': 'b c', 'd': [1, 2]}


@pytest.mark.parametrize(
    ('texts', 'message'),
    [
        (['work_dir=my', 'dir'], '"dir" is not of the form key=value'),
        (['=3'], '"=3" is not of the form key=value'),
        (['a=[1,2'], 'the bracket that begins [1,2 is not closed'),
        (['a=([1,2]'], 'is not closed'),
    ],
)
def test_what_is_refused(texts, message, capsys):
    with pytest.raises(SystemExit, match='^2$'):
        parse(*texts)
    assert message in capsys.readouterr().err
