"""A user's mistake in a part of a config, and a fault of our own."""

import pytest

from fx_mm.registry import METRICS, MODELS
from fx_mm.utils.build_errors import build_part
from fx_mm.utils.errors import UserError


@pytest.mark.parametrize(
    'registry, cfg, message',
    [
        (METRICS, dict(type='LokMetric'), 'LokMetric cannot be built: KeyEr'),
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
