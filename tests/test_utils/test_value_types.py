from collections.abc import Sequence
from typing import Any

import pytest
from small_run import CONFIG

from fx_mm.apis import expand_config, load_config
from fx_mm.registry import find_part
from fx_mm.utils.errors import UserError
from fx_mm.utils.value_types import check_part_values, check_value, describe


@pytest.mark.parametrize(
    'value, hint',
    [
        (3, int),
        (3, float),
        (None, float | None),
        (['a', 'b'], Sequence[str]),
        ((), Sequence[str]),
        ('a', str | Sequence[str]),
        ([1, 2], tuple[int, int]),
        (dict(a=1), dict[str, int]),
        (object(), Any),
    ],
)
def test_fits(value, hint):
    check_value('x', value, hint)


@pytest.mark.parametrize(
    'value, hint, words',
    [
        (True, int, 'a whole number'),
        (1, bool, 'True or False'),
        (1.5, int, 'a whole number'),
        (float('nan'), float, 'a number'),
        (float('inf'), float | None, 'a number or None'),
        ('ab', Sequence[str], 'a list of texts'),
        ('ab', Sequence[str] | None, 'a list of texts or None'),
        ([1, 'b'], Sequence[int], 'a list of whole numbers'),
        ([1, 2, 3], tuple[int, int], 'a list of whole numbers'),
        (dict(a='b'), dict[str, int], 'a dict'),
        (None, dict, 'a dict'),
    ],
)
def test_does_not_fit(value, hint, words):
    assert describe(hint) == words
    with pytest.raises(UserError, match=f'x is .*; it must be {words}'):
        check_value('x', value, hint)


def test_arguments_of_a_part():
    part = find_part('fx_mm.MeanTeacherHook')
    with pytest.raises(UserError, match="custom_hooks.decay is 'x'; it"):
        check_part_values('custom_hooks', part, dict(decay='x'))
    # what is a part itself is built before
    wrapper = find_part('MultiTaskOptimWrapper')
    check_part_values('w', wrapper, dict(optimizer=dict(type='AdamW')))


@pytest.mark.parametrize(
    'options, message',
    [
        ({'optim_wrapper.clip_grad': True}, 'optim_wrapper.clip_grad is True'),
        (
            {'model.student.localization.num_queries': '300'},
            "model.student.localization.num_queries is '300'; it must be a "
            'whole number',
        ),
        (
            {'datasets.phantom_a.tasks.cls.splits': 3},
            'datasets.phantom_a.tasks.cls.splits is 3; it must be a dict',
        ),
        (
            {'task_defaults.cls.batch_size': 'x'},
            "task_defaults.cls.batch_size is 'x'; it must be a whole number",
        ),
    ],
)
def test_config_values(options, message):
    cfg = load_config(str(CONFIG), options)
    with pytest.raises(UserError, match=message):
        expand_config(cfg)
