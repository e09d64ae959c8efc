"""No bare assert in what is shipped: a user would see nothing but its line."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize('folder', ['fx_mm', 'tools', 'configs'])
def test_none_is_shipped(folder):
    found = [
        f'{path.relative_to(ROOT)}:{node.lineno}'
        for path in (ROOT / folder).rglob('*.py')
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assert)
    ]
    assert not found
