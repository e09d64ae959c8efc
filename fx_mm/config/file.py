"""A config file, read with the options of the command line."""

import os.path as osp
from pathlib import Path
from typing import Any

from mmengine.config import Config

from fx_mm.config.checks import known_keys
from fx_mm.utils.errors import UserError

READING = ('_file2dict', '_is_lazy_import', '_parse_lazy_import')
"""What reads a config's file in mmengine."""


def load_config(
    path: str,
    options: dict[str, Any] | None = None,
    data_root: str | None = None,
) -> Config:
    """Read a config file and merge ``--cfg-options`` into it.

    Args:
        path (str): The config file.
        options (dict, optional): Nested key to value. Defaults to None.
        data_root (str, optional): Folder that takes the place of ``data/``
            in the paths of all datasets. Defaults to None.

    Raises:
        UserError: If the file is missing or cannot be read, or an option
            changes what the config has already used.
    """
    if not osp.isfile(path):
        raise UserError(f'Config "{path}" does not exist.')
    try:
        cfg = Config.fromfile(path)
    except Exception as error:
        # A config is a program: anything can go wrong in it.
        file = _failed_file(error) or path
        if isinstance(error, UnicodeDecodeError) or 'U+FEFF' in str(error):
            raise UserError(
                f'Config "{file}" is not UTF-8 text without a byte order '
                'mark; save it as UTF-8 without BOM.'
            ) from error
        raise UserError(
            f'Config "{file}" cannot be read: {_last_line(error)}'
        ) from error
    for key in options or {}:
        _check_option(cfg, key)
    try:
        cfg.merge_from_dict(options or {})
    except Exception as error:
        raise UserError(
            f'--cfg-options do not fit config "{path}": {_last_line(error)}'
        ) from error
    if not isinstance(cfg.get('work_dir', ''), str | None):
        raise UserError(
            f'work_dir is {cfg.work_dir!r}; it must be the name of a folder '
            '(one with a comma needs quotes: --cfg-options '
            '"work_dir=\'a, b\'").'
        )
    if data_root is not None:
        _move_data(cfg, data_root)
    if not cfg.get('work_dir'):
        name = osp.splitext(osp.basename(path))[0]
        cfg.work_dir = osp.join('work_dirs', name)
    return cfg


def _last_line(error: Exception) -> str:
    lines = str(error).splitlines() or ['without a word']
    return f'{type(error).__name__}: {lines[-1]}'


def _failed_file(error: Exception) -> str | None:
    """Return the config or base that mmengine was reading."""
    file, traceback = None, error.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_code.co_name in READING:
            file = osp.normpath(frame.f_locals['filename'])
        traceback = traceback.tb_next
    return file


def _check_option(cfg: Config, option: str) -> None:
    """Refuse an option that changes what has no effect any more.

    Bases and helper variables were used when the file was read.

    Raises:
        UserError: Says what to change instead.
    """
    key, _, rest = option.partition('.')
    if key not in cfg or key in known_keys():
        return
    if key in (cfg.get('datasets') or {}):
        raise UserError(
            f'--cfg-options {option} has no effect: the experiment has its '
            f'own copy of the dataset; write datasets.{option}.'
        )
    raise UserError(
        f'--cfg-options {option} has no effect: "{key}" is a helper of the '
        'config, used when the file was read; change the keys that it is '
        'used in.'
    )


def _move_data(cfg: Config, root: str) -> None:
    """Put what lies in ``data/`` below another folder.

    Raises:
        UserError: If the folder does not exist.
    """
    root = osp.expanduser(root)
    if not osp.isdir(root):
        raise UserError(
            f'--data-root is "{root}", which is no folder; it takes the '
            'place of data/.'
        )
    datasets = [*cfg.values(), *(cfg.get('datasets') or {}).values()]
    # by identity: a base's dict may be the very one that "datasets" holds
    unique = {id(d): d for d in datasets if isinstance(d, dict)}
    entries = [(d, 'data_root') for d in unique.values()]
    entries += [
        (cfg[key], name)
        for key, name in (('phantom', 'root'), ('cache', 'dir'))
        if cfg.get(key)
    ]
    for entry, key in entries:
        parts = Path(str(entry.get(key) or '')).parts
        if parts[:1] == ('data',):
            entry[key] = osp.join(root, *parts[1:])
