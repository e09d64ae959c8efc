"""The functions of the app, on made-up predictions."""

import base64
import json
import os
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from drawn_chests import plain_chest
from mmengine.config import ConfigDict

pytest.importorskip('pydantic')
from pydantic import TypeAdapter

from fx_mm.app.service import ChestService
from fx_mm.image_io.errors import ImageReadError
from fx_mm.tasks import Task
from fx_mm.utils.errors import UserError
from fx_mm.visualization.results import (
    ClsResult,
    ImageResult,
    LocResult,
    RegResult,
    SegResult,
)

SECRET = dict(
    data_root='/secret/', splits=dict(train='a.csv', val=None), img_size=64
)
TASKS = (
    Task('a', 'cls', ('Nodule', 'Mass'), '/secret/', 'x/', SECRET),
    Task('a', 'loc', ('Nodule',)),
    Task('b', 'seg', ('Left lung', 'Right lung', 'Heart')),
    Task('b', 'reg', ('Age',)),
)
NAMES = tuple(task.name for task in TASKS)
PNG = cv2.imencode('.png', np.zeros((100, 100), np.uint8))[1].tobytes()


class StandIn:
    predict_on = 'student'
    tasks = TASKS

    def __init__(self, checkpoint):
        self.checkpoint = str(checkpoint)
        self.cfg = SimpleNamespace(model=ConfigDict(type='FoundationX'))
        self.model = SimpleNamespace(predictors=('student',))
        self.runs = 0

    def _result(self, path):
        image = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
        if image is None:
            return ImageResult('x', path, error=f'{path}: no image')
        boxes = np.array([[1, 2, 30, 40], [1, 2, 9, 9]], np.float32)
        found = (
            ClsResult(TASKS[0], np.array([0.25, np.nan], np.float32)),
            LocResult(TASKS[1], boxes, np.array([0.9, 0.2]), np.zeros(2, int)),
            SegResult(TASKS[2], plain_chest()),
            RegResult(TASKS[3], np.array([61.5], np.float32)),
        )
        predictions = dict(zip(NAMES, found))
        reading = dict(format='PNG', warnings=[])
        return ImageResult(
            'x', path, (100, 100), predictions, image, None, reading
        )

    def iterate(self, inputs, skip_unreadable=False):
        for path in inputs:
            self.runs += 1
            yield self._result(path)

    def pipeline(self, source):
        # views differ in their size
        pad = source.read()[0].shape[0] - 100
        result = self._result(source.origin)
        result.size = (100 + pad, 100 + pad)
        grown = np.pad(plain_chest(), ((0, 0), *2 * ((pad // 2, pad // 2),)))
        result.predictions[NAMES[2]] = SegResult(TASKS[2], grown)
        return SimpleNamespace(result=result)

    def forward(self, batch):
        return batch


@pytest.fixture
def service(tmp_path):
    (tmp_path / 'root').mkdir()
    (tmp_path / 'root/a.png').write_bytes(PNG)
    (tmp_path / 'iter_7.pth').write_bytes(b'weights')
    service = ChestService(StandIn(tmp_path / 'iter_7.pth'), tmp_path / 'root')
    yield service
    service.close()


@pytest.fixture
def image(service):
    return service.load_image('a.png')['image']


def test_every_answer_is_what_it_declares(service, image):
    prior = service.load_image('a.png')['image']
    arguments = dict(
        load_image=dict(path='a.png'),
        upload_image=dict(
            name='b.png', content=base64.b64encode(PNG).decode()
        ),
        compare=dict(image=image, prior=prior),
        dataset_card=dict(dataset='a'),
        metrics_of=dict(task=NAMES[0]),
        list_tasks={},
        list_images={},
    )
    left_out = ('explain', 'drop_image')
    for tool in service.tools():
        if tool.__name__ in left_out:
            continue
        own = arguments.get(tool.__name__, dict(image=image))
        answer = tool(**own)
        TypeAdapter(tool.__annotations__['return']).validate_python(
            answer, strict=True
        )
        # plain values, without NaN
        text = json.dumps(answer, allow_nan=False)
        assert '/secret/' not in text and str(service.images.root) not in text
        assert answer['notice'] == 'For research. Not for diagnosis.'
        assert answer['model'] == f'FoundationX-{answer["sha256"][:12]}'
        assert answer['checkpoint'] == 'iter_7.pth'


def test_findings(service, image):
    found = service.classify(image)
    labels = {each['name']: each for each in found['labels'][NAMES[0]]}
    assert labels['Nodule']['probability'] == 0.25
    assert labels['Mass']['probability'] is None
    assert found['numbers'][NAMES[3]][0]['value'] == 61.5
    boxes = service.locate(image)['boxes'][NAMES[1]]
    assert [each['box'] for each in boxes] == [[1, 2, 30, 40]]
    assert len(service.locate(image, min_score=0)['boxes'][NAMES[1]]) == 2
    masks = service.segment(image)['masks'][NAMES[2]]
    areas = plain_chest().sum((1, 2)).tolist()
    assert [each['area'] for each in masks] == areas
    # the model ran once
    assert service.infer.runs == 1


def test_pictures(service, image):
    found = service.segment(image)
    for each in (*found['pictures'], found['masks'][NAMES[2]][0]['picture']):
        name = each['url'].split('/')[-1].removesuffix('.png')
        assert each['uri'] == f'fx-mm:/{each["url"]}'
        assert service.picture(image, name)[:4] == b'\x89PNG'
    # a later question for the same does not pile them up
    count = len(service.images.get(image).pictures)
    service.segment(image)
    assert len(service.images.get(image).pictures) == count
    with pytest.raises(UserError, match='no picture'):
        service.picture(image, '../x')


def test_tasks_by_name(service, image):
    assert list(service.classify(image, [NAMES[3]])['numbers']) == [NAMES[3]]
    assert service.classify(image, [NAMES[3]])['labels'] == {}
    assert service.classify(image, [])['labels'] == {}
    for names in (['none'], [NAMES[1]], [NAMES[0], '']):
        with pytest.raises(UserError, match='no task'):
            service.classify(image, names)


def test_uploads(service):
    for content in ('x', '!!!!', 'YQ'):
        with pytest.raises(UserError, match='base64'):
            service.upload_image('a.png', content)
    with pytest.raises(UserError, match='larger'):
        service.upload_image('a.png', 'A' * (90 << 20))
    with pytest.raises(ImageReadError, match='no image'):
        service.upload_image('a.png', 'YWJj')
    assert os.listdir(service.images.folder) == []


def test_what_is_unknown(service, image):
    with pytest.raises(UserError, match='there are a, b'):
        service.dataset_card('c')
    with pytest.raises(UserError, match='no task "c/cls"'):
        service.metrics_of('c/cls')
    assert 'tools/test.py' in service.metrics_of(NAMES[0])['reason']
    card = service.dataset_card('a')['settings'][NAMES[0]]
    assert card == dict(
        label_type='multi-label', splits=['train'], img_size=64
    )
    service.drop_image(image)
    for call in (service.classify, service.measure, service.drop_image):
        with pytest.raises(UserError, match='load it again'):
            call(image)


def test_report_with_a_prior(service, image):
    prior = service.load_image('a.png')['image']
    alone, both = service.report(image), service.report(image, prior)
    assert alone['text'].startswith('For research. Not for diagnosis.')
    assert len(both['sentences']) > len(alone['sentences'])
    changes = service.compare(image, prior)
    assert not changes['same_patient']
    said = [each['text'] for each in changes['sentences']]
    assert all(each in both['text'] for each in said)
    assert changes['labels'][0] == dict(
        task=NAMES[0], name='Nodule', now=0.25, before=0.25
    )
