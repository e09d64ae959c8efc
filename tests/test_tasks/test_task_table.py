"""The task table: what a config means, and what it refuses."""

import copy
import os

import pytest

from fx_mm.tasks import Task, TaskTable
from fx_mm.utils.checks import suggest
from fx_mm.utils.errors import UserError

ENTRY = dict(
    classes=('Nodule', 'Mass'),
    reader=dict(type='CsvLabelReader'),
    splits=dict(train='train.csv', test='test.csv'),
)
CFG = dict(
    datasets=dict(
        a=dict(data_root='root/', img_dir='images/', tasks=dict(cls=ENTRY)),
        b=dict(
            data_root='',
            img_dir='',
            tasks=dict(cls=dict(ENTRY, batch_size=4), loc=ENTRY),
        ),
    ),
    task_defaults=dict(
        cls=dict(
            img_size=64,
            batch_size=8,
            train_pipeline=[dict(type='X', scale='img_size')],
            test_pipeline=[dict(type='Y')],
        ),
        loc=dict(
            img_size=32, batch_size=2, train_pipeline=[], test_pipeline=[]
        ),
    ),
)


@pytest.fixture
def cfg():
    return copy.deepcopy(CFG)


def test_all_tasks_by_default_in_order(cfg):
    assert TaskTable.from_cfg(cfg).names == ['a/cls', 'b/cls', 'b/loc']


@pytest.mark.parametrize('root', ['~/data/', '~', None])
def test_data_root_may_be_below_the_home(cfg, monkeypatch, root):
    monkeypatch.setenv('HOME', '/home/me')
    cfg['datasets']['a']['data_root'] = root
    home = (root or '').replace('~', '/home/me')
    task = TaskTable.from_cfg(cfg)['a/cls']
    assert task.data_root == home
    assert task.image_folder == os.path.join(home, 'images/')


def test_tasks_picks_and_orders(cfg):
    cfg['tasks'] = ['b/loc', 'a/cls']
    assert TaskTable.from_cfg(cfg).names == ['b/loc', 'a/cls']


@pytest.mark.parametrize('name', ['a/b', 'a.b', 'a b', '', '_a', '../a', 1.5])
def test_a_dataset_has_a_name_that_files_can_have(cfg, name):
    """Before a training whose report would fail for it."""
    cfg['datasets'][name] = cfg['datasets'].pop('a')
    cfg['tasks'] = ['b/loc']
    with pytest.raises(UserError, match='cannot be the name of a dataset'):
        TaskTable.from_cfg(cfg)


def test_letters_of_any_script_digits_and_hyphens(cfg):
    cfg['datasets'] = {'Köln-2_ß': cfg['datasets']['a']}
    assert TaskTable.from_cfg(cfg).names == ['Köln-2_ß/cls']


@pytest.mark.parametrize('name', ['a', 'b'])
def test_keys_of_every_entry_are_checked(cfg, name):
    """Also of one that no task asks for."""
    cfg['datasets'][name]['tasks']['cls'] = dict(ENTRY, splits=dict(trian='x'))
    cfg['tasks'] = ['b/loc']
    with pytest.raises(UserError, match='did you mean "train"'):
        TaskTable.from_cfg(cfg)


def test_entry_goes_over_the_defaults_of_its_kind(cfg):
    assert TaskTable.from_cfg(cfg).batch_sizes == {
        'a/cls': 8,
        'b/cls': 4,
        'b/loc': 2,
    }


def test_image_size_is_filled_in_without_touching_the_config(cfg):
    task = TaskTable.from_cfg(cfg)['a/cls']
    assert task.pipeline('train') == [dict(type='X', scale=(64, 64))]
    assert task.config['train_pipeline'] == [dict(type='X', scale='img_size')]


def test_paths_are_joined(cfg):
    task = TaskTable.from_cfg(cfg)['a/cls']
    assert task.ann_file('train') == 'root/train.csv'
    assert task.image_folder == 'root/images/'
    assert task.meta['task'] == 'a/cls'


def test_head_knows_its_loss(cfg):
    loss = dict(gamma=2.0, alpha=[0.25, 0.75])
    cfg['datasets']['a']['tasks']['cls'] = dict(ENTRY, focal=loss)
    assert TaskTable.from_cfg(cfg)['a/cls'].config['focal'] == loss


def test_annotations_may_go_up_within_the_data_root(cfg):
    splits = dict(train='lists/../train.csv', val=None)
    cfg['datasets']['a']['tasks']['cls'] = dict(ENTRY, splits=splits)
    task = TaskTable.from_cfg(cfg)['a/cls']
    assert task.ann_file('train') == 'root/lists/../train.csv'


def test_missing_split_is_named(cfg):
    with pytest.raises(UserError, match='"a" has no "val" split'):
        TaskTable.from_cfg(cfg)['a/cls'].ann_file('val')


def focal(cfg, value, **changes):
    """Give a classification task a focal loss."""
    cfg['datasets']['a']['tasks']['cls'].update(focal=value, **changes)


@pytest.mark.parametrize(
    'change, message',
    [
        (lambda c: c.pop('datasets'), 'no "datasets"'),
        (lambda c: c.update(tasks=['a/clz']), 'did you mean "a/cls"'),
        (lambda c: c.update(tasks=['a/cls', 'a/cls']), 'listed twice'),
        (
            lambda c: c['datasets']['a']['tasks'].update(lok=ENTRY),
            'Unknown key "lok" in datasets.a.tasks',
        ),
        (
            lambda c: c['datasets']['a'].update(dataroot=''),
            'did you mean "data_root"',
        ),
        (
            lambda c: c['task_defaults']['cls'].update(batchsize=3),
            'did you mean "batch_size"',
        ),
        (
            lambda c: c['task_defaults']['cls'].pop('img_size'),
            'datasets.a.tasks.cls has no "img_size"',
        ),
        (
            lambda c: c['datasets']['a']['tasks']['cls'].update(
                classes=('x', 'x')
            ),
            'distinct',
        ),
        (
            lambda c: c['datasets']['a']['tasks']['cls'].update(
                label_type='one-hot'
            ),
            'multi-label, multi-class',
        ),
        (
            lambda c: c['datasets']['b']['tasks']['loc'].update(
                class_groups=dict(g=('Nodule',))
            ),
            'class_groups is for seg tasks',
        ),
        (
            lambda c: c['datasets']['b']['tasks'].update(
                seg=dict(
                    c['datasets']['b']['tasks']['loc'],
                    class_groups=dict(g=('Nodul',)),
                    img_size=64,
                    batch_size=1,
                )
            ),
            'did you mean "Nodule"',
        ),
        (
            lambda c: c['datasets']['a']['tasks']['cls'].update(
                classes=('Nodule',), label_type='multi-class'
            ),
            'one class and exclusive labels',
        ),
        (
            lambda c: c['datasets']['a']['tasks']['cls'].update(
                pos_weight=[1.0] * 99
            ),
            'pos_weight has 99 values',
        ),
        (
            lambda c: c['datasets']['a']['tasks']['cls'].update(pos_weight=-2),
            'pos_weight is -2',
        ),
        (lambda c: focal(c, 2.0), r'focal is 2.0; it must be a dict or None'),
        (lambda c: focal(c, dict(gama=2.0)), 'did you mean "gamma"'),
        (lambda c: focal(c, dict(gamma=-1)), 'focal.gamma is -1'),
        (lambda c: focal(c, dict(alpha=1.5)), 'focal.alpha is 1.5'),
        (
            lambda c: focal(c, dict(alpha=[0.5])),
            'focal.alpha has 1 values for 2 classes',
        ),
        (
            lambda c: focal(c, dict(gamma=2.0), pos_weight=3.0),
            'both pos_weight and focal',
        ),
        (
            lambda c: focal(c, dict(gamma=2.0), label_type='multi-class'),
            'focal is for label_type="multi-label"',
        ),
        (
            lambda c: c['datasets']['b']['tasks']['loc'].update(focal=dict()),
            'focal is for cls tasks',
        ),
        *(
            (
                lambda c, path=path: c['datasets']['a']['tasks']['cls'][
                    'splits'
                ].update(test=path),
                f'splits.test is "{path}", which leads out of data_root;',
            )
            for path in ('/etc/passwd', '../x.csv', 'a/../../x.csv')
        ),
    ],
)
def test_mistakes_are_one_sentence(cfg, change, message):
    # Deep copies: ENTRY is shared between the tasks of CFG.
    for dataset in cfg['datasets'].values():
        dataset['tasks'] = copy.deepcopy(dataset['tasks'])
    change(cfg)
    with pytest.raises(UserError, match=message) as error:
        TaskTable.from_cfg(cfg)
    assert '\n' not in str(error.value)


def test_task_knows_its_name_and_meta():
    task = Task('d', 'seg', ('Lung',))
    assert task.name == 'd/seg'
    assert task.meta['classes'] == ['Lung']


def test_suggest_lists_what_is_known():
    assert suggest('zzz', ['b', 'a']) == 'known: a, b'
    assert suggest('bb', ['b', 'a']) == 'did you mean "b"? Known: a, b'


def rest(cfg, kind='cls', **entry):
    """Add a dataset without annotation."""
    entry = {'pseudo': f'b/{kind}', 'splits': dict(train='images/'), **entry}
    cfg['datasets']['rest'] = dict(data_root='r/', tasks={kind: entry})
    return cfg


def test_pseudo_labels_take_all_of_their_source(cfg):
    table = TaskTable.from_cfg(rest(cfg))
    assert table.names == ['a/cls', 'b/cls', 'b/loc']
    *_, task = table.in_cycle()
    assert task.name == 'rest/cls' and task.unlabelled
    assert task.classes == ENTRY['classes']
    assert task.config['batch_size'] == 4 and task.config['img_size'] == 64
    assert task.config['reader'] == dict(type='ImageReader')
    assert task.config['splits'] == dict(train='images/')
    assert task.meta['pseudo'] == 'b/cls'
    assert 'pseudo' not in table['b/cls'].meta
    assert 'rest/cls' not in table and not table['b/cls'].unlabelled
    assert table.head_of('rest/cls') == 'b/cls' == table.head_of('b/cls')
    assert [t.name for t in table.in_cycle(['rest/cls'])] == ['rest/cls']
    with pytest.raises(UserError, match='Unknown task "rest/clss"'):
        table.in_cycle(['rest/clss'])


def test_the_students_view_is_behind_the_teachers(cfg):
    steps = [dict(type='Load'), dict(type='Flip'), dict(type='Pack')]
    cfg['task_defaults']['cls']['train_pipeline'] = steps
    *_, task = TaskTable.from_cfg(rest(cfg)).in_cycle()
    names = [step['type'] for step in task.pipeline('train')]
    assert names[:3] == ['Load', 'Flip', 'TeacherView']
    assert names[-1] == 'Pack' and 'RandomGamma' in names[3:-1]
    # where a source has one, it stays where it is
    steps.insert(1, dict(type='fx_mm.TeacherView'))
    *_, task = TaskTable.from_cfg(rest(cfg)).in_cycle()
    names = [step['type'] for step in task.pipeline('train')]
    assert names[:3] == ['Load', 'fx_mm.TeacherView', 'Flip']
    assert 'TeacherView' not in names


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (dict(pseudo='b/clss'), 'no active cls task with a head; did you'),
        (dict(pseudo='b/loc'), 'no active cls task with a head'),
        (dict(pseudo='rest/cls'), 'no active cls task with a head'),
        (dict(classes=('x',)), 'cls.classes is for a task with a head'),
        (dict(loss_weight=2.0), 'so remove it'),
        (dict(train_pipeline=[dict(type='Load')]), 'has no TeacherView'),
        (dict(pseudo=3), 'pseudo'),
    ],
)
def test_pseudo_labels_that_make_no_sense(cfg, change, words):
    with pytest.raises(UserError, match=words):
        TaskTable.from_cfg(rest(cfg, **change))


def test_not_all_tasks_of_a_kind_take_the_head_of_one(cfg):
    cfg['task_defaults']['cls']['pseudo'] = 'b/cls'
    with pytest.raises(UserError, match='cls.pseudo would leave no task'):
        TaskTable.from_cfg(cfg)


def test_pseudo_labels_need_an_active_source(cfg):
    cfg['tasks'] = ['rest/cls', 'b/loc']
    with pytest.raises(UserError, match='there is no active cls task'):
        TaskTable.from_cfg(rest(cfg))
    cfg['tasks'] = ['b/loc']
    assert TaskTable.from_cfg(rest(cfg)).names == ['b/loc']
    for key in ('continual', 'federated'):
        with pytest.raises(UserError, match=f'{key} does not go with'):
            TaskTable.from_cfg(
                rest(dict(copy.deepcopy(CFG), **{key: dict(stages=[])}))
            )
