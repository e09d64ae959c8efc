"""Annotations say what a container holds.

mypy's ``disallow_any_generics`` would ask the same, and besides it for the
arguments of every ``np.ndarray``.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent / 'fx_mm'
CONTAINERS = {
    *('list', 'tuple', 'dict', 'set', 'frozenset'),
    *('Sequence', 'Mapping', 'MutableMapping', 'Collection', 'Counter'),
    *('Iterable', 'Iterator', 'Generator', 'Callable', 'defaultdict'),
    'deque',
}


def annotations(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
            yield node.annotation
        elif isinstance(node, ast.FunctionDef) and node.returns:
            yield node.returns


def bare_containers(annotation):
    if isinstance(annotation, ast.Subscript):
        yield from bare_containers(annotation.slice)
    elif isinstance(annotation, ast.Name) and annotation.id in CONTAINERS:
        yield annotation.id
    elif isinstance(annotation, ast.Constant):
        if isinstance(annotation.value, str):
            yield from bare_containers(
                ast.parse(annotation.value).body[0].value
            )
    else:
        for child in ast.iter_child_nodes(annotation):
            yield from bare_containers(child)


def find(source):
    return [
        (annotation.lineno, name)
        for annotation in annotations(ast.parse(source))
        for name in bare_containers(annotation)
    ]


def test_the_search_finds_them():
    source = (
        'def f(a: list, b: list[dict], c: dict[str, list[int]]) -> tuple:\n'
        "    d: 'Sequence | None' = None\n"
        'def g(a: Callable[[list], int] | None, b: np.ndarray): ...\n'
    )
    assert sorted(find(source)) == [
        *((1, 'dict'), (1, 'list'), (1, 'tuple')),
        *((2, 'Sequence'), (3, 'list')),
    ]


def test_no_bare_container():
    wrong = [
        f'{path.relative_to(ROOT.parent)}:{line}: bare {name}'
        for path in sorted(ROOT.rglob('*.py'))
        for line, name in find(path.read_text())
    ]
    assert not wrong, '\n'.join(wrong)
