"""A run that trains an adapter: its checkpoints, and what they give."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from small_run import small_cfg
from two_processes import check_two_equal_one

from fx_mm.apis import FoundationXInferencer, build_runner
from fx_mm.converters.publishing import publish_checkpoint, write_published
from fx_mm.deployment import export_onnx
from fx_mm.deployment.graph import TaskGraph
from fx_mm.evaluation.report.results_file import read_results
from fx_mm.models import FoundationXBackbone, build_model, load_model
from fx_mm.utils.checkpoint import find_checkpoint, load_file, load_source
from fx_mm.utils.errors import UserError

TASK = 'phantom_c/seg'
RUN = {'tasks': [TASK], 'cycle.max_batches': 2, 'val_cfg': None}
ADAPTER = {'model.student.adapter': dict(type='LoRA', rank=2, alpha=4)}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('adapter')


@pytest.fixture(scope='module')
def make(phantom_root, folder, base):
    def call(name, resume=False, **options):
        options = {**RUN, **ADAPTER, 'load_from': base_of(folder), **options}
        options.setdefault('test_cfg', None)
        cfg = small_cfg(phantom_root, folder / name, **options)
        return build_runner(cfg, resume=resume)

    return call


def base_of(folder):
    return str(folder / 'base.pth')


@pytest.fixture(scope='module')
def base(phantom_root, folder):
    """A checkpoint whose teacher predicts, with heads of other tasks."""
    torch.manual_seed(5)
    cfg = small_cfg(phantom_root, folder / 'base')
    model = build_model(cfg)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    torch.save(
        dict(state_dict=model.state_dict(), meta=dict(predict_on='teacher')),
        base_of(folder),
    )
    return model


@pytest.fixture(scope='module')
def trained(base, make):
    runner = make('whole')
    runner.train()
    return runner


@pytest.fixture(scope='module')
def file(trained):
    return find_checkpoint(trained.work_dir)


def images():
    return torch.rand(2, 3, 64, 64, generator=torch.manual_seed(1))


def maps(model):
    with torch.no_grad():
        return model.eval().extract_feat(images())


def close(one, other):
    for a, b in zip(one, other, strict=True):
        assert (a - b).abs().max() <= 2e-6 * a.abs().max()


def test_the_base_is_the_model_that_predicts_and_stays(base, trained):
    for role in (trained.model.student, trained.model.teacher):
        weights = role.state_dict()
        wanted = base.teacher.state_dict()
        for name in role.base_weights:
            assert torch.equal(weights[name], wanted[name]), name
        assert all(x.up.abs().sum() > 0 for x in role.adapter.layers.values())


def test_the_checkpoint_holds_the_adapter_and_the_head(trained, file):
    loaded = load_file(file)
    for name in loaded['state_dict']:
        part = name.partition('.')[2]
        assert part.startswith(('adapter.layers.', 'segmentation.heads.'))
    student = trained.model.student
    base = loaded['meta']['adapter']
    assert set(base['weights']) == set(student.base_weights)
    assert base['base'].endswith('base.pth') and len(base['sha256']) == 64
    size = sum(p.numel() for p in student.parameters())
    saved = sum(v.numel() for v in loaded['state_dict'].values())
    assert saved < 0.1 * size
    state = loaded['optimizer']['state'].values()
    assert sum(x['exp_avg'].numel() for x in state) < saved


def test_all_that_loads_it_answers_with_the_adapted_model(
    base, trained, file, tmp_path
):
    wanted = maps(trained.model)  # the teacher's
    assert not torch.allclose(maps(base)[3], wanted[3], atol=1e-3)
    cfg = trained.cfg
    by_config = load_model(cfg, file)
    assert by_config.student.adapter is None
    close(wanted, maps(by_config))
    close(wanted, FoundationXBackbone(file).eval()(images()))
    close(maps(trained.model), maps(FoundationXInferencer(None, file).model))
    published = publish_checkpoint(load_source(file), file, 'teacher')
    path = str(write_published(published, tmp_path / 'merged.pth'))
    assert not any('adapter' in n for n in published['state_dict'])
    assert 'adapter' not in published['meta']
    close(wanted, maps(load_model(cfg, path)))
    close(wanted, maps(FoundationXInferencer(None, path).model))


def test_a_published_adapter_finds_its_base_beside_it(
    trained, file, folder, tmp_path, monkeypatch
):
    loaded = load_source(file, whole=False)
    alone = publish_checkpoint(loaded, file, 'student', merge=False)
    assert alone['meta']['adapter']['base'] == 'base.pth'
    path = write_published(alone, tmp_path / 'alone.safetensors')
    assert os.path.getsize(path) < 0.2 * os.path.getsize(base_of(folder))
    with pytest.raises(UserError, match='its base "base.pth" .* beside'):
        load_model(trained.cfg, str(path))
    shutil.copy(base_of(folder), tmp_path)
    with trained.model.using('student'):
        wanted = maps(trained.model)
    close(wanted, maps(load_model(trained.cfg, str(path))))


def test_another_base_is_refused(trained, file, folder, tmp_path):
    path = shutil.copy(file, tmp_path)
    loaded = torch.load(base_of(folder), weights_only=True)
    name = next(n for n in loaded['state_dict'] if n.startswith('teacher.'))
    loaded['state_dict'][name].view(-1)[0] += 1e-3
    checkpoint = torch.load(path, weights_only=False)
    checkpoint['meta']['adapter']['base'] = 'gone/base.pth'
    torch.save(checkpoint, path)
    torch.save(loaded, tmp_path / 'base.pth')
    with pytest.raises(UserError, match='but other weights are in'):
        load_model(trained.cfg, path)


def test_without_its_meta_it_is_refused(trained, file, tmp_path):
    weights = load_file(file)['state_dict']
    torch.save(dict(state_dict=weights), tmp_path / 'bare.pth')
    with pytest.raises(UserError, match='does not say what its base is'):
        load_model(trained.cfg, str(tmp_path / 'bare.pth'))


def test_resumed_to_the_bit(trained, file, make):
    first = make('stopped', **{'train_cfg.max_cycles': 1})
    first.train()
    second = make('stopped', resume=True)
    assert second.resumed
    second.train()
    wanted = load_file(file)
    found = load_file(find_checkpoint(second.work_dir))
    assert found['state_dict'].keys() == wanted['state_dict'].keys()
    for name, value in wanted['state_dict'].items():
        assert torch.equal(value, found['state_dict'][name]), name
    assert found['meta']['adapter'] == wanted['meta']['adapter']
    whole, again = (r.model.state_dict() for r in (trained, second))
    assert all(
        torch.equal(value, again[name]) for name, value in whole.items()
    )


def test_lock_passes_leave_the_adapter(make):
    runner = make('locked', **{'cycle.lock': 'heads'})
    runner.train()
    for layer in runner.model.student.adapter.layers.values():
        assert not layer.up.any()


@pytest.mark.slow
def test_a_test_gives_what_the_training_closed_with(make):
    """On the adapted weights, for student and teacher."""
    both = dict(type='MultiTaskTestLoop', predict_on=['teacher', 'student'])
    runner = make('tested', report='test', test_cfg=both)
    runner.train()
    file = Path(runner.work_dir, 'results.json')
    before = read_results(file)['metrics']
    path = find_checkpoint(runner.work_dir)
    cfg = small_cfg(
        Path(runner.cfg.phantom.root),
        Path(runner.work_dir).parent / 'again',
        **{**RUN, **ADAPTER, 'test_cfg': both},
    )
    test = build_runner(cfg, train=False, checkpoint=path)
    test.test()
    after = read_results(Path(cfg.work_dir, 'results.json'))['metrics']
    assert test.model.student.adapter is None
    assert before.keys() == after.keys()
    for role, tasks in before.items():
        # a pixel at the threshold may change sides
        again = after[role][TASK]['Dice']
        assert tasks[TASK]['Dice'] == pytest.approx(again, abs=1e-3)
        with runner.model.using(role), test.model.using(role):
            close(maps(runner.model), maps(test.model))
    assert before['teacher'] != before['student']


def test_a_model_without_adapter_starts_merged(trained, file, make):
    runner = make(
        'full',
        **{'model.student.adapter': None, 'load_from': file},
    )
    runner.load_or_resume()
    close(maps(trained.model), maps(runner.model))
    with pytest.raises(UserError, match='holds an adapter, .* merge it'):
        make('onto', load_from=file).load_or_resume()


def test_a_run_needs_a_base(make, base, folder, tmp_path):
    with pytest.raises(UserError, match='load_from is not set'):
        make('nothing', load_from=None).train()
    loaded = torch.load(base_of(folder), weights_only=True)
    path = tmp_path / 'labels.pth'
    kept = {k: v for k, v in loaded['state_dict'].items() if 'segm' not in k}
    torch.save(dict(state_dict=kept, meta=loaded['meta']), path)
    with pytest.raises(UserError, match='such as segmentation.decoder'):
        make('labels', load_from=str(path)).load_or_resume()
    options = {'model.student.adapter.train': ['segmentation/decoder']}
    make('learnt', load_from=str(path), **options).load_or_resume()


def test_a_run_goes_on_as_it_began(trained, file, make):
    shutil.copytree(trained.work_dir, Path(trained.work_dir).parent / 'other')
    with pytest.raises(UserError, match='has an adapter, unlike the config'):
        make(
            'other', resume=True, **{'model.student.adapter': None}
        ).load_or_resume()
    options = {'model.student.adapter.train': ['segmentation']}
    with pytest.raises(UserError, match='did not train segmentation.decoder'):
        make('other', resume=True, **options).load_or_resume()


@pytest.mark.slow
def test_tasks_of_all_kinds_share_an_adapter(make):
    """Through lock and release passes, stopped and resumed in between."""
    options = {
        'tasks': ['phantom_a/cls', 'phantom_b/loc', TASK],
        'cycle.lock': 'paper',
    }
    whole = make('kinds', **options)
    whole.train()
    file = find_checkpoint(whole.work_dir)
    make('kinds_2', **options, **{'train_cfg.max_cycles': 1}).train()
    resumed = make('kinds_2', resume=True, **options)
    resumed.train()
    wanted = load_file(file)['state_dict']
    found = load_file(find_checkpoint(resumed.work_dir))['state_dict']
    assert all(torch.equal(found[name], x) for name, x in wanted.items())
    loaded = load_model(whole.cfg, file)
    close(maps(whole.model), maps(loaded))
    ours = whole.model.teacher.state_dict()
    adapted = {
        key.replace('/', '.') for key in whole.model.student.adapter.layers
    }
    for name, value in loaded.teacher.state_dict().items():
        layer = name.removeprefix('backbone.').removesuffix('.weight')
        assert torch.equal(ours[name], value) != (layer in adapted), name


@pytest.mark.slow
def test_onnx_gives_what_the_adapted_model_does(trained, file, tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime')
    path = tmp_path / 'adapted.onnx'
    export_onnx(None, file, path, dtype='float32')
    pixels = 255 * torch.rand(2, 1, 64, 64, generator=torch.manual_seed(2))
    session = onnxruntime.InferenceSession(path)
    (found,) = session.run(None, {'images': pixels.numpy()})
    model = trained.model.eval()
    graph = TaskGraph(
        model.teacher, model.data_preprocessor, list(trained.tasks), (64, 64)
    )
    with torch.no_grad():
        (wanted,) = graph.eval()(pixels)
    assert abs(found - wanted.numpy()).max() < 1e-5


@pytest.mark.slow
def test_two_processes_train_what_one_does(make, folder, tmp_path):
    options = {
        'optim_wrapper.amp_dtype': None,
        'optim_wrapper.optimizer.type': 'SGD',
        'optim_wrapper.optimizer.fused': False,
        'loader.num_workers': 0,
    }
    one = make('one', **options)
    cfg = small_cfg(
        Path(one.cfg.phantom.root),
        tmp_path / 'two',
        **{**RUN, **ADAPTER, **options, 'load_from': base_of(folder)},
        test_cfg=None,
        launcher='pytorch',
    )
    cfg.task_defaults.seg.batch_size = 2
    one.train()
    check_two_equal_one(cfg, one, tmp_path)
