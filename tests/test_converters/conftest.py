"""Small configs, and files of other projects for them."""

import pytest
import torch
from made_up_weights import ARK, CONFIGS, SMALL_BOXES, SMALL_SWIN
from mmengine.registry import DefaultScope

from fx_mm.apis import load_config
from fx_mm.converters.foreign_checkpoint import read_foreign
from fx_mm.converters.importing import import_checkpoint


@pytest.fixture(autouse=True)
def _leave_scope():
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture
def config():
    """Read a shipped config with a tiny Swin, and more options."""

    def read(name=ARK, options=None):
        small = dict(SMALL_SWIN)
        if not name.startswith('ark'):
            small.update(SMALL_BOXES)
        return load_config(str(CONFIGS / name), {**small, **(options or {})})

    return read


@pytest.fixture
def bring(tmp_path, config):
    """Save a file, read it as a source and import it."""

    def run(content, name=ARK, options=None, **kwargs):
        path = tmp_path / 'source.pth'
        torch.save(content, path)
        source = read_foreign(str(path))
        return import_checkpoint(source, config(name, options), **kwargs)

    return run
