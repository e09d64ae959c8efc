"""A user's mistake in a part of a config, and a fault of our own."""

import pytest
from torch import nn

from fx_mm.registry import HOOKS, LOOPS, METRICS, MODELS
from fx_mm.utils.build_errors import build_errors, build_part
from fx_mm.utils.errors import UserError

PYRAMID = dict(type='PyramidDecoder', in_channels=(8, 8, 8, 8))


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
        (
            HOOKS,
            dict(interval=1),
            'hook with the keys interval, _scope_ has',
        ),
        (HOOKS, dict(type=''), 'keys type, _scope_ has .. for its "type"'),
        (HOOKS, dict(type=[1]), r'has \[1\] for its "type"; write the name'),
        # a layer of another package, below a constructor of ours
        (
            MODELS,
            dict(PYRAMID, norm_cfg=dict(type='GN', num_groups=None)),
            'config of PyramidDecoder cannot be built: TypeError: unsupported',
        ),
        (
            MODELS,
            dict(PYRAMID, norm_cfg=dict(type=None)),
            'config of PyramidDecoder cannot be built: TypeError: The key',
        ),
    ],
)
def test_a_mistake_is_named(registry, cfg, message):
    with pytest.raises(UserError, match=message):
        build_part(registry, dict(cfg, _scope_='fx_mm'))


def test_what_is_no_dict_is_refused():
    with pytest.raises(UserError, match="of a hook is 'x'; it must be a dict"):
        build_part(HOOKS, 'x')


def test_a_constructor_that_no_registry_calls():
    with (
        pytest.raises(UserError, match='config cannot be built: TypeError'),
        build_errors(),
    ):
        nn.Linear(0.5, 1)


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
