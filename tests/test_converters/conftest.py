"""Small configs, and files of other projects for them."""

import pytest
import torch
from made_up_weights import ARK, CONFIGS, FX, SMALL_BOXES, SMALL_SWIN, TASKS
from mmengine.registry import DefaultScope

from fx_mm.apis import expand_config, load_config
from fx_mm.converters.foreign_checkpoint import read_foreign
from fx_mm.converters.importing import import_checkpoint
from fx_mm.models import build_model
from fx_mm.tasks import TaskTable


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


@pytest.fixture
def trained(config, tmp_path):
    """A checkpoint as training writes it, and its config."""

    def make(options=None, name=FX):
        cfg = config(name, {**TASKS, **(options or {})})
        cfg.work_dir = '/somewhere/private'
        expanded = expand_config(cfg)
        torch.manual_seed(0)
        model = build_model(expanded)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        meta = dict(
            cfg=expanded.pretty_text,
            tasks=[task.meta for task in TaskTable.from_cfg(expanded)],
            epoch=4,
            iter=40,
            seed=0,
            mmengine_version='0.10.7',
            schedule=[['rsna/cls', 'release', 10]],
        )
        path = tmp_path / 'iter_40.pth'
        torch.save(
            dict(
                meta=meta,
                state_dict=model.state_dict(),
                optimizer=dict(state={0: torch.zeros(100)}),
                param_schedulers=[],
                message_hub={},
            ),
            path,
        )
        return str(path), cfg, model.eval()

    return make
