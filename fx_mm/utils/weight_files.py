"""What a file of weights is: a pickle of torch, safetensors, or neither."""

import contextlib
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from fx_mm.utils.foreign_files import name_foreign_file

SAFETENSORS = '.safetensors'
META_KEY = 'fx_mm'
"""Where a safetensors file of fx_mm has its meta, as JSON."""
HEAD = 512
LENGTH_BYTES = 8
"""A safetensors file begins with the length of its header."""
UNPACK = 'unpack it and give the file inside'
STARTS = {
    b'\x89HDF': 'an HDF5 file, as Keras writes; convert it to PyTorch first',
    b'\x93NUMPY': 'an array of NumPy and not weights by name',
    b'\x89PNG': 'a picture',
    b'\xff\xd8\xff': 'a picture',
}


def name_other_file(path: str | Path) -> str:
    """Return what a file is that cannot hold weights, and what to do.

    Args:
        path (str | Path): A file.

    Returns:
        str: The end of a sentence that begins with the file; empty if it may
        hold weights.

    Raises:
        OSError: If it cannot be read.
    """
    with open(path, 'rb') as file:
        head = file.read(HEAD)
    if not head:
        return 'empty; copy or download it again'
    for start, name in STARTS.items():
        if head.startswith(start):
            return name
    if head[257:262] == b'ustar':
        return f'a tar archive; {UNPACK}'
    if zipfile.is_zipfile(path):
        return _name_zip(path)
    if _begins_as_safetensors(head):
        return ''
    foreign = name_foreign_file(head)
    if foreign:
        return foreign.removeprefix('is ')
    text = _as_text(head)
    if text:
        first = ' '.join(text.split())[:60]
        return f'text ("{first}") and not weights'
    return ''


def _name_zip(path: str | Path) -> str:
    """Return what a zip archive is that torch did not write."""
    with contextlib.suppress(zipfile.BadZipFile), zipfile.ZipFile(path) as zf:
        names = zf.namelist()
        files = {name.rpartition('/')[2] for name in names}
        if 'data.pkl' not in files:
            held = ', '.join(names[:3]) or 'nothing'
            return f'a zip archive with {held} in it; {UNPACK}'
        if 'constants.pkl' in files:
            return 'a TorchScript program; save its state_dict() instead'
    return ''


def _as_text(head: bytes) -> str:
    """Return the begin of a file of text; empty if it is none."""
    try:
        text = head.decode('utf-8', errors='strict')
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # not a letter that was cut
            return ''
        text = head[: error.start].decode('utf-8')
    printable = all(char.isprintable() or char.isspace() for char in text)
    return text if printable and text.strip() else ''


def _begins_as_safetensors(head: bytes) -> bool:
    return head[LENGTH_BYTES : LENGTH_BYTES + 1] == b'{'


def is_safetensors(path: str | Path) -> bool:
    """Return whether a file is, or claims to be, of safetensors."""
    if Path(path).suffix == SAFETENSORS:
        return True
    with open(path, 'rb') as file:
        head = file.read(HEAD)
    length = int.from_bytes(head[:LENGTH_BYTES], 'little')
    return _begins_as_safetensors(head) and length < os.path.getsize(path)


def read_safetensors(path: str | Path) -> dict[str, Any]:
    """Read weights, and the meta if fx_mm wrote the file.

    Args:
        path (str | Path): A file.

    Returns:
        dict: ``state_dict`` and ``meta``, or the weights alone.

    Raises:
        ValueError: If it is broken.
    """
    try:
        with safe_open(str(path), framework='pt') as file:
            names = file.offset_keys()  # in their order in the file
            weights = {name: file.get_tensor(name) for name in names}
            notes = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    if META_KEY not in notes:
        return weights
    return dict(state_dict=weights, meta=json.loads(notes[META_KEY]))


def dump_safetensors(
    weights: Mapping[str, Tensor], meta: Mapping[str, Any] | None = None
) -> bytes:
    """Return the content of a safetensors file, the same each time.

    Args:
        weights (Mapping[str, Tensor]): By name.
        meta (Mapping, optional): Of a checkpoint of fx_mm. Defaults to None.
    """
    # weights that share memory, which it refuses, are written one by one
    tensors = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in weights.items()
    }
    # one note: several would come in another order each time
    notes = {'format': 'pt'}
    if meta is not None:
        notes = {META_KEY: json.dumps(meta)}
    return to_safetensors(tensors, notes)
