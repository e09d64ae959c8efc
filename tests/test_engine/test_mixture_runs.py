"""Runs that train mixtures of experts: their checkpoints, what these give."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from small_run import small_cfg

from fx_mm.apis import FoundationXInferencer, build_runner
from fx_mm.converters.publishing import publish_checkpoint, write_published
from fx_mm.deployment import export_onnx
from fx_mm.deployment.graph import TaskGraph
from fx_mm.models import FoundationXBackbone, build_model, load_model
from fx_mm.models.backbones import build_backbone
from fx_mm.utils.checkpoint import find_checkpoint, load_file, load_source
from fx_mm.utils.errors import UserError

pytestmark = pytest.mark.slow
TASKS = ['phantom_c/cls', 'phantom_c/seg']
EXPERTS = dict(experts=3, rank=2, alpha=4)
LIGHT = dict(
    type='FusedSwinTransformer',
    embed_dims=8,
    depths=(1, 1, 1, 1),
    num_heads=(1, 2, 4, 8),
    window_size=4,
)


@pytest.fixture(scope='module', params=['LoRAMixture', 'GuidedMixture'])
def name(request):
    return request.param


@pytest.fixture(scope='module')
def folder(tmp_path_factory, name):
    return tmp_path_factory.mktemp(name)


@pytest.fixture(scope='module')
def mixture(folder, name):
    if name == 'LoRAMixture':
        return dict(type=name, **EXPERTS)
    guide = build_backbone(LIGHT)
    file = folder / 'light.pth'
    torch.save(dict(state_dict=guide.state_dict()), file)
    pretrained = dict(type='Pretrained', checkpoint=str(file))
    return dict(type=name, guide=dict(LIGHT, init_cfg=pretrained), **EXPERTS)


@pytest.fixture(scope='module')
def base(phantom_root, folder):
    torch.manual_seed(5)
    model = build_model(small_cfg(phantom_root, folder / 'base'))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    path = folder / 'base.pth'
    meta = dict(predict_on='teacher')
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return str(path)


@pytest.fixture(scope='module')
def make(phantom_root, folder, base, mixture):
    def call(name, resume=False, **options):
        options = {
            'tasks': TASKS,
            'cycle.max_batches': 2,
            'cycle.lock': 'plus',
            'val_cfg': None,
            'test_cfg': None,
            'load_from': base,
            'model.student.adapter': mixture,
            **options,
        }
        cfg = small_cfg(phantom_root, folder / name, **options)
        return build_runner(cfg, resume=resume)

    return call


@pytest.fixture(scope='module')
def trained(make):
    runner = make('whole')
    runner.train()
    return runner


@pytest.fixture(scope='module')
def file(trained):
    return find_checkpoint(trained.work_dir)


def answers(model, runner):
    """The maps of two images for each task."""
    images = torch.rand(2, 3, 64, 64, generator=torch.manual_seed(1))
    with torch.no_grad():
        return [
            maps
            for task in runner.tasks
            for maps in model.eval().extract_feat(images, task)
        ]


def test_the_checkpoint_holds_what_learned(trained, file):
    names = load_file(file)['state_dict']
    own = ('adapter.', 'classification.head', 'segmentation.heads.')
    assert all(name.partition('.')[2].startswith(own) for name in names)
    ups = [v for n, v in names.items() if n.endswith('expert_up')]
    assert ups and all(value.any() for value in ups)
    gates = [
        value
        for name, value in names.items()
        if name.endswith(('gate_task', 'gate.mix.weight'))
    ]
    assert gates and all(value.any() for value in gates)


def test_usage_is_in_the_log(trained):
    scalars = Path(trained.log_dir, 'vis_data', 'scalars.json').read_text()
    for task in TASKS:
        assert f'"{task}/expert_2"' in scalars


def test_all_that_loads_it_answers_so(trained, file, folder, tmp_path):
    wanted = answers(trained.model, trained)
    assert not torch.equal(wanted[3], wanted[7])  # by task
    loaded = load_model(trained.cfg, file)
    assert all(map(torch.equal, wanted, answers(loaded, trained)))
    model = FoundationXInferencer(None, file).model
    assert all(map(torch.equal, wanted, answers(model, trained)))
    whole = publish_checkpoint(load_source(file), file, 'teacher')
    path = str(write_published(whole, tmp_path / 'whole.pth'))
    model = FoundationXInferencer(None, path).model
    assert all(map(torch.equal, wanted, answers(model, trained)))
    loaded = load_source(file, whole=False)
    alone = publish_checkpoint(loaded, file, 'teacher', merge=False)
    path = write_published(alone, tmp_path / 'alone.pth')
    assert os.path.getsize(path) < 0.3 * os.path.getsize(folder / 'base.pth')
    shutil.copy(folder / 'base.pth', tmp_path)
    loaded = load_model(trained.cfg, str(path))
    assert all(map(torch.equal, wanted, answers(loaded, trained)))


def test_it_does_not_become_one_backbone(trained, file, make):
    with pytest.raises(UserError, match='cannot be merged into one backbone'):
        FoundationXBackbone(file)
    full = {'model.student.adapter': None, 'load_from': file}
    with pytest.raises(UserError, match='cannot be merged into one backbone'):
        make('full', **full).load_or_resume()


def test_resumed_to_the_bit(trained, file, make):
    make('cut', **{'train_cfg.max_cycles': 1}).train()
    second = make('cut', resume=True)
    second.train()
    wanted = load_file(file)['state_dict']
    found = load_file(find_checkpoint(second.work_dir))['state_dict']
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert torch.equal(value, found[name]), name


def test_lock_passes_leave_the_experts(make):
    runner = make('locked', **{'cycle.lock': 'heads'})
    runner.train()
    for layer in runner.model.student.adapter.layers.values():
        assert not layer.expert_up.any()


def test_onnx_gives_what_the_model_does(trained, file, tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime')
    path = tmp_path / 'mixture.onnx'
    export_onnx(None, file, path, dtype='float32')
    pixels = 255 * torch.rand(3, 1, 64, 64, generator=torch.manual_seed(2))
    session = onnxruntime.InferenceSession(path)
    found = session.run(None, {'images': pixels.numpy()})
    model = trained.model.eval()
    graph = TaskGraph(
        model.teacher, model.data_preprocessor, list(trained.tasks), (64, 64)
    )
    with torch.no_grad():
        wanted = graph.eval()(pixels)
    assert len(found) == len(wanted) == 2
    for ours, theirs in zip(found, wanted):
        assert abs(ours - theirs.numpy()).max() < 1e-5
