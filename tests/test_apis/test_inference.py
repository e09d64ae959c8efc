"""The inferencer and tools/predict.py, on a model with random weights."""

import importlib.util
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
import torch
from mmengine.registry import init_default_scope

from fx_mm.apis import expand_config, load_config
from fx_mm.apis.inference import FoundationXInferencer, find_images
from fx_mm.apis.results import ClsResult, LocResult, SegResult
from fx_mm.datasets.xray_io import ImageReadError
from fx_mm.registry import MODELS, TRANSFORMS
from fx_mm.utils.errors import UserError

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/real/foundation-x_tiny_real-overfit.py'
TASKS = ['real_nih/cls', 'real_tbx11k/loc', 'real_lungs/seg']


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """Random weights, the student's other than the teacher's."""
    torch.manual_seed(0)
    init_default_scope('fx_mm')
    model = MODELS.build(expand_config(load_config(str(CONFIG))).model)
    for parameter in model.student.parameters():
        parameter.data.add_(0.01 * torch.randn_like(parameter))
    path = tmp_path_factory.mktemp('checkpoint') / 'iter_7.pth'
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return str(path)


@pytest.fixture(scope='module')
def infer(checkpoint):
    return FoundationXInferencer(CONFIG, checkpoint)


def pixels(seed, height=90, width=70):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 255, (height, width)).astype(np.uint8)


def write_dicom(path, image):
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = '1.2.840.10008.5.1.4.1.1.1.1'
    meta.MediaStorageSOPInstanceUID = '1.2.3'
    data = pydicom.Dataset()
    data.file_meta = meta
    data.SOPClassUID = meta.MediaStorageSOPClassUID
    data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    data.Rows, data.Columns = image.shape
    data.SamplesPerPixel, data.PixelRepresentation = 1, 0
    data.PhotometricInterpretation = 'MONOCHROME2'
    data.BitsAllocated, data.BitsStored, data.HighBit = 8, 8, 7
    data.WindowCenter, data.WindowWidth = 128, 256
    data.PixelData = image.tobytes()
    data['PixelData'].VR = 'OB'
    data.save_as(path, enforce_file_format=True)


@pytest.fixture
def folder(tmp_path):
    """Same stems, a subfolder, DICOM with and without suffix, a dud."""
    root = tmp_path / 'images'
    (root / 'more').mkdir(parents=True)
    for seed, name in enumerate(('a.png', 'a.jpg', 'more/a.png', 'b.c.png')):
        cv2.imwrite(str(root / name), pixels(seed, 60 + seed, 50))
    write_dicom(root / '1.2.840', pixels(8))
    write_dicom(root / 'd.dcm', pixels(9))
    whole = (root / 'a.png').read_bytes()
    (root / 'cut.png').write_bytes(whole[: len(whole) // 2])
    (root / 'notes.txt').write_text('not an image')
    (root / '.hidden.png').write_bytes(whole)
    return root


READABLE = ['1.2.840', 'a.jpg', 'a.png', 'b.c.png', 'd.dcm', 'more/a.png']


def test_results_are_typed_and_in_original_pixels(infer):
    (result,) = infer(pixels(0))
    assert (result.path, result.size) == (None, (90, 70))
    assert list(result.predictions) == TASKS
    cls, loc, seg = (result[task] for task in TASKS)
    assert isinstance(cls, ClsResult) and len(cls.classes) == 14
    assert cls.scores.shape == (14,)
    assert ((cls.scores >= 0) & (cls.scores <= 1)).all()
    assert isinstance(loc, LocResult)
    assert loc.boxes.shape == (len(loc.scores), 4) == (30, 4)
    assert (np.diff(loc.scores) <= 0).all()
    # a 128 pixel input: the bounds tell original pixels from the model's
    assert loc.boxes[:, 0::2].max() <= 70 and loc.boxes[:, 1::2].max() <= 90
    assert isinstance(seg, SegResult)
    assert seg.masks.shape == (1, 90, 70) and seg.masks.dtype == bool


def test_input_is_the_test_pipelines(infer, tmp_path):
    path = str(tmp_path / 'im.png')
    cv2.imwrite(path, pixels(3))
    task = infer.tasks[0]
    expected = dict(img_path=path)
    for step in task.pipeline('test'):
        if 'Annotations' not in step['type'] and step['type'] != 'PackXray':
            expected = TRANSFORMS.build(step)(expected)
    (result,) = infer.iterate(path)
    data = infer._prepare(task, result)
    assert np.array_equal(data['img'], expected['img'])
    assert data['scale_factor'] == expected['scale_factor']


def test_batches_give_what_single_images_give(infer):
    images = [pixels(i, 60 + 10 * i) for i in range(3)]
    together = infer(images, batch_size=2)
    assert [r.name for r in together] == ['array 0', 'array 1', 'array 2']
    for image, result in zip(images, together, strict=True):
        (alone,) = infer(image)
        np.testing.assert_allclose(
            alone[TASKS[0]].scores, result[TASKS[0]].scores, atol=1e-5
        )
        np.testing.assert_allclose(
            alone[TASKS[1]].scores, result[TASKS[1]].scores, atol=1e-4
        )
        assert (alone[TASKS[2]].masks == result[TASKS[2]].masks).mean() > 0.99


def test_named_tasks_and_weights(infer, checkpoint):
    other = FoundationXInferencer(
        CONFIG, checkpoint, weights='student', tasks=TASKS[:1]
    )
    (student,), (teacher,) = other(pixels(0)), infer(pixels(0))
    assert list(student.predictions) == TASKS[:1]
    difference = student[TASKS[0]].scores - teacher[TASKS[0]].scores
    assert np.abs(difference).max() > 1e-4


def test_mistakes_are_one_sentence(checkpoint, infer, tmp_path):
    with pytest.raises(UserError, match='real_nih/cls'):
        FoundationXInferencer(CONFIG, checkpoint, tasks=['real_nih/loc'])
    with pytest.raises(UserError, match='weights is "ema"'):
        FoundationXInferencer(CONFIG, checkpoint, weights='ema')
    with pytest.raises(UserError, match='no image in this folder'):
        infer(tmp_path)
    with pytest.raises(UserError, match='the list is empty'):
        infer([])
    with pytest.raises(UserError, match=r'uint8 of shape \(H, W\)'):
        infer(np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ImageReadError, match='missing.png'):
        infer(tmp_path / 'missing.png')


def test_folder_with_an_unreadable_file(infer, folder):
    with pytest.raises(ImageReadError, match='cut.png'):
        infer(folder)
    results = infer(folder, skip_unreadable=True)
    names = [Path(r.path).relative_to(folder).as_posix() for r in results]
    assert names == sorted([*READABLE, 'cut.png'])
    for name, result in zip(names, results, strict=True):
        assert (result.error is None) == (name != 'cut.png')
        assert len(result.predictions) == (3 if name != 'cut.png' else 0)
        assert result.image is None


def test_outputs_within_the_folder_are_left_out(folder):
    found = find_images(folder, exclude=folder / 'more')
    assert str(folder / 'more' / 'a.png') not in found
    assert str(folder / 'a.png') in found


def test_numbers_that_are_not_finite_become_null():
    result = ClsResult('x/cls', ('a', 'b'), np.array([np.nan, 0.25]))
    assert result.to_dict()['probabilities'] == dict(a=None, b=0.25)


@pytest.fixture
def tool(monkeypatch):
    """Run tools/predict.py in this process."""
    spec = importlib.util.spec_from_file_location(
        'predict', ROOT / 'tools/predict.py'
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def run(*args):
        argv = ['predict.py', *map(str, args), '--device', 'cpu']
        monkeypatch.setattr(sys, 'argv', argv)
        return module.main()

    return run


def test_tool_writes_everything_for_each_readable_image(
    tool, checkpoint, folder, capsys
):
    out = folder / 'out'
    for _ in range(2):  # the second run must not take outputs for inputs
        code = tool(
            CONFIG, checkpoint, folder, '--out-dir', out, '--score-thr', 0
        )
        assert code == 1
        error = capsys.readouterr().err
        assert 'cut.png' in error and '1 of 7 images' in error
    stems = ['1.2.840', 'a.jpg', 'a.png', 'b.c', 'd', 'more/a']
    written = sorted(
        p.relative_to(out).as_posix() for p in out.rglob('*') if p.is_file()
    )
    mask = '{}_masks/real_lungs_seg_00_Lung.png'
    assert written == sorted(
        name
        for stem in stems
        for name in (f'{stem}.png', f'{stem}.json', mask.format(stem))
    )
    for stem, source in zip(stems, READABLE, strict=True):
        content = json.loads((out / f'{stem}.json').read_text())
        assert content['image'] == str(folder / source)
        assert (content['weights'], content['checkpoint']) == (
            'teacher',
            'iter_7.pth',
        )
        cls, loc, seg = (content['tasks'][task] for task in TASKS)
        assert len(cls['probabilities']) == 14
        assert len(loc['boxes']) == 30
        assert set(loc['boxes'][0]) == {'box', 'score', 'label'}
        lung = seg['masks']['Lung']
        saved = cv2.imread(
            str((out / f'{stem}.json').parent / lung['file']), 0
        )
        assert saved.shape == (content['height'], content['width'])
        assert np.count_nonzero(saved) == lung['area']


def test_tool_on_one_file_with_one_task(tool, checkpoint, folder, tmp_path):
    out = tmp_path / 'out'
    code = tool(
        CONFIG,
        checkpoint,
        folder / 'd.dcm',
        '--out-dir',
        out,
        '--tasks',
        TASKS[0],
        '--weights',
        'student',
    )
    assert code == 0
    assert sorted(p.name for p in out.iterdir()) == ['d.json', 'd.png']
    content = json.loads((out / 'd.json').read_text())
    assert list(content['tasks']) == TASKS[:1]
    assert content['weights'] == 'student'


def test_tool_with_an_output_folder_that_is_a_file(tool, checkpoint, folder):
    with pytest.raises(UserError, match='cannot be written'):
        tool(
            CONFIG,
            checkpoint,
            folder / 'a.png',
            '--out-dir',
            folder / 'notes.txt',
        )


@pytest.mark.parametrize('what', ['missing', 'empty'])
def test_tool_without_images(tool, checkpoint, tmp_path, what):
    source = tmp_path / what
    if what == 'empty':
        source.mkdir()
    out = tmp_path / 'out'
    with pytest.raises(UserError, match=what):
        tool(CONFIG, checkpoint, source, '--out-dir', out)
    assert not out.exists()
