"""Keys of a task that its pipelines ask for, and test-time augmentation."""

import copy

import pytest

from fx_mm.tasks import TaskTable
from fx_mm.utils.errors import UserError

ENTRY = dict(
    classes=('Nodule', 'Mass'),
    reader=dict(type='CsvLabelReader'),
    splits=dict(train='train.csv', test='test.csv'),
)
STEPS = dict(train_pipeline=[], test_pipeline=[])
CFG = dict(
    datasets=dict(
        a=dict(tasks=dict(cls=ENTRY)), b=dict(tasks=dict(loc=ENTRY))
    ),
    task_defaults=dict(
        cls=dict(img_size=64, batch_size=8, **STEPS),
        loc=dict(img_size=32, batch_size=2, **STEPS),
    ),
)


@pytest.fixture
def cfg():
    return copy.deepcopy(CFG)


def test_values_of_the_task_fill_its_pipelines(cfg):
    crop = dict(type='X', scale='img_size', prob='flip_prob', border=(1, 2))
    cfg['task_defaults']['cls'].update(
        flip_prob=1,
        resize_size=80,
        train_pipeline=[
            dict(type='Y', scale='resize_size'),
            dict(type='Z', transforms=[[crop], [crop]], name='img_size_'),
        ],
    )
    task = TaskTable.from_cfg(cfg)['a/cls']
    filled = dict(type='X', scale=(64, 64), prob=1.0, border=(1, 2))
    assert task.pipeline('train') == [
        dict(type='Y', scale=(80, 80)),
        dict(type='Z', transforms=[[filled], [filled]], name='img_size_'),
    ]
    assert isinstance(
        task.pipeline('train')[1]['transforms'][0][0]['prob'], float
    )
    # the config keeps the words
    assert task.config['train_pipeline'][0]['scale'] == 'resize_size'


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(flip_prob=1.5), 'a.tasks.cls.flip_prob is 1.5.*in 0..1'),
        (dict(resize_size=0), 'a.tasks.cls.resize_size is 0.*above 0'),
        (dict(tta='mirror'), 'cls.tta is .mirror.; use one of None, flip'),
        (dict(tta='ten_crop'), 'tta is "ten_crop".*img_size .64.*resize_size'),
        (dict(tta='center_crop', resize_size=64), 'give a larger resize_size'),
    ],
)
def test_views_that_make_no_sense_are_refused(cfg, change, message):
    cfg['task_defaults']['cls'].update(change)
    with pytest.raises(UserError, match=message):
        TaskTable.from_cfg(cfg)


def test_a_flip_that_no_transform_makes(cfg):
    steps = [dict(type='X', transforms=[dict(type='Y', prob=0.5)])]
    defaults = cfg['task_defaults']['cls']
    defaults.update(flip_prob=0.5, train_pipeline=steps)
    # of the kind's defaults, a task's own pipeline may leave it unused
    assert TaskTable.from_cfg(cfg)['a/cls'].pipeline('train') == steps
    entry = cfg['datasets']['a']['tasks']['cls']
    entry['flip_prob'] = 0.0
    with pytest.raises(UserError, match='a.tasks.cls.flip_prob is 0, but no'):
        TaskTable.from_cfg(cfg)
    steps[0]['transforms'][0]['prob'] = 'flip_prob'
    assert TaskTable.from_cfg(cfg)['a/cls'].config['flip_prob'] == 0
    entry.update(flip_prob=None, train_pipeline=[dict(type='X')])
    assert TaskTable.from_cfg(cfg)['a/cls'].config['flip_prob'] is None


def test_crops_are_for_labels_alone(cfg):
    cfg['task_defaults']['loc'].update(tta='ten_crop', resize_size=80)
    with pytest.raises(UserError, match='b.tasks.loc.tta.*None, flip'):
        TaskTable.from_cfg(cfg)


def test_a_pipeline_that_asks_for_what_is_not_set(cfg):
    step = dict(type='X', scale='resize_size')
    cfg['task_defaults']['cls']['test_pipeline'] = [step]
    task = TaskTable.from_cfg(cfg)['a/cls']
    found = 'test_pipeline of task a/cls asks for "resize_size".*task_defaults'
    with pytest.raises(UserError, match=found):
        task.pipeline('test')
