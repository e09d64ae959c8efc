"""Credentials in configs, which must not leave the machine with them."""

import ast
import re
from collections.abc import Mapping
from typing import Any

HIDDEN = '***'
_SECRET = (
    r'(?:passw(?:or)?d|passphrase|pwd|token|secret|credential|cookie|'
    r'auth(?:ori[sz]ation|entication)?|'
    r'(?:account|api|access|private|secret|ssh)[ _-]?key(?:[ _-]?id)?)s?'
)
_KEY = re.compile(rf'.*{_SECRET}[_-]?\d*', re.IGNORECASE)
# Counts, and the vectors and texts of models.
_MODEL_TOKEN = re.compile(
    r'(?:.*[_-])?(?:(?:max|min|num)[_-].*|(?:bos|class|cls|dist|eos|mask|pad|'
    r'query|reg|register|sep|sos|special|unk)[_-]?)tokens?',
    re.IGNORECASE,
)
# The second is of a password with a slash, which no port can be.
_LOGIN = re.compile(
    r'(?<=://)(?:[^/?#\s]*@|'
    r'[^/?#\s:@\[]*:(?!\d*[/?#])[^\s@]*@(?:[^/?#\s]*@)?)'
)
_QUERY = re.compile(
    rf'(?<=[?&#;])([\w.-]*(?:{_SECRET}|key|sig(?:nature)?)=)[^&\s]+',
    re.IGNORECASE,
)
_HEADER = re.compile(
    r'((?i:authorization)["\']?: *["\']?|\bBearer +)[^\r\n"\']+'
)


def hide_in_text(text: str) -> str:
    """Remove logins of addresses, hide tokens of queries and headers."""
    for pattern in (_QUERY, _HEADER):
        text = pattern.sub(rf'\1{HIDDEN}', text)
    return _LOGIN.sub('', text)


def hide_credentials(value: Any, key: object = None) -> Any:
    """Hide what a config holds of credentials.

    These are everything below keys such as ``password``, ``token`` or
    ``api_key``, but what is empty or a bool, and the logins of addresses.
    ``mask_token`` and the like are of models, and no credentials.

    Args:
        value (Any): A config's value: dicts, lists, texts, numbers.
        key (object): What it stands under.

    Returns:
        Any: A copy with ``***`` for them; logins are left out.
    """
    if isinstance(value, Mapping):
        return {
            k: hide_credentials(each, key if _is_secret(key) else k)
            for k, each in value.items()
        }
    if hasattr(value, '_asdict'):
        fields = hide_credentials(value._asdict(), key)
        return value._make(fields.values())
    if isinstance(value, list | tuple):
        hidden = [hide_credentials(each, key) for each in value]
        return hidden if isinstance(value, list) else tuple(hidden)
    if _is_secret(key):
        return HIDDEN if value and value is not True else value
    return hide_in_text(value) if isinstance(value, str) else value


def _is_secret(key: object) -> bool:
    return (
        isinstance(key, str)
        and _KEY.fullmatch(key) is not None
        and _MODEL_TOKEN.fullmatch(key) is None
    )


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

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        # a text has no minus
        if _is_secret(self._key):
            return self.visit(node.operand)
        return self.generic_visit(node)

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
        before = self._key
        self._key = before if _is_secret(before) else key
        found = self.visit(value)
        self._key = before
        return found
