"""What the entry of a task in a config may say."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from fx_mm.tasks.kinds import CROPS, Kind, all_kinds
from fx_mm.utils.checks import (
    check_choice,
    check_inside,
    check_keys,
    check_number,
)
from fx_mm.utils.errors import UserError
from fx_mm.utils.value_types import check_entry, check_type, check_value

COMMON_KEYS: dict[str, Any] = dict(
    classes=Sequence[str],
    reader=dict,
    splits=dict[str, str | None],
    batch_size=int,
    img_size=int,
    resize_size=int | None,
    flip_prob=float | None,
    tta=str | None,
    loss_weight=float,
    train_pipeline=Sequence[dict] | None,
    test_pipeline=Sequence[dict] | None,
    img_ids=Sequence[str] | None,
    few_shot=dict | None,
    rehearsal=str | None,
    pseudo=str | None,
    metric=dict | None,
)
"""Keys of every kind and their types; each kind adds its own, see
``TaskKind.keys``."""
NEEDED = ('classes', 'splits', 'img_size', 'batch_size')
SIZES = ('img_size', 'resize_size')
SPLITS = ('train', 'val', 'test')
CACHE_FACTOR = 1.15
"""Reduced images are so much larger than a task's own size."""


def entry_keys(kind: Kind) -> dict[str, Any]:
    """Return the keys that a task's entry of a kind may have, with types."""
    return {**COMMON_KEYS, **kind.keys}


def check_entry_keys(where: str, kind: Kind, entry: Mapping[str, Any]) -> None:
    """Refuse an unknown key, or one of another kind, in a task's entry.

    Args:
        where (str): The entry's place in the config, for the message.
        kind (type[TaskKind]): The task's kind.
        entry (dict): What the dataset says of the task.

    Raises:
        UserError: Names the key and the likely one.
    """
    known = entry_keys(kind)
    check_value(where, entry, dict)
    for key in entry:
        owners = [k.name for k in all_kinds() if key in k.keys]
        if key not in known and owners:
            raise UserError(
                f'{where}.{key} is for {" and ".join(owners)} tasks; '
                'remove it.'
            )
    if isinstance(entry.get('splits'), Mapping):
        check_keys(entry['splits'], SPLITS, f'{where}.splits')
    check_entry(where, entry, known)


def merge_entry(
    where: str,
    kind: Kind,
    entry: Mapping[str, Any],
    defaults: Mapping[str, Any],
) -> dict[str, Any]:
    """Put a task's entry over the defaults of its kind, and check it.

    Args:
        where (str): The entry's place in the config, for messages.
        kind (type[TaskKind]): The task's kind.
        entry (dict): What the dataset says of the task.
        defaults (dict): The config's ``task_defaults`` of the kind.

    Returns:
        dict: All that is known of the task.

    Raises:
        UserError: If a key is unknown or missing, or a value makes no sense.
    """
    check_entry_keys(where, kind, entry)
    config: dict[str, Any] = dict(reader=dict(type=kind.reader))
    for part in (kind.defaults, defaults, entry):
        config.update(copy.deepcopy(dict(part)))
    for key in NEEDED:
        if not config.get(key):
            raise UserError(
                f'{where} has no "{key}"; add it there or to '
                f'task_defaults.{kind.name}.'
            )
    classes = config['classes']
    if isinstance(classes, str) or len(set(classes)) != len(classes):
        raise UserError(
            f'{where}.classes must be a list of distinct names, '
            f'not {classes!r}.'
        )
    check_type(f'{where}.reader', config['reader'])
    kind.check_entry(where, config)
    _check_views(where, kind, config)
    if config.get('flip_prob') is not None:
        check_number(f'{where}.flip_prob', config['flip_prob'], 0, 1)
        # mmdet.RandomFlip takes no whole number
        config['flip_prob'] = float(config['flip_prob'])
        # a default of the kind may stay without use
        if 'flip_prob' in entry:
            _check_flip(where, config)
    _check_few_shot(where, config.get('few_shot'))
    for split, path in config['splits'].items():
        check_inside(f'{where}.splits.{split}', path, 'data_root')
    return config


def check_cache(cache: Any) -> None:
    """Refuse a ``cache`` of a config that makes no sense.

    Raises:
        UserError: Says what to write.
    """
    if cache is None:
        return
    if not isinstance(cache, dict) or not cache.get('dir'):
        raise UserError(
            f'cache is {cache!r}, which names no "dir"; write the folder of '
            'the reduced images, such as cache = dict(dir="data/cache").'
        )
    check_keys(cache, ('dir', 'factor'), 'cache')
    check_number('cache.factor', cache.get('factor', CACHE_FACTOR), 1)


def _check_views(where: str, kind: Kind, config: dict[str, Any]) -> None:
    """Refuse sizes and views of an image that make no sense."""
    for key in (*SIZES, 'batch_size'):
        if key == 'resize_size' and config.get(key) is None:
            continue
        if not isinstance(config[key], int) or config[key] < 1:
            raise UserError(
                f'{where}.{key} is {config[key]!r}; it must be a '
                'whole number above 0.'
            )
    tta = config.get('tta')
    check_choice(f'{where}.tta', tta, (None, *kind.tta))
    larger = (config.get('resize_size') or 0) > config['img_size']
    if tta in CROPS and not larger:
        raise UserError(
            f'{where}.tta is "{tta}", which cuts images of img_size '
            f'({config["img_size"]}) out of larger ones; give a larger '
            'resize_size, and resize to it in the test_pipeline.'
        )


def _check_flip(where: str, config: dict[str, Any]) -> None:
    """Refuse a share of flips that nothing reads."""
    steps = config.get('train_pipeline')
    if steps and not _asks_to_flip(steps):
        raise UserError(
            f'{where}.flip_prob is {config["flip_prob"]:g}, but no '
            'transform of its train_pipeline has the value "flip_prob"; add '
            'dict(type="mmdet.RandomFlip", prob="flip_prob"), or set '
            'flip_prob=None.'
        )


def _asks_to_flip(steps: Any) -> bool:
    """Return whether some transform has the value ``'flip_prob'``."""
    if isinstance(steps, dict):
        steps = steps.values()
    elif not isinstance(steps, list | tuple):
        return steps == 'flip_prob'
    return any(map(_asks_to_flip, steps))


def _check_few_shot(where: str, few_shot: Any) -> None:
    """Refuse a draw of few training images that makes no sense."""
    if few_shot is None:
        return
    where = f'{where}.few_shot'
    check_keys(few_shot, ('n', 'share', 'seed'), where)
    if ('n' in few_shot) == ('share' in few_shot):
        raise UserError(
            f'{where} is {few_shot!r}; write dict(n=12) for so many images, '
            'or dict(share=0.2) for a part of the patients, each also with '
            'a seed.'
        )
    if 'n' in few_shot:
        check_number(f'{where}.n', few_shot['n'], 1, whole=True)
    else:
        check_number(f'{where}.share', few_shot['share'], 1e-9, 1)
    check_number(f'{where}.seed', few_shot.get('seed', 0), 0, whole=True)
