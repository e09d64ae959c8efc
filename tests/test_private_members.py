"""Private members of mmengine's classes are used in their subclasses alone."""

import ast
import inspect
import textwrap
from pathlib import Path

import pytest
from mmengine.config import Config, ConfigDict
from mmengine.registry import Registry
from mmengine.runner import BaseLoop, Runner

ROOT = Path(__file__).parents[1]
FOLDERS = ('fx_mm', 'tools', 'tests/helpers')
# the loops' counters are mmengine's convention, which its Runner sets
CLASSES = (Runner, Config, ConfigDict, Registry, BaseLoop)
COUNTERS = {'_epoch', '_iter'}
OWN = {'self', 'cls', 'super'}


def is_private(name):
    return name.startswith('_') and not name.endswith('__')


def private_members():
    """Names of methods and attributes that the classes have."""
    found = set(COUNTERS)
    for each in CLASSES:
        found |= set(vars(each))
        tree = ast.parse(textwrap.dedent(inspect.getsource(each)))
        found |= {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in OWN
        }
    return {name for name in found if is_private(name)}


def is_own(node):
    """Whether an expression is ``self``, ``cls`` or ``super()``."""
    if isinstance(node, ast.Call):
        node = node.func
    return isinstance(node, ast.Name) and node.id in OWN


def uses(source, members):
    """Line and name of each private member that is used from outside."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            owner, name = node.value, node.attr
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ('getattr', 'setattr', 'hasattr')
            and isinstance(node.args[1], ast.Constant)
        ):
            owner, name = node.args[0], node.args[1].value
        else:
            continue
        if name in members and not is_own(owner):
            yield node.lineno, name


def test_members_are_known():
    assert {
        *('_train_loop', '_load_from', '_resume', '_init_model_weights'),
        *('_cfg_dict', '_module_dict', '_iter'),
    } <= private_members()


def test_the_search_finds_them():
    source = (
        'class MyRunner(Runner):\n'
        '    def f(self, cfg):\n'
        '        self._train_loop = super()._resume\n'
        '        return cfg._cfg_dict\n'
        'def g(runner):\n'
        "    getattr(runner, '_load_from')\n"
        '    runner.loops[0]._iter = 0\n'
        '    return runner._mine\n'
    )
    assert sorted(uses(source, private_members())) == [
        (4, '_cfg_dict'),
        (6, '_load_from'),
        (7, '_iter'),
    ]


@pytest.mark.parametrize('folder', FOLDERS)
def test_none_is_used_from_outside(folder):
    members = private_members()
    wrong = [
        f'{path.relative_to(ROOT)}:{line}: {name}'
        for path in sorted((ROOT / folder).rglob('*.py'))
        for line, name in uses(path.read_text(encoding='utf-8'), members)
    ]
    assert not wrong, '\n'.join(wrong)
