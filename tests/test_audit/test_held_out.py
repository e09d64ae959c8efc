"""Tasks without annotation train on nothing that is held out anywhere."""

from types import SimpleNamespace

import pytest

from fx_mm.audit import audit, quick_audit, warn_of_leaks
from fx_mm.audit.labels import find_label_oddities
from fx_mm.tasks import Task
from fx_mm.tasks.kinds import find_kind
from fx_mm.utils.errors import UserError

LOGGER = SimpleNamespace(warning=lambda text: None)


@pytest.fixture
def two(clean):
    """Two clean datasets with labels, whose images all could be listed."""
    clean.tasks = ['one/ssl']

    def cfg(names, tasks=('one/ssl',), **keys):
        path = clean.home('one') / 'list.txt'
        path.write_text('\n'.join(names))
        clean.datasets['one']['tasks']['ssl'] = dict(
            classes=['pixels'],
            reader=dict(type='ImageReader'),
            splits=dict(train='list.txt'),
        )
        cfg = clean.cfg(tasks=list(tasks), **keys)
        cfg.task_defaults = dict(ssl=dict(img_size=64, batch_size=2))
        return cfg

    cfg.data = clean
    return cfg


TRAIN = [f'a{i}.png' for i in range(9)]


def test_what_nobody_holds_out_is_fine(two):
    assert warn_of_leaks(two(TRAIN), (), LOGGER) == []


def test_held_out_images_of_inactive_tasks_are_refused(two):
    with pytest.raises(UserError, match='shared-images:one/train:one/val'):
        warn_of_leaks(two([*TRAIN, 'a9.png']), (), LOGGER)


def test_so_are_other_images_of_their_patients(two):
    data = two.data
    data.image(
        'one', 'new.png', data.image('one', 'a9.png', None).read_bytes()[:-1]
    )
    table = data.home('one') / 'train.csv'
    table.write_text(table.read_text().replace('a0.png,p', 'a0.png,u'))
    cfg = two(TRAIN)
    cfg.datasets.one.tasks.ssl.splits.train = 'train.csv'
    with pytest.raises(UserError, match='shared-patients:one/train:one/val'):
        warn_of_leaks(cfg, (), LOGGER)


def test_so_are_copies_under_another_name(two):
    data = two.data
    for dataset, name in (('one', 'a12.png'), ('two', 'a13.png')):
        content = (data.home(dataset) / 'images' / name).read_bytes()
        data.image('one', f'copy_{name}', content)
    cfg = two([*TRAIN, 'copy_a12.png'])
    with pytest.raises(UserError, match='same-content:one/train:one/test'):
        warn_of_leaks(cfg, (), LOGGER)
    cfg = two([*TRAIN, 'copy_a13.png'])
    with pytest.raises(UserError, match='same-content:one/train:two/test'):
        warn_of_leaks(cfg, (), LOGGER)


def test_files_of_one_size_are_no_copies(two):
    data = two.data
    content = (data.home('one') / 'images/a12.png').read_bytes()
    data.image('one', 'new.png', content[:-1] + b'x')
    assert warn_of_leaks(two([*TRAIN, 'new.png']), (), LOGGER) == []


def test_a_leak_can_be_allowed_by_name(two):
    allowed = dict(allow=['shared-images:one/train:one/val',
                          'shared-patients:one/train:one/val'])  # fmt: skip
    cfg = two([*TRAIN, 'a9.png'], audit=allowed)
    assert warn_of_leaks(cfg, (), LOGGER) == []


def test_leaks_of_other_tasks_are_warnings_as_before(two):
    """Only what the task without annotation reads is refused."""
    data = two.data
    table = data.home('two') / 'test.csv'
    table.write_text(table.read_text() + 'a0.png,p,0,1\n')
    cfg = two(TRAIN, ['one/ssl', 'two/cls'])
    cfg.task_defaults.cls = dict(img_size=64, batch_size=2)
    leaks = warn_of_leaks(cfg, (), LOGGER)
    assert 'shared-images:two/test:two/train' in {
        leak.name.replace('two/train:two/test', 'two/test:two/train')
        for leak in leaks
    }


def test_a_split_that_cannot_be_read_is_said(two):
    (two.data.home('two') / 'test.csv').unlink()
    findings = quick_audit(two(TRAIN))
    (found,) = [f for f in findings if f.check == 'unread-split']
    assert found.level == 'warning' and 'two/cls/test' in found.name
    assert 'nothing tells whether its images are trained on' in found.message


def test_an_inactive_entry_that_could_not_run_is_said(two):
    cfg = two(TRAIN)
    del cfg.datasets.two.tasks.cls.classes
    found = [f for f in quick_audit(cfg) if f.check == 'unread-split']
    assert {f.places for f in found} == {('two/cls/val',), ('two/cls/test',)}


def test_images_that_are_not_there_leak_nothing(two):
    data = two.data
    (data.home('two') / 'images/a12.png').unlink()
    findings = quick_audit(two(TRAIN))
    assert not [f for f in findings if f.check == 'missing-images']


def test_the_whole_audit_looks_at_them_too(two, tmp_path):
    data = two.data
    data.image('one', 'new.png', 255 - phantom_of(data, 'two', 'a13.png'))
    content = audit(two([*TRAIN, 'new.png']), tmp_path / 'audit', workers=1)
    leaks = [f['name'] for f in content['findings'] if f['level'] == 'leak']
    assert leaks == ['near-duplicates:one/train:two/test']
    assert set(content['tasks']) == {'one/ssl'}


def phantom_of(data, dataset, name):
    import cv2

    return cv2.imread(str(data.home(dataset) / 'images' / name), 0)


@pytest.mark.parametrize(
    'kind, split, said',
    [
        ('ssl', 'train', []),
        ('ssl', 'val', ['no-positives']),
        ('cls', 'train', ['no-positives']),
    ],
)
def test_labels_that_nothing_is_learned_of(kind, split, said):
    """Those of a validation count: a metric looks at them."""
    counts = dict(positive=0, negative=9, unknown=0)
    found = find_label_oddities(
        SimpleNamespace(
            name=f'a/{kind}/{split}',
            split=split,
            task=Task('a', kind, ('A',)),
            records=SimpleNamespace(has=lambda name: False),
        ),
        dict(classes=dict(A=counts), images=9),
    )
    assert [each.check for each in found] == said


def test_classes_need_a_reader_of_their_labels():
    kind = find_kind('ssl')
    images = dict(type='fx_mm.ImageReader')
    kind.check_entry('x', dict(classes=['pixels'], reader=images))
    labels = dict(type='CsvLabelReader')
    kind.check_entry('x', dict(classes=['A'], reader=labels))
    with pytest.raises(UserError, match='of which ImageReader reads no lab'):
        kind.check_entry('x', dict(classes=['A'], reader=images))
