"""A tiny Ark on two phantom twins with labels, sex and age."""

import warnings
from types import SimpleNamespace

import pytest
import torch

from fx_mm.apis import load_config
from fx_mm.models import build_model
from fx_mm.phantom import write_raw
from fx_mm.preparation import prepare
from fx_mm.tasks import TaskTable

WARNING = 'called a synchronizing CUDA operation (Triggered internally)'
CONFIG = 'configs/ark/ark6_swin-b_200c.py'
TINY = {
    'model.student.backbone.embed_dims': 16,
    'model.student.backbone.depths': (1, 1, 1, 1),
    'model.student.backbone.num_heads': (1, 2, 4, 8),
    'model.student.backbone.init_cfg': None,
    'model.student.classification.projector_dims': 24,
    'task_defaults.cls.img_size': 32,
    'task_defaults.cls.resize_size': 40,
    'loader.num_workers': 0,
    'tasks': ['chexpert/cls', 'shenzhen/cls'],
}


@pytest.fixture(scope='session')
def ark(tmp_path_factory, request):
    """Return config, options, data root, checkpoint and the model in it."""
    root = tmp_path_factory.mktemp('ark')
    sizes = dict(chexpert=50, shenzhen=120, siim_acr=40)
    for name, images in sizes.items():
        write_raw(name, root, images, 48)
        prepare(name, data_root=str(root), workers=1, seed=1)
    config = str(request.config.rootpath / CONFIG)
    cfg = load_config(config, TINY, str(root))
    torch.manual_seed(0)
    model = build_model(cfg)
    model.init_weights()
    with torch.no_grad():
        for weight in model.teacher.parameters():
            weight += 0.02
    checkpoint = str(root / 'ark.pth')
    tasks = [task.meta for task in TaskTable.from_cfg(cfg)]
    torch.save(
        dict(state_dict=model.state_dict(), meta=dict(tasks=tasks)),
        checkpoint,
    )
    return SimpleNamespace(
        config=config,
        tiny=TINY,
        root=str(root),
        checkpoint=checkpoint,
        model=model,
    )


@pytest.fixture
def cfg(ark):
    return load_config(ark.config, TINY, ark.root)


@pytest.fixture
def words(ark):
    """Return the options that make the config tiny, for a command line."""
    pairs = [
        f'{key}={value}'.replace(' ', '').replace("'", '')
        for key, value in TINY.items()
    ]
    return ['--data-root', ark.root, '--cfg-options', *pairs]


@pytest.fixture
def cuda(monkeypatch):
    """Calls of ``torch.cuda`` in their order."""
    calls = []

    def note(name, result=None):
        def call(*args):
            calls.append((name, *args))
            return result

        monkeypatch.setattr(torch.cuda, name, call)

    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    note('synchronize')
    note('reset_peak_memory_stats')
    note('max_memory_allocated', 3 * 2**30)
    note('set_sync_debug_mode')
    return calls


@pytest.fixture
def case(cuda):
    def step():
        cuda.append('step')
        warnings.warn('something else', stacklevel=1)
        for _ in range(2):
            warnings.warn(WARNING, stacklevel=1)

    return lambda: cuda.append('begin'), step
