"""ONNX files against the inferencer; needs onnxruntime."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from fx_mm.apis import FoundationXInferencer, load_config
from fx_mm.deployment import export_onnx, onnx_export
from fx_mm.deployment.graph import TaskGraph
from fx_mm.models import build_model
from fx_mm.utils.errors import UserError

onnxruntime = pytest.importorskip('onnxruntime')
ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/phantom/foundation-x_tiny_phantom.py'
TASKS = ['phantom_c/cls', 'phantom_c/seg']
SWIN = dict(
    type='FusedSwinTransformer',
    embed_dims=16,
    depths=(1, 1, 2, 1),
    num_heads=(1, 2, 4, 8),
    window_size=4,
)
RESNET = dict(type='mmdet.ResNet', depth=18, base_channels=16)
ARCH = dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=48)
VITS = [
    dict(type='PlainViT', arch=ARCH, img_size=80, num_registers=2),
    dict(type='RotaryViT', arch=ARCH, img_size=64),
]
MEAN = dict(mean=100.0, std=50.0)


def small_config(backbone=SWIN, one_mean=False):
    cfg = load_config(str(CONFIG))
    cfg.model.student.backbone = backbone
    cfg.merge_from_dict(
        {
            'model.student.localization.neck.out_channels': 32,
            'model.student.localization.decoder.num_layers': 1,
        }
    )
    for kind in ('cls', 'loc', 'seg'):
        cfg.task_defaults[kind].img_size = 64
    if one_mean:
        cfg.model.data_preprocessor.normalize = dict(cls=MEAN, seg=MEAN)
    return cfg


def write_checkpoint(folder, cfg):
    """Random weights, the student's other than the teacher's."""
    torch.manual_seed(0)
    model = build_model(cfg)
    for parameter in model.teacher.parameters():
        parameter.data.add_(0.02 * torch.randn_like(parameter))
    path = folder / 'iter_7.pth'
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return path


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp('weights'), small_config())


@pytest.fixture(scope='module')
def exported(checkpoint, tmp_path_factory):
    """Labels and masks of one Swin, in a folder that is made."""
    out = tmp_path_factory.mktemp('onnx') / 'new' / 'model.onnx'
    cfg = small_config(one_mean=True)
    return out, export_onnx(cfg, checkpoint, out, tasks=TASKS)


def run(path, images):
    session = onnxruntime.InferenceSession(str(path))
    metadata = session.get_modelmeta().custom_metadata_map['fx_mm']
    names = [output.name for output in session.get_outputs()]
    outputs = session.run(None, {'images': images})
    return dict(zip(names, outputs)), json.loads(metadata)


def pixels(count, size=64):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, 1, size, size)).astype(np.uint8)


def compare_with_inferencer(out, cfg, checkpoint, tasks, predict_on, dtype):
    """Images as large as the input: nothing is resized on either way."""
    images = pixels(3)
    outputs, metadata = run(out, images.astype(dtype))
    assert metadata['predict_on'] == predict_on
    assert metadata['input']['shape'] == ['batch', 1, 64, 64]
    assert [task['task'] for task in metadata['tasks']] == tasks
    infer = FoundationXInferencer(
        cfg, checkpoint, predict_on=predict_on, tasks=tasks
    )
    infer.amp_dtype = None
    for index, result in enumerate(infer([image[0] for image in images])):
        for entry in metadata['tasks']:
            task, found = entry['task'], result[entry['task']]
            assert tuple(entry['classes']) == found.classes
            if entry['kind'] == 'cls':
                np.testing.assert_allclose(
                    outputs[task][index], found.scores, atol=1e-4
                )
            elif entry['kind'] == 'seg':
                masks = outputs[task][index] > entry['threshold']
                assert (masks == found.masks).mean() > 0.999
            else:
                boxes, scores, labels = (
                    outputs[f'{task}/{name}'][index]
                    for name in ('boxes', 'scores', 'labels')
                )
                np.testing.assert_allclose(scores, found.scores, atol=1e-4)
                np.testing.assert_allclose(boxes * 64, found.boxes, atol=0.01)
                np.testing.assert_array_equal(labels, found.labels)


@pytest.mark.slow
def test_labels_and_masks(exported, checkpoint):
    out, description = exported
    assert list(out.parent.iterdir()) == [out]
    assert max(description['difference'].values()) < 1e-4
    cfg = small_config(one_mean=True)
    compare_with_inferencer(out, cfg, checkpoint, TASKS, 'teacher', 'uint8')


@pytest.mark.slow
def test_boxes_of_the_student(tmp_path):
    cfg, tasks = small_config(RESNET), ['phantom_c/loc']
    checkpoint = write_checkpoint(tmp_path, cfg)
    out = tmp_path / 'model.onnx'
    options = tasks, 'student', 'float32'
    description = export_onnx(cfg, checkpoint, out, *options)
    assert description['difference'][tasks[0]] < 1e-4
    compare_with_inferencer(out, cfg, checkpoint, *options)


@pytest.mark.slow
def test_all_tasks_in_one_file(checkpoint, tmp_path):
    cfg, out = small_config(), tmp_path / 'model.onnx'
    description = export_onnx(cfg, checkpoint, out)
    assert len(description['difference']) == 6
    options = cfg.tasks, 'teacher', 'uint8'
    compare_with_inferencer(out, cfg, checkpoint, *options)


@pytest.mark.slow
@pytest.mark.parametrize('vit', VITS, ids=['plain', 'rotary'])
def test_a_vision_transformer(vit, tmp_path):
    """With positions that are interpolated, in the first."""
    cfg = small_config(dict(type='PyramidViT', vit=vit))
    checkpoint = write_checkpoint(tmp_path, cfg)
    out = tmp_path / 'model.onnx'
    tasks = [*TASKS, 'phantom_c/loc']
    description = export_onnx(cfg, checkpoint, out, tasks=tasks)
    assert max(description['difference'].values()) < 1e-4
    compare_with_inferencer(out, cfg, checkpoint, tasks, 'teacher', 'uint8')


def test_the_graph_answers_all_tasks_at_once(checkpoint):
    cfg = small_config()
    cfg.task_defaults.cls.update(tta='ten_crop', resize_size=72)
    for step in cfg.task_defaults.cls.test_pipeline:
        if step.type == 'mmdet.Resize':
            step.scale = 'resize_size'
    infer = FoundationXInferencer(small_config(), checkpoint)
    runs = []
    infer.model.teacher.backbone.register_forward_pre_hook(
        lambda module, args: runs.append(args[0].shape)
    )
    graph = TaskGraph(
        infer.model.teacher,
        infer.model.data_preprocessor,
        infer.tasks,
        (64, 64),
    )
    outputs = graph(torch.from_numpy(pixels(2)))
    assert len(runs) == 2  # two normalisations
    assert len(outputs) == len(graph.output_names) == 3 + 2 * 3 + 1
    cropped = TaskGraph(
        infer.model.teacher,
        infer.model.data_preprocessor,
        FoundationXInferencer(cfg, checkpoint).tasks[:1],
        (72, 72),
    )
    large = pixels(2, 72)
    (centre,) = cropped(torch.from_numpy(large))
    (expected,) = cropped(torch.from_numpy(large[:, :, 4:68, 4:68]))
    assert torch.equal(centre, expected)


def export_fails(checkpoint, tmp_path, message, cfg=None, **options):
    folder = tmp_path / 'out'
    with pytest.raises(UserError, match=message):
        export_onnx(
            small_config() if cfg is None else cfg,
            checkpoint,
            folder / 'x.onnx',
            **options,
        )
    assert not folder.exists() or not list(folder.iterdir())


def test_tasks_of_different_sizes(checkpoint, tmp_path):
    cfg = small_config()
    cfg.task_defaults.seg.img_size = 96
    message = 'phantom_c/seg 96x96.* export them apart'
    export_fails(checkpoint, tmp_path, message, cfg)


def test_a_pipeline_that_keeps_the_aspect(checkpoint, tmp_path):
    cfg = small_config()
    cfg.task_defaults.seg.test_pipeline[1].keep_ratio = True
    export_fails(checkpoint, tmp_path, 'keep_ratio=False', cfg)


def test_images_that_would_be_padded(checkpoint, tmp_path):
    cfg = small_config()
    cfg.model.data_preprocessor.pad_size_divisor = 48
    export_fails(checkpoint, tmp_path, 'multiple of 48', cfg)


def test_guided_masks(checkpoint, tmp_path):
    cfg = small_config()
    cfg.model.student.region_guidance = dict(type='RegionGuidance')
    export_fails(checkpoint, tmp_path, 'guided by as many boxes', cfg)


def test_mistakes_are_one_sentence(checkpoint, tmp_path, monkeypatch):
    export_fails(checkpoint, tmp_path, "dtype is 'int8'", dtype='int8')
    export_fails(checkpoint, tmp_path, 'Unknown task', tasks=['a/cls'])
    occupied = tmp_path / 'file'
    occupied.write_text('')
    with pytest.raises(UserError, match='cannot be written'):
        export_onnx(small_config(), checkpoint, occupied / 'x.onnx')

    def fail(*args, **kwargs):
        raise RuntimeError('no such\n operator')

    with monkeypatch.context() as patch:
        patch.setattr(torch.onnx, 'export', fail)
        export_fails(checkpoint, tmp_path, r'\(no such operator\)')
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, 'find_spec', lambda name: None)
        message = 'pip install onnx onnxscript onnxruntime'
        export_fails(checkpoint, tmp_path, message)


def test_notes_on_augmentation(checkpoint):
    cfg = small_config()
    cfg.task_defaults.seg.tta = 'flip'
    infer = FoundationXInferencer(cfg, checkpoint)
    description = onnx_export._describe(
        infer.model.active, infer.tasks, (64, 64), 'uint8'
    )
    assert description['notes'] == [
        'phantom_c/seg: of tta="flip" the image as it is alone'
    ]


def test_boxes_may_change_places():
    rng = np.random.default_rng(0)
    boxes = rng.random((2, 20, 6))
    swapped = boxes[:, ::-1].copy()
    assert onnx_export._list_gap(boxes, swapped) == 0
    swapped[:, 0] += 1  # one of twenty
    assert onnx_export._list_gap(boxes, swapped) == 0
    swapped[:, 1] += 1
    assert onnx_export._list_gap(boxes, swapped) > 0.1


@pytest.mark.slow
def test_a_file_that_answers_otherwise(exported, checkpoint):
    """The file of a graph whose weights changed behind its back."""
    cfg = small_config(one_mean=True)
    infer = FoundationXInferencer(cfg, checkpoint, tasks=TASKS)
    infer.model.teacher.classification.heads['phantom_c'].fc.bias.data += 1
    graph = TaskGraph(
        infer.model.teacher,
        infer.model.data_preprocessor,
        infer.tasks,
        (64, 64),
    )
    message = r'other values for phantom_c/cls \(0.* nothing was written'
    with pytest.raises(UserError, match=message):
        onnx_export._compare(graph, exported[0], (64, 64), 'uint8')


def test_the_tool(checkpoint, tmp_path, monkeypatch, capsys):
    path = ROOT / 'tools/deployment/export_onnx.py'
    spec = importlib.util.spec_from_file_location('export_onnx', path)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    asked = {}

    def export(cfg, *args, **options):
        asked.update(options, cfg=cfg, args=args)
        return dict(
            input=dict(shape=['batch', 1, 64, 64]),
            notes=['a note'],
            difference={'phantom_a/cls': 1e-7},
        )

    monkeypatch.setattr(tool, 'export_onnx', export)

    def run_with(*args):
        monkeypatch.setattr('sys.argv', ['export_onnx.py', *map(str, args)])
        tool.main()

    run_with(CONFIG, checkpoint, 'x.onnx', '--predict-on', 'student')
    assert asked['args'] == (str(checkpoint), 'x.onnx')
    assert asked['cfg'].tasks and asked['predict_on'] == 'student'
    printed = capsys.readouterr().out
    assert 'at most 1e-07 from torch' in printed and 'a note' in printed
    run_with(checkpoint, 'x.onnx')
    assert asked['cfg'] is None
    for args in (
        [checkpoint],
        [checkpoint, 'x.pth'],
        [CONFIG, 'x.onnx'],
    ):
        with pytest.raises(UserError, match='the file to write'):
            run_with(*args)
    with pytest.raises(UserError, match='before the checkpoint'):
        run_with(checkpoint, 'x.onnx', '--cfg-options', 'a=1')
