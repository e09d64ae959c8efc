"""Reading a config's text without executing it."""

import ast
from collections.abc import Collection
from typing import Any


class _DictCalls(ast.NodeTransformer):
    """Turn ``dict(a=1)`` into ``{'a': 1}``, which is a literal."""

    def visit_Call(self, node: ast.Call) -> ast.AST:  # noqa: N802
        self.generic_visit(node)
        if (
            isinstance(node.func, ast.Name)
            and node.func.id == 'dict'
            and not node.args
            and all(keyword.arg for keyword in node.keywords)
        ):
            keys: list[ast.expr | None] = [
                ast.Constant(keyword.arg) for keyword in node.keywords
            ]
            return ast.Dict(keys, [keyword.value for keyword in node.keywords])
        return node


def read_assignments(
    text: str, only: Collection[str] | None = None
) -> dict[str, Any]:
    """Read the assignments of literals in a config's text.

    Args:
        text (str): A config as mmengine writes it into checkpoints.
        only (Collection[str], optional): Names to read; others may be
            anything. Defaults to None, all.

    Returns:
        dict: Name to value; the last assignment counts.

    Raises:
        SyntaxError: If it is not Python.
        ValueError: If a value is no literal.
        TypeError: If a value is no literal.
    """
    values = {}
    for node in ast.parse(text).body:
        if not isinstance(node, ast.Assign):
            continue
        name = getattr(node.targets[0], 'id', None)
        if name is not None and (only is None or name in only):
            values[name] = ast.literal_eval(_DictCalls().visit(node.value))
    return values
