"""The shipped configs, tiny by ``--cfg-options`` alone."""

import functools
import math
import re
from pathlib import Path

import cv2
import model_helpers
import numpy as np
import pytest
import torch
import yaml
from dino_options import dino_options
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope

from fx_mm.apis import expand_config, load_config
from fx_mm.datasets.samplers.pass_schedule import plan_cycle
from fx_mm.models import with_tasks
from fx_mm.registry import HOOKS, MODELS, PARAM_SCHEDULERS, READERS, TRANSFORMS
from fx_mm.tasks import TaskTable

ROOT = Path(__file__).parent.parent
CONFIGS = ROOT / 'configs'
FOLDERS = ('foundation_x', 'foundation_x_plus', 'ark')
EXPERIMENTS = sorted(
    str(file.relative_to(CONFIGS))
    for folder in FOLDERS
    for file in (CONFIGS / folder).glob('*.py')
)
DATASETS = sorted(
    file
    for file in (CONFIGS / '_base_' / 'datasets').glob('*.py')
    if not file.stem.startswith(('phantom', 'real'))
)
# Reference 2.2: the order of the cycle; 5.2: classes of each task.
CLASSES = {
    'chexpert/cls': 14,
    'nih14/cls': 14,
    'vindr_cxr/cls': 6,
    'shenzhen/cls': 1,
    'mimic_cxr/cls': 14,
    'tbx11k/cls': 1,
    'tbx11k/loc': 1,
    'node21/cls': 1,
    'node21/loc': 1,
    'candid_ptx/cls': 1,
    'candid_ptx/loc': 1,
    'candid_ptx/seg': 1,
    'rsna/cls': 3,
    'rsna/loc': 1,
    'chestx_det/cls': 13,
    'chestx_det/loc': 13,
    'chestx_det/seg': 13,
    'siim_acr/cls': 1,
    'siim_acr/loc': 1,
    'siim_acr/seg': 1,
}
ARK = ('mimic_cxr', 'chexpert', 'nih14', 'rsna', 'vindr_cxr', 'shenzhen')
BACKBONES = {
    'swin': {
        'depths': (1, 1, 1, 1),
        'embed_dims': 16,
        'num_heads': (1, 2, 4, 8),
    },
    'convnext': {'arch': 'atto'},
    'r50': {'depth': 18, 'base_channels': 16},
    'vit': {
        'vit.arch': dict(
            _delete_=True,
            embed_dims=16,
            num_layers=2,
            num_heads=2,
            feedforward_channels=32,
        ),
        'vit.img_size': 64,
    },
}


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('fx_mm'):
        yield


@functools.cache
def shipped(name):
    """Return a config as it is shipped."""
    return load_config(str(CONFIGS / name))


def tiny(name, **further):
    """Return a config at 64 px with one layer of everything."""
    student = 'model.student'
    has_boxes = shipped(name).model.student.localization is not None
    backbone = next(v for key, v in BACKBONES.items() if key in name)
    options = {f'{student}.backbone.{k}': v for k, v in backbone.items()}
    options |= {f'task_defaults.{k}.img_size': 64 for k in ('cls', 'loc')}
    options['task_defaults.seg.img_size'] = 64
    if has_boxes:
        options |= dino_options(f'{student}.localization', 64)
    options |= {key.replace('__', '.'): v for key, v in further.items()}
    return expand_config(load_config(str(CONFIGS / name), options))


def build(cfg):
    """Build the model of an expanded config."""
    return MODELS.build(with_tasks(cfg.model, cfg.task_table))


def test_every_folder_has_experiments():
    assert {Path(name).parts[0] for name in EXPERIMENTS} == set(FOLDERS)
    assert len(DATASETS) == 17


@pytest.mark.parametrize('name', EXPERIMENTS)
def test_config_builds_trains_and_predicts(name):
    cfg = tiny(name)
    table = cfg.task_table
    model = build(cfg)
    tasks = list(table)
    for task in ('rsna/cls', 'chestx_det/loc', 'chestx_det/seg'):
        if task not in table.names:
            continue
        inputs, samples = model_helpers.batch(task, tasks=tasks)
        model.train()
        losses = model(inputs, samples, mode='loss')
        total, _ = model.parse_losses(losses)
        assert math.isfinite(total.item()) and total.item() > 0
        total.backward()
        kind = table[task].kind.name
        head = [
            p
            for part in model.student.param_groups()
            for n, p in model.student.named_parameters()
            if part.name == f'{task}/head' and part.owns(n)
        ]
        assert head and any(
            p.grad is not None and p.grad.abs().sum() > 0 for p in head
        )

        model.eval()
        # Ark tests on crops of a larger image
        size = 80 if table[task].config.get('tta') else 64
        inputs, samples = model_helpers.batch(
            task, tasks=tasks, n=1, size=size
        )
        with torch.no_grad():
            (result,) = model(inputs, samples, mode='predict')
        if kind == 'cls':
            assert result.pred_score.shape == (3,)
            assert result.pred_score.sum() == pytest.approx(1)
        elif kind == 'loc':
            boxes = result.pred_instances
            assert len(boxes) == 20
            assert boxes.labels.max() < 13 and boxes.labels.min() >= 0
        else:
            assert result.pred_sem_seg.data.shape == (13, 128, 192)

    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    for scheduler in cfg.param_scheduler:
        PARAM_SCHEDULERS.build(scheduler, default_args=dict(optimizer=wrapper))
    for hook in cfg.custom_hooks:
        HOOKS.build(hook)


def published_name(backbone, name):
    """Name of a weight in the file that the config points to."""
    if backbone == 'convnext-b':
        return f'backbone.{name}'
    if 'swin' in backbone:
        for ours, theirs in (
            ('patch_embed.projection', 'patch_embed.proj'),
            ('stages', 'layers'),
            ('attn.w_msa', 'attn'),
            ('ffn.layers.0.0', 'mlp.fc1'),
            ('ffn.layers.1', 'mlp.fc2'),
        ):
            name = name.replace(ours, theirs)
    return name


@pytest.mark.parametrize('backbone', ['swin-b', 'convnext-b', 'r50'])
def test_backbones_start_from_pretrained_weights(tmp_path, backbone):
    """A file of the published form lands in student and teacher."""
    file = str(tmp_path / 'weights.pth')
    cfg = tiny(
        f'foundation_x/foundation-x_{backbone}_150c.py',
        model__student__backbone__init_cfg__checkpoint=file,
    )
    model = build(cfg)
    weights = {
        name: torch.randn_like(weight)
        for name, weight in model.student.backbone.named_parameters()
    }
    stored = {published_name(backbone, n): w for n, w in weights.items()}
    key = {'swin-b': 'model', 'convnext-b': 'state_dict'}.get(backbone)
    torch.save({key: stored} if key else stored, file)
    model.init_weights()
    for half in (model.student, model.teacher):
        for name, weight in half.backbone.named_parameters():
            # Microsoft's order of the merged patches differs from mmdet's
            if 'downsample' not in name or backbone != 'swin-b':
                assert torch.equal(weight, weights[name]), name


@pytest.mark.parametrize('name', EXPERIMENTS)
def test_optimizer_groups_are_few_and_whole(name):
    cfg = tiny(name)
    model = build(cfg)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    groups = wrapper.optimizer.param_groups
    # with and without decay, at four depths
    assert len(groups) <= (8 if 'vit' in name else 6)
    count = sum(len(group['params']) for group in groups)
    assert count == sum(1 for _ in model.student.parameters())


def test_ark_rates():
    """Warm-up from 1e-6 in 20 epochs, then timm's cosine from epoch 0."""
    cfg = tiny('ark/ark6_swin-b_200c.py')
    model = build(cfg)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    (scheduler,) = (
        PARAM_SCHEDULERS.build(s, default_args=dict(optimizer=wrapper))
        for s in cfg.param_scheduler
    )
    (group,) = wrapper.param_groups
    assert group['nesterov'] and group['weight_decay'] == 0
    assert scheduler.passes_per_cycle == 6
    rates = [0.3 * scheduler.factor(c) for c in (0, 10, 20, 110, 200)]
    cosine = [0.5 * (1 + math.cos(math.pi * c / 200)) for c in (20, 110)]
    cosine = [1e-5 + (0.3 - 1e-5) * factor for factor in cosine]
    expected = [1e-6, (0.3 + 1e-6) / 2, *cosine, 1e-5]
    assert rates == pytest.approx(expected)


@pytest.mark.parametrize('name', EXPERIMENTS)
def test_tasks_and_passes(name):
    cfg = shipped(name)
    table = TaskTable.from_cfg(cfg)
    found = {task.name: len(task.classes) for task in table}
    passes = plan_cycle(table, cfg.cycle.lock)
    if name.startswith('ark/'):
        assert list(found) == [f'{dataset}/cls' for dataset in ARK]
        assert len(passes) == 6
        return
    assert list(found.items()) == list(CLASSES.items())
    assert len(passes) == (40 if 'plus' in name else 29)
    assert set(table.batch_sizes.values()) == {24}
    visits = cfg.train_cfg.max_cycles * len(found)
    assert visits == (2000 if 'plus' in name else 3000)


@pytest.mark.parametrize('file', DATASETS, ids=lambda file: file.stem)
def test_dataset_file(file):
    """Short, one name, all three splits, readers and options that exist."""
    assert len(file.read_text().splitlines()) <= 40
    cfg = Config.fromfile(file)
    assert list(cfg) == [file.stem]
    shared = file.stem in ('vindr_findings', 'vindr_organs')
    folder = 'vindr_cxr' if shared else file.stem
    assert cfg[file.stem].data_root == f'data/{folder}/'
    defaults = Config.fromfile(CONFIGS / '_base_' / 'task_defaults.py')
    table = TaskTable.from_cfg(
        dict(
            datasets={file.stem: cfg[file.stem].to_dict()},
            task_defaults=defaults.task_defaults.to_dict(),
        )
    )
    for task in table:
        files = {task.ann_file(s) for s in ('train', 'val', 'test')}
        assert len(files) == 3
        READERS.build(task.config['reader'])
        multi_class = task.name in ('rsna/cls', 'covidx/cls')
        assert (task.label_type == 'multi-class') == multi_class
        subset = task.config.get('metric', {}).get('classes', ())
        assert set(subset) <= set(task.classes)
        assert len(subset) in (0, 5)


def test_every_dataset_is_documented():
    """Where it is from, its folders, and the command that prepares it."""
    text = (ROOT / 'docs' / 'datasets.md').read_text()
    for file in DATASETS:
        name = file.stem
        (section,) = re.findall(f'^## {name}\n(.*?)^## ', text, re.M | re.S)
        assert f'prepare.py {name} --check' in section
        root = Config.fromfile(file)[name].data_root
        assert root in section or 'Same folder' in section
        assert f'[`{name}`](#{name})' in text


def test_classes_of_mimic_are_in_the_order_of_its_table():
    table = TaskTable.from_cfg(shipped('ark/ark6_swin-b_200c.py'))
    mimic, chexpert = (table[f'{d}/cls'] for d in ('mimic_cxr', 'chexpert'))
    assert list(mimic.classes) == sorted(chexpert.classes)
    # Ark tests all 14, Foundation X five
    assert mimic.config['metric']['classes'] is None


def test_pipelines_run(tmp_path):
    """Each distinct pipeline of the configs, on an image of odd size."""
    path = str(tmp_path / 'image.png')
    image = np.random.default_rng(0).integers(0, 255, (90, 131), np.uint8)
    cv2.imwrite(path, image)
    mask = str(tmp_path / 'mask.png')
    cv2.imwrite(mask, (image > 128) * np.uint8(255))
    pipelines = {}
    for name in EXPERIMENTS:
        cfg = load_config(str(CONFIGS / name))
        for entry in cfg.task_defaults.values():
            entry.img_size = 64
            if 'resize_size' in entry:
                entry.resize_size = 72
        for task in TaskTable.from_cfg(cfg):
            for which in ('train', 'test'):
                steps = task.pipeline(which)
                key = task.kind.name, which, str(steps)
                pipelines.setdefault(key, (task, steps))
    # cls: crop, no crop, Ark, Ark+; loc and seg: with and without flip; tests,
    # that of Ark apart
    assert len(pipelines) == 12
    for (kind, which, _), (task, steps) in pipelines.items():
        classes = len(task.classes)
        annotation = dict(
            cls=dict(gt_score=np.zeros(classes, np.float32)),
            loc=dict(
                boxes=np.array([[20, 10, 70, 60]], np.float32),
                box_labels=np.array([classes - 1]),
            ),
            seg=dict(mask_paths=dict.fromkeys(task.classes, f'{mask}#0')),
        )
        results = dict(
            task.meta,
            img_path=path,
            img_id='image',
            replaced=None,
            **annotation[kind],
        )
        for step in steps:
            results = TRANSFORMS.build(step)(results)
        crops = which == 'test' and task.config.get('tta') == 'ten_crop'
        side = 72 if crops else 64
        assert results['inputs'].shape == (3, side, side)
        sample = results['data_samples']
        if kind == 'loc':
            assert len(sample.gt_instances) == 1
        if kind == 'seg':
            shape = (90, 131) if which == 'test' else (64, 64)
            assert sample.gt_sem_seg.data.shape == (classes, *shape)


def test_metafiles_and_readmes_name_every_config():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']
    for folder in FOLDERS:
        assert f'configs/{folder}/metafile.yml' in index
        metafile = yaml.safe_load(
            (CONFIGS / folder / 'metafile.yml').read_text()
        )
        collections = {c['Name'] for c in metafile['Collections']}
        named = {}
        for model in metafile['Models']:
            assert model['In Collection'] in collections
            assert (ROOT / model['Config']).is_file()
            named[model['Config']] = model['Name']
        here = [n for n in EXPERIMENTS if n.startswith(f'{folder}/')]
        assert named == {f'configs/{n}': Path(n).stem for n in here}
        readme = (CONFIGS / folder / 'README.md').read_text()
        for experiment in here:
            assert Path(experiment).name in readme
        for collection in metafile['Collections']:
            assert (ROOT / collection['README']).is_file()
