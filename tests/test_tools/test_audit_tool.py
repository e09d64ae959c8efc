"""The audit tool on phantom data and on planted leaks."""

import json
import shutil
from pathlib import Path

import cv2
import pytest

from fx_mm.phantom import ensure_phantom

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/phantom/foundation-x_tiny_phantom.py'


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp('phantom')
    counts = dict(train=12, val=3, test=4)
    ensure_phantom(folder / 'data/phantom', counts=counts, workers=1)
    return folder / 'data'


@pytest.fixture
def call(run, written, tmp_path):
    """Audit a copy of the phantom data."""
    shutil.copytree(written, tmp_path / 'data')

    def audit(*args, config=CONFIG):
        out = tmp_path / 'out'
        code, text, error = run(
            'audit_data', config, '--data-root', tmp_path / 'data',
            '--out', out, '--workers', 1, *args,
        )  # fmt: skip
        report = out / 'audit.json'
        content = json.loads(report.read_text()) if report.exists() else None
        return code, text + error, content

    return audit


@pytest.mark.slow
def test_clean_data(call):
    code, text, content = call()
    assert code == 0, text
    assert content['counts']['leak'] == content['counts']['error'] == 0
    assert 'The audit passes: 0 leaks' in text
    assert content['scanned'] == dict(images=57, masks=19)
    assert list(content['tasks']) == [
        'phantom_a/cls', 'phantom_b/cls', 'phantom_b/loc',
        'phantom_c/cls', 'phantom_c/loc', 'phantom_c/seg',
    ]  # fmt: skip


@pytest.mark.slow
def test_planted_copy_and_allowing_it(call, tmp_path):
    easy = tmp_path / 'data/phantom/easy'
    source = easy / 'hospital_a/images/train/000000.png'
    target = easy / 'hospital_b/images/test/000001.png'
    image = cv2.imread(str(source), cv2.IMREAD_GRAYSCALE)
    small = cv2.resize(image, (112, 112), interpolation=cv2.INTER_AREA)
    assert cv2.imwrite(str(target), cv2.resize(small, (128, 128)))
    some = ('--tasks', 'phantom_a/cls', 'phantom_b/cls')
    code, text, content = call(*some)
    name = 'near-duplicates:phantom_a/train:phantom_b/test'
    assert code == 1
    assert 'The audit FAILS: 1 leaks' in text
    assert [
        f['name'] for f in content['findings'] if f['level'] == 'leak'
    ] == [name]
    allow = ('--allow', 'phantom_a:phantom_b', 'rsna:nih14')
    code, text, content = call(*some, *allow)
    assert code == 0
    assert content['allowed'] == [name]
    assert 'allowed, but not found: rsna:nih14' in text
    option = f'audit.allow=["{name}"]'
    assert call(*some, '--cfg-options', option)[0] == 0
    assert call(*some, '--quick')[0] == 0


def test_test_images_in_training(call, tmp_path):
    home = tmp_path / 'data/phantom/easy/hospital_a'
    shutil.copy(home / 'test.csv', home / 'train.csv')
    code, text, content = call('--quick')
    assert code == 1
    assert 'same-split:phantom_a/train:phantom_a/test' in text


@pytest.mark.slow
@pytest.mark.slow
def test_unreadable_image_is_named(call, tmp_path):
    easy = tmp_path / 'data/phantom/easy'
    (easy / 'hospital_a/images/train/000002.png').write_bytes(b'broken')
    code, text, content = call()
    assert code == 0
    (finding,) = [
        f for f in content['findings'] if f['check'] == 'unreadable-images'
    ]
    assert 'train/000002.png' in finding['examples'][0]


@pytest.mark.slow
def test_data_that_are_not_there(call, tmp_path):
    shutil.rmtree(tmp_path / 'data/phantom/easy/hospital_b')
    code, text, content = call()
    assert code == 1
    assert content['counts']['error'] == 6
    assert 'unread-split:phantom_b/loc/test' in text


def test_file_of_one_dataset(call):
    config = ROOT / 'configs/_base_/datasets/phantom_c.py'
    code, text, content = call(config=config)
    assert code == 0, text
    assert list(content['tasks']) == [
        'phantom_c/cls', 'phantom_c/loc', 'phantom_c/seg', 'phantom_c/reg',
    ]  # fmt: skip


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (('--tasks', 'phantom_a/clss'), 'Unknown task "phantom_a/clss"'),
        (('--workers', '0'), '--workers is 0; it begins at 1'),
        (('--cfg-options', 'audit.allowed=1'), 'did you mean "allow"'),
    ],
)
def test_mistakes(call, args, message):
    code, text, _ = call(*args)
    assert code == 1
    assert message in text
