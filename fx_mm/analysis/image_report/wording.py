"""The words of a report: one table, which a hospital can replace."""

import csv
import string
from collections.abc import Mapping
from pathlib import Path

from fx_mm.utils.errors import UserError
from fx_mm.utils.text_files import read_lines

SHIPPED = Path(__file__).with_name('report_wording.csv')
OWN_NAME = 'name:'
"""Beginning of a key that gives a class another name."""


class Wording:
    """Sentences by key, with places for values.

    Args:
        path (str | Path, optional): A table with the columns ``key`` and
            ``text`` and the rows of the shipped one; ``name:CLASS`` rows
            name classes. Defaults to None: the shipped one, in English.

    Raises:
        UserError: If it cannot be read, lacks a row, has one that nothing
            asks for, or a text names a value that its sentence has not.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = str(path or SHIPPED)
        self._texts = _read(self.path)
        shipped = _read(SHIPPED) if path is not None else self._texts
        for key in self._texts:
            if key not in shipped and not key.startswith(OWN_NAME):
                raise UserError(
                    f'{path}: no sentence is called "{key}"; the keys are '
                    f'those of {SHIPPED}, and name:CLASS for the name of a '
                    'class.'
                )
        for key, text in shipped.items():
            if key not in self._texts:
                raise UserError(
                    f'{path}: has no row "{key}"; copy it from {SHIPPED}.'
                )
            if text.strip() and not self._texts[key].strip():
                raise UserError(f'{path}: the row "{key}" has no text.')
            allowed = _fields(SHIPPED, key, text)
            for name in _fields(self.path, key, self._texts[key]):
                if name not in allowed:
                    raise UserError(
                        f'{path}: the row "{key}" asks for {{{name}}}, which '
                        'its sentence does not have; it has '
                        f'{", ".join(sorted(allowed)) or "none"}.'
                    )

    def say(self, key: str, **values: str) -> str:
        """Return a sentence with its values."""
        return self._texts[key].format_map(values)

    def name(self, class_name: str) -> str:
        """Return what a class is called."""
        return self._texts.get(OWN_NAME + class_name, class_name)


def _read(path: str | Path) -> Mapping[str, str]:
    hint = 'give a table with the columns key and text'
    rows = csv.DictReader(read_lines(path, hint))
    if rows.fieldnames is None or not {'key', 'text'} <= {*rows.fieldnames}:
        raise UserError(f'{path}: has no columns key and text; {hint}.')
    texts: dict[str, str] = {}
    try:
        for row in rows:
            key, text = row['key'], row['text']
            if not key or text is None:
                raise UserError(
                    f'{path}, line {rows.line_num}: has no key or no text.'
                )
            if key in texts:
                raise UserError(
                    f'{path}, line {rows.line_num}: a second row "{key}".'
                )
            texts[key] = text
    except csv.Error as error:
        raise UserError(
            f'{path}, line {rows.line_num}: {error}; {hint}.'
        ) from error
    return texts


def _fields(path: str | Path, key: str, text: str) -> set[str]:
    """Return the values that a text asks for, plain names alone."""
    if key.startswith(OWN_NAME):
        return set()
    try:
        found = list(string.Formatter().parse(text))
    except ValueError as error:
        raise UserError(
            f'{path}: the row "{key}" cannot be filled in ({error}).'
        ) from error
    names = set()
    for _, name, form, conversion in found:
        if name is None:
            continue
        if form or conversion or not name.isidentifier():
            raise UserError(
                f'{path}: the row "{key}" has a place {{{name}}} that is no '
                'plain name.'
            )
        names.add(name)
    return names
