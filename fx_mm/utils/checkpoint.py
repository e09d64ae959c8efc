"""Reading checkpoints without running them, writing them whole."""

import difflib
import hashlib
import os
import os.path as osp
import pickle
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import barrier as dist_barrier
from mmengine.dist import get_local_rank, is_distributed
from mmengine.fileio import LocalBackend, register_backend
from mmengine.runner.checkpoint import CheckpointLoader, get_torch_safe_globals
from torch import Tensor, nn

from fx_mm.utils.adapted_weights import add_base, base_of
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import write_whole
from fx_mm.utils.model_weights import model_weights, read_weights
from fx_mm.utils.weight_files import (
    is_safetensors,
    name_other_file,
    read_safetensors,
)

ATOMIC_BACKEND = 'fx_mm_atomic'
LAST_CHECKPOINT = 'last_checkpoint'
HASHED = re.compile(r'-[0-9a-f]{8,}\.')
MapLocation = str | torch.device | Callable[..., Any] | None
"""As of ``torch.load``."""
RUN_KEYS = (
    'load_from =',
    'resume =',
    'work_dir =',
    'launcher =',
    'experiment_name =',
)
"""What differs between a run and its resumption without any meaning."""


class AtomicLocalBackend(LocalBackend):
    """mmengine's local file backend, writing as a whole or not at all."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write ``obj``; a kill leaves the former file.

        Raises:
            UserError: If it cannot be written, as on a full disk; names the
                checkpoint that is left.
        """
        try:
            write_whole(filepath, obj)
        except OSError as error:
            before = find_checkpoint(Path(filepath).parent)
            left = (
                f'the previous checkpoint {osp.basename(before)} is intact: '
                'make room and go on with --resume'
                if before
                else 'there is no checkpoint before it'
            )
            raise UserError(
                f'{filepath} cannot be written ({error.strerror}); {left}.'
            ) from error

    def put_text(
        self, obj: str, filepath: str | Path, encoding: str = 'utf-8'
    ) -> None:
        """Write text like :meth:`put`."""
        self.put(obj.encode(encoding), filepath)


register_backend(ATOMIC_BACKEND, AtomicLocalBackend, force=True)


def load_file(
    path: str, map_location: MapLocation = 'cpu', trust: bool = False
) -> dict[str, Any]:
    """Load a checkpoint; by default one that cannot run code.

    Args:
        path (str): A local file, of torch or in the safetensors format.
        map_location: As of ``torch.load``.
        trust (bool): Unpickle anything, for a file of a source you trust.
            Defaults to False.

    Raises:
        UserError: If the file is missing, broken or something else, holds
            more than weights, or has a ``config`` in its meta, which mmengine
            would execute.
    """
    path = osp.expanduser(str(path))
    if osp.isdir(path):
        raise UserError(f'Checkpoint "{path}" is a folder; give a file in it.')
    if not osp.isfile(path):
        raise UserError(f'Checkpoint "{path}" does not exist.')
    try:
        other = name_other_file(path)
        if other:
            raise UserError(f'Checkpoint "{path}" is {other}.')
        if is_safetensors(path):
            checkpoint = _move(read_safetensors(path), map_location)
        else:
            with torch.serialization.safe_globals(get_torch_safe_globals()):
                checkpoint = torch.load(
                    path, map_location=map_location, weights_only=not trust
                )
    except UserError:
        raise
    except Exception as error:
        # Broken pickles raise whatever their bytes lead to.
        text = _reason(error)
        whole = zipfile.is_zipfile(path) or 'GLOBAL' in str(error)
        if isinstance(error, pickle.UnpicklingError) and whole:
            raise UserError(
                f'Checkpoint "{path}" holds more than weights, and loading '
                'it could run code; load it with --trust if you trust its '
                f'source ({text}).'
            ) from error
        raise UserError(
            f'Checkpoint "{path}" is not readable, it may be cut short '
            f'({text}).'
        ) from error
    if not isinstance(checkpoint, dict):
        raise UserError(
            f'Checkpoint "{path}" holds a {type(checkpoint).__name__} and not '
            'weights by name; save model.state_dict().'
        )
    meta = checkpoint.get('meta')
    if isinstance(meta, dict) and 'config' in meta:
        raise UserError(
            f'Checkpoint "{path}" carries a "config" in its meta, which '
            'mmengine would execute as Python; it is refused.'
        )
    return checkpoint


def _reason(error: Exception) -> str:
    """Return why a file cannot be loaded, without torch's advice."""
    text = str(error)
    name = re.search(r'GLOBAL ([\w.]+)', text)
    if name:
        return f'it needs {name[1]}'
    text = text.partition('WeightsUnpickler error:')[2] or text
    lines = filter(None, map(str.strip, text.splitlines()))
    return next(lines, type(error).__name__)[:120]


def _move(checkpoint: dict[str, Any], device: MapLocation) -> dict[str, Any]:
    """Move the tensors of a safetensors file to a device."""
    if not isinstance(device, str | torch.device):
        return checkpoint
    return {
        key: value.to(device)
        if isinstance(value, Tensor)
        else (_move(value, device) if key == 'state_dict' else value)
        for key, value in checkpoint.items()
    }


def load_url(
    url: str,
    map_location: MapLocation = 'cpu',
    model_dir: str | None = None,
    trust: bool = False,
) -> dict[str, Any]:
    """Download a checkpoint once and load it like a local file.

    Raises:
        UserError: If it cannot be fetched, or as :func:`load_file`.
    """
    path = local_path(url, model_dir)
    if get_local_rank() == 0 and not osp.isfile(path):
        os.makedirs(osp.dirname(path), exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, path)
        except OSError as error:
            raise UserError(
                f'Cannot download "{url}" ({error}); download it yourself '
                'and give its path.'
            ) from error
    if is_distributed():
        dist_barrier()
    return load_file(path, map_location, trust)


def local_path(source: str, model_dir: str | None = None) -> str:
    """Return the path of a file, or of the copy of a URL."""
    if '://' not in source:
        return source
    folder = model_dir or osp.join(torch.hub.get_dir(), 'checkpoints')
    return osp.join(folder, _download_name(source))


def _download_name(url: str) -> str:
    """Return the name of a URL's copy, which no other URL has.

    Many projects call their file ``model.safetensors``; a name that ends in
    a hash, as torchvision's and OpenMMLab's do, stays.
    """
    name = osp.basename(url.split('?')[0])
    if HASHED.search(name):
        return name
    stem, suffix = osp.splitext(name)
    return f'{stem}-{hashlib.sha256(url.encode()).hexdigest()[:8]}{suffix}'


def load_source(
    source: str, trust: bool = False, whole: bool = True
) -> dict[str, Any]:
    """Load a file or a URL, see :func:`load_file`.

    Args:
        source (str): A file or URL.
        trust (bool): Unpickle anything in it. Defaults to False.
        whole (bool): Add its base to an adapter. Defaults to True.

    Raises:
        UserError: As :func:`load_file`, or if a base is missing or another
            one.
    """
    if source.startswith(('http://', 'https://')):
        loaded = load_url(source, trust=trust)
    else:
        loaded = load_file(source, trust=trust)
    return with_base(loaded, source, trust) if whole else loaded


def with_base(
    loaded: dict[str, Any], source: str, trust: bool = False
) -> dict[str, Any]:
    """Add the weights of its base to a checkpoint that holds an adapter.

    Args:
        loaded (dict): A loaded checkpoint; it is not changed.
        source (str): Its path.
        trust (bool): Unpickle anything in the base. Defaults to False.

    Returns:
        dict: What was given if it is whole.

    Raises:
        UserError: If the base is missing or another one.
    """
    entry = base_of(loaded)
    if entry is None:
        return loaded

    def read(path: str) -> dict[str, Tensor]:
        return model_weights(load_source(path, trust), path).chosen

    own = read_weights(loaded, source)
    return dict(loaded, state_dict=add_base(own, entry, source, read))


def register_loaders() -> None:
    """Replace mmengine's loaders, which fall back to full unpickling.

    What they load has its weights under ``state_dict`` and by plain names,
    see :func:`read_weights`. mmengine prints what follows on ``load_from_``
    in their names.
    """

    @CheckpointLoader.register_scheme('', force=True)
    def load_from_local(
        filename: str, map_location: Any = 'cpu'
    ) -> dict[str, Any]:
        return _with_weights(load_file(filename, map_location), filename)

    @CheckpointLoader.register_scheme(('http://', 'https://'), force=True)
    def load_from_http(
        filename: str, map_location: Any = 'cpu'
    ) -> dict[str, Any]:
        return _with_weights(load_url(filename, map_location), filename)


def _with_weights(loaded: dict[str, Any], source: str) -> dict[str, Any]:
    weights = read_weights(loaded, source)
    if weights is loaded:
        return dict(state_dict=weights)
    return dict(loaded, state_dict=weights)


def list_checkpoints(folder: str | Path) -> list[Path]:
    """Return the files that training itself wrote, ``iter_12.pth``."""
    return [
        file
        for file in Path(folder).glob('iter_*.pth')
        if file.stem[len('iter_') :].isdigit()
    ]


def find_checkpoint(folder: str | Path) -> str | None:
    """Find the newest whole checkpoint of a work directory.

    The pointer file is tried first, then the files by iteration, so neither
    a lost pointer nor a moved folder makes a run start from scratch.

    Returns:
        str: Its path, or None if there is none.
    """
    folder = Path(folder)
    files = sorted(
        list_checkpoints(folder),
        key=lambda file: int(file.stem.removeprefix('iter_')),
        reverse=True,
    )
    pointer = folder / LAST_CHECKPOINT
    if pointer.is_file():
        last = Path(pointer.read_text().strip())
        # elsewhere if the checkpoint hook has an out_dir
        files = [folder / last.name, last, *files]
    for file in files:
        if file.is_file():
            return str(file)
    return None


def check_meta(
    checkpoint: dict[str, Any], table: Iterable[Any], need_all: bool = False
) -> None:
    """Compare a checkpoint's tasks with the config's, by name.

    Args:
        checkpoint (dict): A loaded checkpoint; one without a task table in
            its meta passes.
        table (TaskTable): The active tasks.
        need_all (bool): Every active task must have a head in it. Defaults
            to False.

    Raises:
        UserError: Names the task and the classes that differ.
    """
    meta = checkpoint.get('meta')
    tasks = meta.get('tasks') if isinstance(meta, dict) else None
    saved = {entry['task']: entry for entry in tasks or []}
    if not saved:
        return
    for task in table:
        entry = saved.get(task.name)
        if entry is None:
            if need_all:
                raise UserError(
                    f'The checkpoint has no head for "{task.name}"; it was '
                    f'trained on {", ".join(saved)}: name those in "tasks".'
                )
            continue
        if list(entry['classes']) != list(task.classes):
            raise UserError(
                f'The head of "{task.name}" in the checkpoint has the '
                f'classes {", ".join(entry["classes"])}, but the config says '
                f'{", ".join(task.classes)}; use the same list, or give the '
                'dataset another name to train a new head.'
            )


def check_finite(state_dict: Mapping[str, Tensor], source: str) -> None:
    """Refuse weights that are not finite: their model predicts nothing.

    Raises:
        UserError: Names the first one.
    """
    for name, value in state_dict.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise UserError(
                f'Checkpoint "{source}" has values in "{name}" that are not '
                'finite; it is broken.'
            )


def load_weights(
    model: nn.Module,
    state_dict: dict[str, Tensor],
    source: str,
    optional: Callable[[str], bool] = lambda name: False,
) -> None:
    """Load a state dict; whatever a model needs must be in it.

    Weights of tasks that the model does not have may be left over.

    Args:
        model (nn.Module): The model.
        state_dict (dict[str, Tensor]): Its weights.
        source (str): Path of the checkpoint, for messages.
        optional (Callable): Whether a weight of the model, by its name, is
            not needed. Defaults to none.

    Raises:
        UserError: Counts and names the missing or misshapen weights, or
            those that are not finite.
    """
    check_finite(state_dict, source)
    try:
        result = model.load_state_dict(state_dict, strict=False)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        wrong = next((x for x in lines if 'size mismatch' in x), lines[-1])
        raise UserError(
            f'Checkpoint "{source}" does not fit the config: {wrong}'
        ) from error
    missing = [name for name in result.missing_keys if not optional(name)]
    if missing:
        raise UserError(
            f'Checkpoint "{source}" lacks {len(missing)} weights of the '
            f'model, such as {missing[0]}; use the config it was trained with.'
        )


def config_diff(before: str, after: str) -> str:
    """Return the lines that differ between two configs, but for RUN_KEYS."""
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), lineterm='', n=0
    )
    return '\n'.join(
        line
        for line in lines
        if line[:1] in '+-'
        and line[:3] not in ('+++', '---')
        and not line[1:].startswith(RUN_KEYS)
    )
