"""What the entry of a task in a config may say."""

import copy
from collections.abc import Mapping
from typing import Any

from fx_mm.utils.checks import (
    check_choice,
    check_inside,
    check_keys,
    check_number,
    check_per_class,
)
from fx_mm.utils.errors import UserError

TASK_KEYS = (
    'classes',
    'labels',
    'reader',
    'splits',
    'class_groups',
    'batch_size',
    'img_size',
    'resize_size',
    'flip_prob',
    'tta',
    'loss_weight',
    'pos_weight',
    'focal',
    'box_free_share',
    'train_pipeline',
    'test_pipeline',
    'only',
    'few_shot',
    'metric',
)
KIND_OF_KEY = dict(
    labels='cls',
    pos_weight='cls',
    focal='cls',
    box_free_share='loc',
    class_groups='seg',
)
NEEDED = ('classes', 'reader', 'splits', 'img_size', 'batch_size')
LABELS = ('multi-label', 'multi-class')
CROPS = ('center_crop', 'ten_crop')
TTA = dict(cls=('flip', *CROPS), loc=('flip',), seg=('flip',))
"""Test-time augmentations, see :class:`fx_mm.models.multi_view.MultiView`."""
SIZES = ('img_size', 'resize_size')


def merge_entry(
    where: str, kind: str, entry: Mapping, defaults: Mapping
) -> dict[str, Any]:
    """Put a task's entry over the defaults of its kind, and check it.

    Args:
        where (str): The entry's place in the config, for messages.
        kind (str): ``cls``, ``loc`` or ``seg``.
        entry (dict): What the dataset says of the task.
        defaults (dict): What the task's kind has by default.

    Returns:
        dict: All that is known of the task.

    Raises:
        UserError: If a key is unknown or missing, or a value makes no sense.
    """
    check_keys(entry, TASK_KEYS, where)
    for key, owner in KIND_OF_KEY.items():
        if key in entry and owner != kind:
            raise UserError(f'{where}.{key} is for {owner} tasks; remove it.')
    config: dict[str, Any] = dict(labels='multi-label')
    config.update(copy.deepcopy(dict(defaults)))
    config.update(copy.deepcopy(dict(entry)))
    for key in NEEDED:
        if not config.get(key):
            raise UserError(
                f'{where} has no "{key}"; add it there or to '
                f'task_defaults.{kind}.'
            )
    _check_classes(where, kind, config)
    _check_views(where, kind, config)
    if config.get('flip_prob') is not None:
        check_number(f'{where}.flip_prob', config['flip_prob'], 0, 1)
        # mmdet.RandomFlip takes no whole number
        config['flip_prob'] = float(config['flip_prob'])
        # a default of the kind may stay without use
        if 'flip_prob' in entry:
            _check_flip(where, config)
    _check_focal(where, config)
    _check_few_shot(where, config.get('few_shot'))
    for split, path in config['splits'].items():
        check_inside(f'{where}.splits.{split}', path, 'data_root')
    return config


def _check_classes(where: str, kind: str, config: dict) -> None:
    """Refuse classes, labels and weights that do not go together."""
    classes, labels = config['classes'], config['labels']
    if isinstance(classes, str) or len(set(classes)) != len(classes):
        raise UserError(
            f'{where}.classes must be a list of distinct names, '
            f'not {classes!r}.'
        )
    if kind == 'cls' and labels not in LABELS:
        raise UserError(
            f'{where}.labels is "{labels}"; '
            f'it must be one of: {", ".join(LABELS)}.'
        )
    if labels == 'multi-class' and len(classes) < 2:
        raise UserError(
            f'{where} has one class and exclusive labels, which leaves '
            'nothing to choose; write labels="multi-label".'
        )
    check_per_class(f'{where}.pos_weight', config.get('pos_weight'), classes)
    for group, members in (config.get('class_groups') or {}).items():
        check_keys(
            dict.fromkeys(members), classes, f'{where}.class_groups.{group}'
        )


def _check_views(where: str, kind: str, config: dict) -> None:
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
    check_choice(f'{where}.tta', tta, (None, *TTA[kind]))
    larger = (config.get('resize_size') or 0) > config['img_size']
    if tta in CROPS and not larger:
        raise UserError(
            f'{where}.tta is "{tta}", which cuts images of img_size '
            f'({config["img_size"]}) out of larger ones; give a larger '
            'resize_size, and resize to it in the test_pipeline.'
        )


def _check_flip(where: str, config: dict) -> None:
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
    """Say whether some transform has the value ``'flip_prob'``."""
    if isinstance(steps, dict):
        steps = steps.values()
    elif not isinstance(steps, list | tuple):
        return steps == 'flip_prob'
    return any(map(_asks_to_flip, steps))


def _check_focal(where: str, config: dict) -> None:
    """Refuse a focal loss that makes no sense."""
    focal = config.get('focal')
    if focal is None:
        return
    if not isinstance(focal, dict):
        raise UserError(
            f'{where}.focal is {focal!r}; write dict(gamma=2.0), or '
            'dict(gamma=2.0, alpha=0.25).'
        )
    check_keys(focal, ('gamma', 'alpha'), f'{where}.focal')
    check_number(f'{where}.focal.gamma', focal.get('gamma', 2.0), 0)
    check_per_class(
        f'{where}.focal.alpha', focal.get('alpha'), config['classes'], 1
    )
    if config['labels'] == 'multi-class':
        raise UserError(
            f'{where}.focal is for labels="multi-label"; exclusive classes '
            'take pos_weight, one a class.'
        )
    if config.get('pos_weight') is not None:
        raise UserError(
            f'{where} has both pos_weight and focal; remove one (focal.alpha '
            'is the weight of positives).'
        )


def _check_few_shot(where: str, few_shot) -> None:
    """Refuse a draw of few training images that makes no sense."""
    if few_shot is None:
        return
    where = f'{where}.few_shot'
    if not isinstance(few_shot, dict) or 'n' not in few_shot:
        raise UserError(
            f'{where} is {few_shot!r}; write dict(n=12), or '
            'dict(n=12, seed=1).'
        )
    check_keys(few_shot, ('n', 'seed'), where)
    check_number(f'{where}.n', few_shot['n'], 1, whole=True)
    check_number(f'{where}.seed', few_shot.get('seed', 0), 0, whole=True)
