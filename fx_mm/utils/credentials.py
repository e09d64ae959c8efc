"""Credentials in configs, which must not leave the machine with them."""

import ast
import re
from collections.abc import Mapping
from typing import Any

HIDDEN = '***'
_LOGIN = re.compile(r'(?<=://)[^/\s]*@')
_QUERY = re.compile(
    r'(?<=[?&])([\w-]*(?:token|password|secret|key|signature)=)[^&\s]+',
    re.IGNORECASE,
)
_KEY = re.compile(
    r'(?:.*_)?(?:password|passwd|token|secret|credentials?|'
    r'(?:api|access|secret|private)_?key)',
    re.IGNORECASE,
)


def hide_in_text(text: str) -> str:
    """Remove the login of addresses, hide tokens of their queries."""
    return _QUERY.sub(rf'\1{HIDDEN}', _LOGIN.sub('', text))


def hide_credentials(value: Any, key: object = None) -> Any:
    """Hide what a config holds of credentials.

    These are texts under keys such as ``password``, ``token`` or ``api_key``,
    and the logins of addresses.

    Args:
        value (Any): A config's value: dicts, lists, texts, numbers.
        key (object): What it stands under.

    Returns:
        Any: A copy with ``***`` for them; logins are left out.
    """
    if isinstance(value, Mapping):
        return {k: hide_credentials(each, k) for k, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(hide_credentials(each, key) for each in value)
    if not isinstance(value, str):
        return value
    secret = isinstance(key, str) and _KEY.fullmatch(key)
    return HIDDEN if secret and value else hide_in_text(value)


def hide_in_config_text(text: str) -> str:
    """Hide the credentials in a config's text.

    Args:
        text (str): Python with one assignment per key.

    Returns:
        str: The text as it was, if it holds none.
    """
    hide = _Hide()
    tree = hide.visit(ast.parse(text))
    return ast.unparse(tree) + '\n' if hide.found else text


class _Hide(ast.NodeTransformer):
    """Replaces texts, those below a name with that name as their key."""

    def __init__(self) -> None:
        self.found = False
        self._key: object = None

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        hidden = hide_credentials(node.value, self._key)
        self.found |= hidden != node.value
        return ast.Constant(hidden)

    def visit_Assign(self, node: ast.Assign) -> ast.Assign:
        key = getattr(node.targets[0], 'id', None)
        node.value = self._below(key, node.value)
        return node

    def visit_keyword(self, node: ast.keyword) -> ast.keyword:
        node.value = self._below(node.arg, node.value)
        return node

    def visit_Dict(self, node: ast.Dict) -> ast.Dict:
        for i, (key, value) in enumerate(zip(node.keys, node.values)):
            name = key.value if isinstance(key, ast.Constant) else None
            node.values[i] = self._below(name, value)
        return node

    def _below(self, key: object, value: ast.expr) -> Any:
        before, self._key = self._key, key
        found = self.visit(value)
        self._key = before
        return found
