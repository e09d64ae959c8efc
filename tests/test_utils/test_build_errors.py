"""A user's mistake in a part of a config, and a fault of our own."""

import pytest

from fx_mm.registry import HOOKS, LOOPS, METRICS, MODELS
from fx_mm.utils.build_errors import build_part
from fx_mm.utils.errors import UserError


@pytest.mark.parametrize(
    'registry, cfg, message',
    [
        (METRICS, dict(type='LokMetric'), 'did you mean "LocMetric"'),
        (METRICS, dict(type='Nothing'), '"Nothing": the registry of the metr'),
        (HOOKS, dict(type='LockReleaseHook', lok=1), '"lok" .* none'),
        (HOOKS, dict(type='PassLogHook', intervall=1), '"interval"'),
        (
            LOOPS,
            dict(type='CyclicTrainLoop', max_cycle=3),
            'key "max_cycle" in the config of CyclicTrainLoop; did you mean '
            '"max_cycles"',
        ),
        (
            LOOPS,
            dict(type='CyclicTrainLoop', runner=None, dataloader=None),
            'config of CyclicTrainLoop has no "max_cycles"; add it',
        ),
        (METRICS, dict(type='SegMetric', clas=1), 'key "clas" in the metric'),
        # our class hands its keywords on to a base of another package
        (
            METRICS,
            dict(type='LocMetric', max_box=1),
            'did you mean "max_boxes"',
        ),
        (MODELS, dict(type='mmdet.ResNet', depth=19), 'invalid depth 19'),
    ],
)
def test_a_mistake_is_named(registry, cfg, message):
    with pytest.raises(UserError, match=message):
        build_part(registry, dict(cfg, _scope_='fx_mm'))


@METRICS.register_module()
class Faulty:
    def __init__(self, number):
        dict(number=number)['nothing']


@METRICS.register_module()
class Confused:
    def __init__(self, number):
        def call():
            pass

        call(other=number)


@pytest.mark.parametrize(
    'name, error', [('Faulty', KeyError), ('Confused', TypeError)]
)
def test_a_fault_of_a_constructor_passes(name, error, monkeypatch):
    monkeypatch.setattr('fx_mm.utils.build_errors.OURS', __file__)
    with pytest.raises(error):
        build_part(METRICS, dict(type=name, number=1))


def test_what_a_base_of_another_package_refuses_is_the_configs():
    part = dict(type='FusedSwinTransformer', window_size=None)
    with pytest.raises(UserError, match='of FusedSwinTransformer cannot be'):
        build_part(MODELS, part)
