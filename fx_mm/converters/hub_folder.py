"""A published model as a folder: weights, config and card, no pickle.

The config is JSON: what reads it gets values and runs none of them.
"""

import json
import os.path as osp
import re
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

from fx_mm.config import PlainConfig, config_of_data
from fx_mm.converters.files import to_bytes, write_checkpoint
from fx_mm.models.loading import stored_config
from fx_mm.utils.errors import UserError
from fx_mm.utils.weight_files import SAFETENSORS
from fx_mm.version import __version__

WEIGHTS = 'model.safetensors'
CONFIG = 'config.json'
CARD = 'README.md'
FORMAT_VERSION = 1
ON_DISK = ('file', 'sqlite')
_ADDRESS = re.compile(r'(?P<scheme>\w+)://(?P<login>[^/@]*@)?')


def shown_config(published: dict[str, Any], source: str) -> PlainConfig:
    """Return the config of a published checkpoint, without private folders.

    Args:
        published (dict): Result of :func:`.publish_checkpoint`.
        source (str): Its path, for messages.

    Returns:
        PlainConfig: Of absolute paths the last part alone is left.

    Raises:
        UserError: If the checkpoint holds none.
    """
    values = stored_config(published, source).to_dict()
    return PlainConfig(without_folders(values))


def write_folder(
    published: dict[str, Any],
    config: PlainConfig,
    card: str,
    folder: str | Path,
) -> None:
    """Write a published model into a folder.

    Args:
        published (dict): Result of :func:`.publish_checkpoint`.
        config (PlainConfig): Result of :func:`shown_config`.
        card (str): Result of :func:`.model_card`.
        folder (str | Path): A new one, or one without these files.

    Raises:
        UserError: If there is such a file, the config has what JSON cannot
            hold, or a file cannot be written.
    """
    # the config is one file, not two that could differ
    meta = {k: v for k, v in published['meta'].items() if k != 'cfg'}
    weights = to_bytes(dict(published, meta=meta), SAFETENSORS)
    contents = {
        WEIGHTS: weights,
        CONFIG: _to_json(config.to_dict()).encode(),
        CARD: card.encode(),
    }
    for name in contents:
        if Path(folder, name).exists():
            raise UserError(
                f'{Path(folder, name)} exists already; give another folder.'
            )
    for name, content in contents.items():
        write_checkpoint(content, Path(folder, name))


def read_folder(folder: str | Path, source: str) -> tuple[PlainConfig, Path]:
    """Read the config of a published model, and find its weights.

    Args:
        folder (str | Path): What :func:`write_folder` wrote.
        source (str): What the user gave, for messages.

    Returns:
        tuple: The config, and the file of the weights.

    Raises:
        UserError: If a file is missing, or the config is no JSON of this
            format, or names types that nobody registered.
    """
    for name in (CONFIG, WEIGHTS):
        if not Path(folder, name).is_file():
            raise UserError(
                f'"{source}" has no {name}; it is no model that '
                'tools/model_converters/publish.py --to wrote, or was not '
                'copied whole.'
            )
    try:
        content = json.loads(Path(folder, CONFIG).read_text(encoding='utf-8'))
        version, values = content['fx_mm_format'], content['config']
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f'{CONFIG} of "{source}" is not a config of fx_mm '
            f'({type(error).__name__}: {error}); publish the model again.'
        ) from error
    if version != FORMAT_VERSION:
        raise UserError(
            f'{CONFIG} of "{source}" has the format {version!r}, this fx_mm '
            f'({__version__}) reads {FORMAT_VERSION}; use the version that '
            f'wrote it ({content.get("fx_mm_version")}), or publish the '
            'model again.'
        )
    if not isinstance(values, dict):
        values = {}
    config = config_of_data(values, f'{CONFIG} of "{source}"')
    return config, Path(folder, WEIGHTS)


def _to_json(values: dict[Any, Any]) -> str:
    content = dict(
        fx_mm_format=FORMAT_VERSION, fx_mm_version=__version__, config=values
    )
    try:
        text = json.dumps(content, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UserError(
            f'The config cannot be written as JSON ({error}); change what '
            'is no text, number, list or dict, and train again.'
        ) from error
    if json.loads(text) != _as_lists(content):
        raise UserError(
            'The config has keys that are no text, which JSON would turn '
            'into text; change them, and train again.'
        )
    return text + '\n'


def _as_lists(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _as_lists(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_as_lists(each) for each in value]
    return value


def without_folders(value: Any) -> Any:
    """Return a config's values with the names alone of private places."""
    if isinstance(value, Mapping):
        return {key: without_folders(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(without_folders(each) for each in value)
    return _without_folder(value) if isinstance(value, str) else value


def _without_folder(text: str) -> str:
    """Keep the name of what lies on somebody's disk or behind a password."""
    if PureWindowsPath(text).drive:
        return PureWindowsPath(text).name
    address = _ADDRESS.match(text)
    if address and (address['login'] or address['scheme'] in ON_DISK):
        return osp.basename(osp.normpath(text))
    if osp.isabs(osp.expanduser(text)):
        return osp.basename(osp.normpath(text))
    return text
