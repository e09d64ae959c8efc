"""Calls of write_raw: what they repeat, refuse and plant."""

import hashlib

import numpy as np
import pytest

from fx_mm.phantom import RAW_LAYOUTS, write_raw
from fx_mm.phantom.class_meanings import means
from fx_mm.phantom.raw_writer import draw_raw_cases
from fx_mm.phantom.render import plan_findings
from fx_mm.preparation.raw.chestx_det import CLASSES as CHESTX_DET
from fx_mm.preparation.raw.chexpert import CLASSES as CHEXPERT
from fx_mm.preparation.raw.nih14 import CLASSES as NIH
from fx_mm.preparation.vindr import GLOBAL, LOCAL
from fx_mm.utils.errors import UserError

COUNTS = dict(train=3, val=1, test=1)
FOLDERS = sorted({layout.folder for layout in RAW_LAYOUTS.values()})


def checksums(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in sorted(folder.rglob('*'))
        if path.is_file() and not path.name.endswith('.lock')
    }


def test_too_few_images_are_refused(tmp_path):
    with pytest.raises(UserError, match='at least 4 images'):
        write_raw('rsna', tmp_path, 0)


@pytest.mark.parametrize('name', FOLDERS)
def test_same_arguments_same_bytes(tmp_path, name):
    first = write_raw(name, tmp_path / 'a', COUNTS, 32)
    second = write_raw(name, tmp_path / 'b', COUNTS, 32)
    assert checksums(first) == checksums(second)
    assert len(checksums(first)) > sum(COUNTS.values())


def test_no_image_twice():
    seen = [
        case.phantom.image.tobytes()
        for name in FOLDERS
        for case in draw_raw_cases(name, COUNTS, 32)
    ]
    assert len(set(seen)) == len(seen) >= 5 * len(FOLDERS)


@pytest.mark.parametrize(
    'classes',
    [CHEXPERT, NIH, CHESTX_DET, LOCAL + GLOBAL],
    ids=['chexpert', 'nih', 'chestx_det', 'vindr'],
)
def test_every_class_has_images_with_and_without(classes):
    plans = [set(plan_findings(5, 'b', 'train', i)) for i in range(36)]
    for name in classes:
        assert {means(name, plan) for plan in plans} == {False, True}, name


def test_second_call_does_nothing_and_force_replaces(tmp_path):
    folder = write_raw('tbx11k', tmp_path, COUNTS, 32)
    before = checksums(folder)
    (folder / 'prepared').mkdir()
    assert write_raw('tbx11k', tmp_path, COUNTS, 32) == folder
    assert (folder / 'prepared').exists()
    with pytest.raises(UserError, match='other arguments.*--force'):
        write_raw('tbx11k', tmp_path, COUNTS, 32, seed=1)
    write_raw('tbx11k', tmp_path, COUNTS, 32, seed=1, force=True)
    after = checksums(folder)
    assert after.keys() != before.keys() or after != before
    assert not (folder / 'prepared').exists()


def test_real_data_are_left_alone(tmp_path):
    (tmp_path / 'rsna').mkdir()
    (tmp_path / 'rsna' / 'stage_2_train_labels.csv').write_text('x')
    for force in (False, True):
        with pytest.raises(UserError, match='rsna holds data that are no'):
            write_raw('rsna', tmp_path, 10, 32, force=force)
    assert (tmp_path / 'rsna' / 'stage_2_train_labels.csv').exists()


def test_planted_leaks(tmp_path):
    counts = dict(train=4, val=1, test=3)
    rsna = draw_raw_cases('rsna', counts, 32)
    leaky = draw_raw_cases(
        'covidx', counts, 32, borrowed=dict(rsna=2, covidx=1)
    )
    clean = draw_raw_cases('covidx', counts, 32)
    tests = [case for case in leaky if case.split == 'test']
    for own, other in zip(tests, [rsna[0], rsna[1], leaky[0]]):
        assert np.array_equal(own.phantom.image, other.phantom.image)
    for own, other in zip(leaky[:-3], clean[:-3]):
        assert np.array_equal(own.phantom.image, other.phantom.image)
    folder = write_raw(
        'covidx', tmp_path, counts, 32, borrowed=dict(rsna=2, covidx=1)
    )
    assert len((folder / 'test.txt').read_text().splitlines()) == 3


@pytest.mark.parametrize(
    'arguments, message',
    [
        (('rsma',), 'no raw layout of "rsma"; choose one of: candid_ptx'),
        (('rsna', dict(train=9)), 'give a number of images, or one for each'),
        (('rsna', 60, 50), 'size of phantom images is 50.*multiple of 8'),
        (('rsna', 60, 32, -1), 'seed of phantom images is -1'),
        (('rsna', 60, 32, 0, dict(nih=1)), 'no raw layout of "nih"'),
    ],
)
def test_wrong_arguments(tmp_path, arguments, message):
    name, *others = arguments
    with pytest.raises(UserError, match=message):
        write_raw(name, tmp_path, *others)
    assert not list(tmp_path.iterdir())
