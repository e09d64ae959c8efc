"""The layers of the package: a file imports from below, never from above."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / 'fx_mm'
LAYERS = (
    ('app',),
    ('apis',),
    ('analysis',),
    ('federated',),
    ('converters', 'deployment', 'dicom_out'),
    ('engine',),
    ('audit',),
    ('phantom',),
    ('preparation',),
    ('models',),
    ('visualization',),
    ('evaluation',),
    ('config',),
    ('datasets',),
    ('tasks',),
    ('image_io', 'ops'),
    ('structures', 'registry', 'utils', 'version'),
)
"""Top to bottom; rooms of one layer may not import each other."""
HEIGHT = {room: -i for i, rooms in enumerate(LAYERS) for room in rooms}
BOTTOM = LAYERS[-1]
LARGEST = 0.15
"""Share of the package's lines that a room may have."""


def room_of(module):
    """The first name below ``fx_mm``."""
    return module.split('.')[1] if '.' in module else ''


def imports(path):
    """The modules of fx_mm that a file imports, with their lines.

    Imports for the type checker alone are left out.
    """
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and 'TYPE_CHECKING' in ast.dump(node.test):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f'{path}:{node.lineno}: a relative import'
            if f'{node.module}.'.startswith('fx_mm.'):
                for name in node.names:
                    whole = f'{node.module}.{name.name}'
                    module = whole if whole in MODULES else node.module
                    yield module, node.lineno
        elif isinstance(node, ast.Import):
            for name in node.names:
                if name.name.startswith('fx_mm'):
                    yield name.name, node.lineno


def modules():
    """File of each module of the package."""
    found = {}
    for path in sorted(PACKAGE.rglob('*.py')):
        parts = ['fx_mm', *path.relative_to(PACKAGE).with_suffix('').parts]
        if parts[-1] == '__init__':
            parts.pop()
        found['.'.join(parts)] = path
    return found


MODULES = modules()


def test_every_room_is_in_a_layer():
    rooms = {room_of(module) for module in MODULES} - {''}
    assert rooms == set(HEIGHT)


def test_no_file_imports_from_a_layer_above():
    wrong = []
    for module, path in MODULES.items():
        room = room_of(module)
        for target, line in imports(path):
            other = room_of(target)
            if not room or not other or other == room:
                continue
            same = HEIGHT[room] == HEIGHT[other] and room not in BOTTOM
            if same or HEIGHT[other] > HEIGHT[room]:
                where = path.relative_to(PACKAGE.parent)
                wrong.append(f'{where}:{line} imports {target}')
    assert not wrong, '\n'.join(wrong)


def test_no_circle_of_imports():
    graph = {}
    for module, path in MODULES.items():
        targets = {t for t, _ in imports(path)}
        # of "from fx_mm.tasks import Task" the package's own file counts
        graph[module] = {t for t in targets if t in MODULES} - {module}
    done, path = set(), []

    def visit(module):
        if module in path:
            pytest.fail(' -> '.join([*path[path.index(module) :], module]))
        if module in done:
            return
        path.append(module)
        for target in sorted(graph[module]):
            visit(target)
        path.pop()
        done.add(module)

    for module in graph:
        visit(module)


def test_no_room_is_too_large():
    lines = {}
    for module, path in MODULES.items():
        count = len(path.read_text().splitlines())
        lines[room_of(module)] = lines.get(room_of(module), 0) + count
    total = sum(lines.values())
    large = {k: v / total for k, v in lines.items() if v > LARGEST * total}
    assert not large, large
