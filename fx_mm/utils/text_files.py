"""Text files: the one place that opens tables, lists and JSON."""

import codecs
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fx_mm.utils.errors import UserError
from fx_mm.utils.foreign_files import name_foreign_file

GZIP_SIGNATURE = b'\x1f\x8b'
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
HEAD = 32
"""Bytes of a file that are looked at to tell what it is."""


def read_lines(path: str | Path, hint: str) -> Iterator[str]:
    """Read a text file line by line; gzip, BOM and any line end are fine.

    What the file is packed in is read from its first bytes, and never from
    its name. Lines end at line feeds and carriage returns only: a form feed
    may be part of a table's cell.

    Args:
        path (str | Path): The file.
        hint (str): What it is or what to do, for the messages.

    Yields:
        str: A line with its end.

    Raises:
        UserError: If the file is missing, empty, cut off, neither UTF-8 nor
            UTF-16, or no text at all.
    """
    blank = True
    encoding = 'utf-8-sig'
    try:
        with open(path, 'rb') as raw:
            packed = raw.peek(2)[:2] == GZIP_SIGNATURE
            data = gzip.GzipFile(fileobj=raw) if packed else raw
            head = data.peek(HEAD)[:HEAD]
            foreign = name_foreign_file(head)
            if foreign is not None:
                raise UserError(f'{path}: {foreign}.')
            if head.startswith(UTF_16):
                encoding = 'utf-16'
            with io.TextIOWrapper(data, encoding, newline='') as text:
                for line in text:
                    if blank and not line.isspace():
                        blank = False
                    yield line
    except UnicodeDecodeError as error:
        if encoding == 'utf-16':
            raise UserError(
                f'{path}: is not whole UTF-16 text; save it as UTF-8.'
            ) from error
        raise UserError(
            f'{path}: is not UTF-8 text (byte {_bad_byte(path, error)}); '
            'save it as UTF-8.'
        ) from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(
            f'{path}: the gzip file is cut off or damaged; copy it again.'
        ) from error
    except OSError as error:
        raise UserError(f'{path}: {error.strerror}; {hint}.') from error
    if blank:
        raise UserError(f'{path}: the file is empty; {hint}.')


def read_json(path: str | Path, hint: str) -> Any:
    """Read a JSON file, whatever :func:`read_lines` reads.

    Args:
        path (str | Path): The file.
        hint (str): What it is or what to do, for the messages.

    Raises:
        UserError: As :func:`read_lines`, or if the text is not JSON.
    """
    text = ''.join(read_lines(path, hint))
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(
            f'{path}: is not valid JSON (line {error.lineno}: {error.msg}); '
            'is it cut off?'
        ) from error
    except (ValueError, RecursionError) as error:
        # numbers of thousands of digits, lists in thousands of lists
        raise UserError(f'{path}: is not valid JSON ({error}).') from error


def _bad_byte(path: str | Path, error: UnicodeDecodeError) -> int:
    """Return the position of the first wrong byte of the (unpacked) file."""
    with open(path, 'rb') as file:
        data = file.read()
    if data.startswith(GZIP_SIGNATURE):
        data = gzip.decompress(data)
    try:
        data.decode('utf-8')
    except UnicodeDecodeError as whole:
        return whole.start
    return error.start
