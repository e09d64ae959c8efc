"""What ``--cfg-options`` says: ``key=value``."""

import argparse
from typing import Any

from mmengine.config import DictAction

QUOTES = '"\''
BRACKETS = {'[': ']', '(': ')'}


class ConfigOptions(DictAction):
    """mmengine's action, whose values keep what the shell gave.

    Numbers, truth values, None, ``a,b``, ``[a,b]``, ``(a,b)`` and nested ones
    are read as mmengine's :class:`DictAction` reads them. That one takes the
    blanks out of every value (``work_dir=my dir`` becomes ``mydir``); here
    only those around an element go. Quotes inside a value keep a comma and
    brackets as well, and what is in them is text:
    ``classes=['Edema, acute',Mass]``, ``img_ids=['007','010']``.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Set the option.

        Raises:
            ArgumentError: If a part is no ``key=value``, or a bracket is
                left open.
        """
        for text in values or ():
            key, equals, _ = text.partition('=')
            if not equals or not key.strip():
                raise argparse.ArgumentError(
                    self,
                    f'"{text}" is not of the form key=value; a value with '
                    'blanks needs quotes around both, such as '
                    '"work_dir=my dir"',
                )
        try:
            super().__call__(parser, namespace, values, option_string)
        except ValueError as error:
            raise argparse.ArgumentError(self, str(error)) from error

    @staticmethod
    def _parse_iterable(val: str) -> Any:
        """Read a value; mmengine's ``__call__`` asks for it."""
        return read_value(val)


class KeptOptions(ConfigOptions):
    """Parse ``--cfg-options``, and keep them as typed to hand them on."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Set the option, and ``typed_options``."""
        namespace.typed_options = values
        super().__call__(parser, namespace, values, option_string)


def read_value(text: str) -> Any:
    """Read one value of ``--cfg-options``.

    Args:
        text (str): What follows the ``=``.

    Returns:
        Any: A list or tuple of values, a number, a truth value, None, or the
        text as it is.

    Raises:
        ValueError: If a bracket that begins the value is not closed.
    """
    bare = text.strip()
    inner = _unquoted(bare)
    if inner is not None:
        bare = inner.strip()
        if bare[:1] not in BRACKETS:
            return inner
    if bare[:1] in BRACKETS and _end_of(bare) == len(bare) - 1:
        values = [read_value(each.strip()) for each in _split(bare[1:-1])]
        return tuple(values) if bare[0] == '(' else values
    items = _split(text)
    if items in ([], [text]):
        return _scalar(text)
    return [read_value(each.strip()) for each in items]


def _scalar(text: str) -> Any:
    """Read a number, truth value or None; other text stays as it is."""
    if '_' in text:
        return text  # Python reads 2024_01 as a number
    value = DictAction._parse_int_float_bool(text.strip())
    return text if isinstance(value, str) else value


def _unquoted(text: str) -> str | None:
    """Return what is between the quotes of a text that is one quotation."""
    quoted = len(text) > 1 and text[0] in QUOTES and text[0] == text[-1]
    if quoted and text[0] not in text[1:-1]:
        return text[1:-1]
    return None


def _end_of(text: str) -> int:
    """Return where the bracket that begins a text is closed.

    Raises:
        ValueError: If it is not.
    """
    depth = 0
    for place, sign, quoted in _signs(text):
        if not quoted and sign in '[(':
            depth += 1
        elif not quoted and sign in '])':
            depth -= 1
            if depth == 0:
                return place
    raise ValueError(f'the bracket that begins {text} is not closed')


def _split(text: str) -> list[str]:
    """Split at the commas outside of brackets and quotes.

    One comma at the end adds no element.
    """
    parts, depth, start = [], 0, 0
    for place, sign, quoted in _signs(text):
        if quoted:
            continue
        if sign in '[(':
            depth += 1
        elif sign in '])':
            depth -= 1
        elif sign == ',' and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    rest = text[start:]
    return parts if not rest.strip() else [*parts, rest]


def _signs(text: str) -> list[tuple[int, str, bool]]:
    """List place and sign, and whether it is inside of quotes.

    A quote counts where an element begins, and ends before a comma, a
    closing bracket or the end: an apostrophe is no quote.
    """
    found, quote, begins = [], '', True
    for place, sign in enumerate(text):
        if quote:
            after = text[place + 1 :].lstrip()[:1]
            ends = sign == quote and after in ('', ',', ']', ')')
            found.append((place, sign, not ends))
            quote = '' if ends else quote
            continue
        if begins and sign in QUOTES and sign in text[place + 1 :]:
            quote = sign
        found.append((place, sign, bool(quote)))
        begins = sign in '[(,' or (begins and sign.isspace())
    return found
