"""A config that came as data names registered types alone."""

import copy

import pytest
from small_run import CONFIG

from fx_mm.apis import expand_config, load_config
from fx_mm.config import PlainConfig, config_of_data
from fx_mm.models import build_model
from fx_mm.models.backbones.export import model_cfg_of
from fx_mm.models.loading import stored_config
from fx_mm.registry import is_registered
from fx_mm.utils.errors import UserError


@pytest.fixture(scope='module')
def values():
    return expand_config(load_config(str(CONFIG))).to_dict()


def test_none():
    with pytest.raises(UserError, match='^x does not hold the config'):
        config_of_data({}, 'x')


def test_what_a_run_wrote_passes(values):
    assert config_of_data(values, 'x').to_dict() == values


@pytest.mark.parametrize(
    'name',
    ['os.system', 'system', 'mmengine.load', 'mmengine.fileio.load', ''],
)
def test_a_type_that_would_be_imported(values, name, tmp_path):
    planted = tmp_path / 'planted'
    values = copy.deepcopy(values)
    values['model']['student']['backbone'] = dict(
        type=name, command=f'touch {planted}'
    )
    with pytest.raises(UserError, match=f'the type "{name}"'):
        config_of_data(values, 'x')
    text = PlainConfig(values).pretty_text
    with pytest.raises(UserError, match=f'"x.pth" has a config with .*{name}'):
        build_model(stored_config(dict(meta=dict(cfg=text)), 'x.pth'))
    with pytest.raises(UserError, match=f'"x.pth" has a config with .*{name}'):
        model_cfg_of(dict(meta=dict(cfg=text)), 'x.pth')
    assert not planted.exists()


def test_registered():
    for name in ('BN', 'MeanTeacher', 'fx_mm.FoundationX', 'mmdet.DINO'):
        assert is_registered(name), name
    for name in ('mmdet.no', 'no.DINO', 'torch.nn.ReLU', '.DINO', 'DINO.'):
        assert not is_registered(name), name
