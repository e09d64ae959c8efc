"""The inferencer and tools/predict.py, on a model with random weights."""

import copy
import csv
import importlib.util
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
import torch
from mmengine.infer import BaseInferencer
from random_weights import CONFIG, ROOT, TASKS, write_checkpoint

from fx_mm.apis import (
    ClsResult,
    FoundationXInferencer,
    LocResult,
    SegResult,
    load_config,
)
from fx_mm.apis.image_sources import (
    ImageSource,
    find_images,
    list_sources,
)
from fx_mm.image_io.xray import ImageReadError, read_xray
from fx_mm.models import build_model
from fx_mm.registry import INFERENCERS, TRANSFORMS
from fx_mm.structures import FXDataSample
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp('checkpoint'))


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
    seen = []
    handle = infer.model.data_preprocessor.register_forward_pre_hook(
        lambda module, args: seen.append(args[0])
    )
    infer(path)
    handle.remove()
    image = seen[0]['inputs'][0].numpy().transpose(1, 2, 0)
    assert np.array_equal(image, expected['img'])
    sample = seen[0]['data_samples'][0]
    assert sample.scale_factor == expected['scale_factor']


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
        CONFIG, checkpoint, predict_on='student', tasks=TASKS[:1] * 2
    )
    assert [task.name for task in other.tasks] == TASKS[:1]
    (student,), (teacher,) = other(pixels(0)), infer(pixels(0))
    assert list(student.predictions) == TASKS[:1]
    difference = student[TASKS[0]].scores - teacher[TASKS[0]].scores
    assert np.abs(difference).max() > 1e-4


def test_mistakes_are_one_sentence(checkpoint, infer, tmp_path):
    with pytest.raises(UserError, match='real_nih/cls'):
        FoundationXInferencer(CONFIG, checkpoint, tasks=['real_nih/loc'])
    with pytest.raises(UserError, match="predict_on is 'ema'; use one of"):
        FoundationXInferencer(CONFIG, checkpoint, predict_on='ema')
    with pytest.raises(UserError, match='no image in this folder'):
        infer(tmp_path)
    with pytest.raises(UserError, match='the list is empty'):
        infer([])
    with pytest.raises(UserError, match='the list is empty'):
        infer(x for x in ())
    with pytest.raises(UserError, match='cannot predict on a int'):
        infer(7)
    with pytest.raises(UserError, match='cannot predict on a NoneType'):
        infer([None])
    with pytest.raises(UserError, match='batch_size is 0'):
        infer(pixels(0), batch_size=0)
    with pytest.raises(UserError, match='"gpu", which this torch cannot use'):
        FoundationXInferencer(CONFIG, checkpoint, device='gpu')
    with pytest.raises(UserError, match='has no checkpoint'):
        FoundationXInferencer(CONFIG)
    with pytest.raises(ImageReadError, match='missing.png'):
        infer(tmp_path / 'missing.png')


def test_a_checkpoint_alone_holds_its_config(infer, checkpoint):
    alone = FoundationXInferencer(checkpoint, tasks=TASKS[0])
    (here,), (there,) = alone(pixels(0)), infer(pixels(0))
    assert here[TASKS[0]].probabilities == there[TASKS[0]].probabilities


@pytest.mark.parametrize(
    'text, message',
    [
        (None, 'does not hold the config'),
        ('model = dict(a=1)', 'does not hold the config'),
        ('datasets = print(1)\nmodel = 2', 'without executing it'),
        ('datasets = (', 'without executing it'),
    ],
)
def test_a_checkpoint_without_a_config(tmp_path, text, message):
    path = tmp_path / 'x.pth'
    torch.save(dict(state_dict={}, meta=dict(cfg=text)), path)
    with pytest.raises(UserError, match=message):
        FoundationXInferencer(path)


def test_it_is_built_and_called_as_openmmlabs(checkpoint, infer, tmp_path):
    cfg = load_config(str(CONFIG))
    before = copy.deepcopy(cfg.to_dict())
    built = INFERENCERS.build(
        dict(
            type='fx_mm.FoundationXInferencer',
            model=cfg,
            weights=checkpoint,
            device='cpu',
            tasks=TASKS[:2],
        )
    )
    assert isinstance(built, BaseInferencer)
    assert cfg.to_dict() == before and built.cfg.tasks == TASKS[:2]
    (expected,), (result,) = infer(pixels(0)), built(pixels(0))
    assert np.array_equal(expected[TASKS[1]].boxes, result[TASKS[1]].boxes)
    alone = FoundationXInferencer(weights=checkpoint, tasks=TASKS[0])
    assert alone.cfg.tasks == TASKS[:1] and alone.cfg.datasets
    with pytest.raises(ValueError, match='unknown argument .*score_thr'):
        built(pixels(0), score_thr=0.5)


def test_the_models_samples(infer, tmp_path):
    bad = np.full((50, 50), np.nan)
    samples, none = infer(
        [pixels(0), bad], return_datasamples=True, skip_unreadable=True
    )
    (result,) = infer(pixels(0))
    assert none == {} and list(samples) == TASKS
    assert isinstance(samples[TASKS[0]], FXDataSample)
    scores = samples[TASKS[0]].pred_score.numpy()
    np.testing.assert_allclose(scores, result[TASKS[0]].scores, atol=1e-6)
    assert samples[TASKS[2]].pred_sem_seg.shape == (90, 70)


def test_a_call_writes_and_shows(infer, folder, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(
        infer.visualizer, 'show', lambda *args: shown.append(args)
    )
    results = infer(
        [folder, pixels(0)],
        skip_unreadable=True,
        out_dir=tmp_path / 'out',
        pred_score_thr=0,
        show=True,
        wait_time=0.1,
    )
    assert len(results) == len(READABLE) + 2
    assert [name for _, name, _ in shown] == [
        *(r.name for r in results if r.error is None)
    ]
    picture, _, seconds = shown[-1]
    assert picture.ndim == 3 and seconds == 0.1
    assert cv2.imread(str(tmp_path / 'out/array_7.png')) is not None
    content = json.loads((tmp_path / 'out/more/a.json').read_text())
    assert len(content['tasks'][TASKS[1]]['boxes']) == 30
    assert content['checkpoint'] == 'iter_7.pth'
    assert not list((tmp_path / 'out').glob('cut*'))


def as_array(grey, form):
    """The same picture in another form of array."""
    if form == 'rgb':
        return np.repeat(grey[..., None], 3, axis=2)
    if form == 'one channel':
        return grey[..., None]
    if form == 'uint16':
        return grey.astype(np.uint16) * 257
    if form == 'rgb float64':
        return np.repeat(grey[..., None] / 255.0, 3, axis=2)
    if form == 'not contiguous':
        return np.repeat(grey, 2, axis=1)[:, ::2]
    return (grey / 255.0 - 7).astype(form)


@pytest.mark.parametrize(
    'form',
    [
        'rgb',
        'one channel',
        'uint16',
        'float32',
        'float64',
        'rgb float64',
        'not contiguous',
    ],
)
def test_arrays_of_any_type(form):
    grey = pixels(1)
    grey[0, 0], grey[0, 1] = 0, 255
    array = as_array(grey, form)
    read, decisions = next(list_sources(array)[0]).read()
    assert decisions['format'] == 'array'
    assert decisions['depth'] == 8 * array.dtype.itemsize
    assert read.dtype == np.uint8 and read.shape == grey.shape
    assert np.abs(read.astype(int) - grey).max() <= 1


@pytest.mark.parametrize(
    'array',
    [
        np.zeros((0, 4), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((2, 4, 4, 3), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4), bool),
        np.zeros((4, 4), complex),
        np.array([['a', 'b']]),
    ],
)
def test_arrays_that_are_no_image(infer, array):
    with pytest.raises(ImageReadError, match=r'array 0: is no image .*\(H, W'):
        infer(array)


def test_bad_arrays_are_reported_by_option(infer):
    bad = np.full((50, 50), np.nan)
    with pytest.raises(ImageReadError, match='array 1: .* not finite'):
        infer([pixels(0), bad])
    good, nan, flat = infer(
        [pixels(0), bad, pixels(0)[0]], skip_unreadable=True
    )
    assert good.error is None and len(good.predictions) == 3
    assert 'not finite' in nan.error and 'no image' in flat.error
    assert 'not finite' in nan.to_dict()['error']
    json.dumps(nan.to_dict(), allow_nan=False)
    with pytest.raises(ImageReadError, match='array 1'):
        nan.draw()


def test_a_single_pixel(infer):
    (result,) = infer(np.zeros((1, 1), np.uint8))
    assert result[TASKS[2]].masks.shape == (1, 1, 1)
    json.dumps(result.to_dict(), allow_nan=False)


def test_generators_are_read_as_they_go(infer):
    read = []

    def images():
        for index in range(5):
            read.append(index)
            yield pixels(index)

    results = infer.iterate(images(), batch_size=2)
    assert next(results).name == 'array 0' and read == [0, 1]
    assert [r.name for r in results][-1] == 'array 4'


def test_the_bar_is_shown_where_it_is_wanted(infer, checkpoint, capfd):
    shown = FoundationXInferencer(CONFIG, checkpoint, show_progress=True)
    shown(pixels(0))
    assert 'predict' in capfd.readouterr().err
    infer(pixels(0))
    assert 'predict' not in capfd.readouterr().err


def test_results_draw_and_become_json(infer, tmp_path):
    path = tmp_path / 'im.png'
    cv2.imwrite(str(path), pixels(3))
    (result,) = infer(path)
    picture = result.draw(tmp_path / 'out' / 'drawn.png', score_thr=0.9)
    assert np.array_equal(
        cv2.imread(str(tmp_path / 'out' / 'drawn.png'))[..., ::-1], picture
    )
    content = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert content['image'] == str(path) and 'error' not in content
    found = content['tasks'][TASKS[1]]['boxes']
    assert [box['label'] for box in found] == result[TASKS[1]].names


class Counter:
    """Counts the runs of a module."""

    def __init__(self, module):
        self.runs = 0
        self.handle = module.register_forward_pre_hook(self)

    def __call__(self, module, args):
        self.runs += 1


def test_the_backbone_runs_once_for_tasks_that_agree(checkpoint):
    cfg = load_config(str(CONFIG))
    for dataset, twin in (('real_nih', 'nih_b'), ('real_lungs', 'lungs_b')):
        cfg.datasets[twin] = copy.deepcopy(cfg.datasets[dataset])
    cfg.tasks = [*TASKS, 'nih_b/cls', 'lungs_b/seg']
    torch.manual_seed(0)
    model = build_model(cfg)
    path = Path(checkpoint).with_name('twins.pth')
    torch.save(dict(state_dict=model.state_dict()), path)
    infer = FoundationXInferencer(cfg, path)
    teacher = infer.model.teacher
    backbone = Counter(teacher.backbone)
    decoder = Counter(teacher.segmentation.decoder)
    images = [pixels(0), pixels(1)]
    together = infer(images)
    # cls has a normalisation of its own
    assert (backbone.runs, decoder.runs) == (2, 1)
    for task in infer.tasks:
        alone = FoundationXInferencer(cfg, path, tasks=[task.name])
        for one, all_tasks in zip(alone(images), together):
            assert list(one.predictions) == [task.name]
            assert one[task.name].to_dict() == all_tasks[task.name].to_dict()
    # the next images are others
    after = infer(images[::-1])[0]
    np.testing.assert_allclose(
        after['nih_b/cls'].scores, together[1]['nih_b/cls'].scores, atol=1e-6
    )


def test_nothing_is_shared_afterwards(infer):
    teacher = infer.model.teacher
    with pytest.raises(KeyboardInterrupt), teacher.sharing_features():
        raise KeyboardInterrupt
    backbone, images = Counter(teacher.backbone), torch.zeros(1, 3, 64, 64)
    for _ in range(2):
        teacher.extract_feat(images)
    assert backbone.runs == 2
    backbone.handle.remove()


def test_views_of_augmentation_are_shared_and_hold(checkpoint):
    cfg = load_config(str(CONFIG))
    for kind in ('cls', 'loc', 'seg'):
        cfg.task_defaults[kind].tta = 'flip'
    plain = FoundationXInferencer(CONFIG, checkpoint)
    infer = FoundationXInferencer(cfg, checkpoint)
    backbone = Counter(infer.model.teacher.backbone)
    image = pixels(5, 128, 128)
    (result,), (once,), (mirror,) = (
        infer(image),
        plain(image),
        plain(np.ascontiguousarray(image[:, ::-1])),
    )
    assert backbone.runs == 4
    mean = (once[TASKS[0]].scores + mirror[TASKS[0]].scores) / 2
    np.testing.assert_allclose(result[TASKS[0]].scores, mean, atol=1e-5)


def test_percentiles_of_the_test_pipeline(checkpoint, tmp_path):
    image = pixels(2).astype(np.uint16)
    image[0, 0] = 60000  # a dead pixel
    path = str(tmp_path / 'deep.png')
    cv2.imwrite(path, image)
    cfg = load_config(str(CONFIG))
    load = cfg.task_defaults.cls.test_pipeline[0]
    load.percentiles = (0.5, 99.5)
    (result,) = FoundationXInferencer(cfg, checkpoint).iterate(path)
    read, reading = read_xray(path, True, (0.5, 99.5))
    assert np.array_equal(result.image, read)
    assert result.to_dict()['reading'] == reading
    (other,) = FoundationXInferencer(CONFIG, checkpoint)(path)
    gap = result[TASKS[0]].scores - other[TASKS[0]].scores
    assert np.abs(gap).max() > 1e-6
    assert np.array_equal(result[TASKS[2]].masks, other[TASKS[2]].masks)


def test_masks_that_boxes_guide_need_no_named_boxes(checkpoint):
    cfg = load_config(str(CONFIG))
    boxes = copy.deepcopy(cfg.datasets.real_tbx11k.tasks.loc)
    cfg.datasets.real_lungs.tasks.loc = boxes
    cfg.tasks = ['real_lungs/seg', 'real_lungs/loc']
    cfg.model.student.region_guidance = dict(type='RegionGuidance')
    model = build_model(cfg)
    path = Path(checkpoint).with_name('guided.pth')
    torch.save(dict(state_dict=model.state_dict()), path)
    infer = FoundationXInferencer(cfg, path, tasks=['real_lungs/seg'])
    (result,) = infer(pixels(0))
    assert list(result.predictions) == ['real_lungs/seg']
    backbone = Counter(infer.model.teacher.backbone)
    (both,) = FoundationXInferencer(cfg, path)(pixels(0))
    assert backbone.runs == 0
    assert np.array_equal(
        both['real_lungs/seg'].masks, result['real_lungs/seg'].masks
    )


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
    result = ClsResult(Task('x', 'cls', ('a', 'b')), np.array([np.nan, 0.25]))
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
    table = out / 'probabilities.csv'
    written.remove(table.name)
    with table.open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7 and len(rows[0]) == 1 + 14 + 1
    assert [Path(r['image']).name for r in rows if r['error']] == ['cut.png']
    mask = '{}_masks/real_lungs_seg_00_Lung.png'
    assert written == sorted(
        name
        for stem in stems
        for name in (f'{stem}.png', f'{stem}.json', mask.format(stem))
    )
    for stem, source in zip(stems, READABLE, strict=True):
        content = json.loads((out / f'{stem}.json').read_text())
        assert content['image'] == str(folder / source)
        assert (content['predict_on'], content['checkpoint']) == (
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
        '--predict-on',
        'student',
    )
    assert code == 0
    names = ['d.json', 'd.png', 'probabilities.csv']
    assert sorted(p.name for p in out.iterdir()) == names
    content = json.loads((out / 'd.json').read_text())
    assert list(content['tasks']) == TASKS[:1]
    assert content['predict_on'] == 'student'
    _, reading = read_xray(str(folder / 'd.dcm'), decisions=True)
    assert content['reading'] == reading
    assert reading['format'] == 'DICOM'


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


def test_tool_reads_raw_formats(tool, checkpoint, tmp_path):
    grey = pixels(4, 60, 50)
    header = (
        'ObjectType = Image\nNDims = 2\nDimSize = 50 60\n'
        'ElementType = MET_UCHAR\nElementDataFile = LOCAL\n'
    )
    mha, jsrt = tmp_path / 'a.mha', tmp_path / 'JPCLN001.IMG'
    mha.write_bytes(header.encode() + grey.tobytes())
    jsrt.write_bytes(np.zeros((2048, 2048), '>u2').tobytes())
    out = tmp_path / 'out'
    options = '--tasks', TASKS[0], '--no-pictures', '--out-dir', out
    assert tool(CONFIG, checkpoint, mha, jsrt, *options) == 0
    sizes = [
        (content['height'], content['width'])
        for content in (
            json.loads((out / f'{name}.json').read_text())
            for name in ('a', 'JPCLN001')
        )
    ]
    assert sizes == [(60, 50), (2048, 2048)]


def test_tool_mistakes_on_the_command_line(tool, checkpoint, folder):
    with pytest.raises(UserError, match='at least one image'):
        tool(CONFIG, checkpoint)
    with pytest.raises(UserError, match='give its file before'):
        tool(checkpoint, folder, '--cfg-options', 'a=1')


def test_tool_with_a_checkpoint_alone_and_several_images(
    tool, checkpoint, folder, tmp_path
):
    images = folder / 'a.png', folder / 'more', folder / 'a.jpg'
    out = tmp_path / 'out'
    code = tool(
        checkpoint, *images, '--out-dir', out, '--no-pictures', '--tasks',
        *TASKS[:2],
    )  # fmt: skip
    assert code == 0
    assert sorted(p.name for p in out.iterdir()) == [
        'a.jpg.json',
        'a.png.json',
        'a.png_.json',
        'probabilities.csv',
    ]
    with open(out / 'probabilities.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [Path(row['image']).name for row in rows] == [
        'a.png',
        'a.png',
        'a.jpg',
    ]
    content = json.loads((out / 'a.jpg.json').read_text())
    probabilities = content['tasks'][TASKS[0]]['probabilities']
    assert {
        key.rpartition('/')[2]: float(value)
        for key, value in rows[2].items()
        if key.startswith(TASKS[0])
    } == probabilities


@pytest.mark.parametrize('value', [0, 90, 255])
def test_an_image_that_shows_nothing_is_told(tmp_path, value):
    pixels = np.full((16, 16), value, np.uint8)
    file = str(tmp_path / 'a.png')
    cv2.imwrite(file, pixels)
    for origin in (file, pixels, pixels.astype(np.uint16) * 200):
        _, decisions = ImageSource('a', Path('a'), origin).read()
        assert 'nothing to see' in ' '.join(decisions['warnings'])
    pixels[0, 0] ^= 1
    assert not ImageSource('a', Path('a'), pixels).read()[1]['warnings']
