"""The chain on real files: official formats to right predictions.

Runs where FX_MM_REAL_DATA names the folder of the samples.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fx_mm.image_io.xray import read_xray

REPO = Path(__file__).parents[1]
CONFIG = 'configs/real/foundation-x_tiny_real-overfit.py'
REAL = os.environ.get('FX_MM_REAL_DATA')
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.slow,
    pytest.mark.skipif(not REAL, reason='FX_MM_REAL_DATA is not set'),
]


def tool(name, *args):
    """Run a tool in a process of its own; give its completed process."""
    done = subprocess.run(
        [sys.executable, f'tools/{name}.py', *map(str, args)],
        cwd=REPO,
        env=dict(os.environ, PYTHONPATH=str(REPO), OMP_NUM_THREADS='1'),
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def losses(work):
    """Return the loss of each task by pass."""
    out = {}
    for path in work.glob('*/vis_data/scalars.json'):
        for line in path.read_text().splitlines():
            for key, value in json.loads(line).items():
                if key.endswith('/loss'):
                    out.setdefault(key, []).append(value)
    return out


def predictions(work, out, *images):
    """Predict with the last checkpoint; give the JSON of each image."""
    checkpoint = work / (work / 'last_checkpoint').read_text().strip()
    found = {}
    for image in images:
        folder = out / Path(image).stem
        tool(
            *('predict', CONFIG, checkpoint, image),
            *('--out-dir', folder, '--predict-on', 'student'),
        )
        (path,) = folder.glob('*.json')
        assert list(folder.glob('*.png'))
        found[image] = json.loads(path.read_text())
    return found


@pytest.fixture(scope='module')
def short_run(tmp_path_factory):
    work = tmp_path_factory.mktemp('short')
    options = ['train_cfg.max_cycles=12']
    tool('train', CONFIG, '--work-dir', work, '--cfg-options', *options)
    return work


def test_everything_loads_trains_and_the_losses_fall(short_run):
    series = losses(short_run)
    assert len(series) == 3
    for name, values in series.items():
        assert len(values) == 12
        assert np.mean(values[-3:]) < np.mean(values[:3]), name
    for name in ('results.json', 'predictions.png', 'curves.png'):
        assert (short_run / name).is_file()


def test_predict_reads_dicom_both_ways_png_and_jpeg(short_run, tmp_path):
    real = Path(REAL)
    dicom = next((real / 'rsna').glob('1.2*.dcm'))
    inverse = real / 'rsna/monochrome1.dcm'
    assert np.array_equal(read_xray(dicom), 255 - read_xray(inverse))
    images = [
        dicom,
        inverse,
        real / 'nih/00000001_000.png',
        real / 'lungs/1.jpg',
    ]
    found = predictions(short_run, tmp_path, *images)
    for result in found.values():
        text = json.dumps(result)
        for task in ('real_nih/cls', 'real_tbx11k/loc', 'real_lungs/seg'):
            assert task in text


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_few_real_images_are_learnt_by_heart(tmp_path):
    work = tmp_path / 'work'
    tool('train', CONFIG, '--work-dir', work)
    metrics = json.loads((work / 'results.json').read_text())['metrics']
    assert metrics['student']['real_lungs/seg']['Dice_pos'] >= 0.95
    assert metrics['student']['real_tbx11k/loc']['mAP_40'] >= 0.90
    images = [
        Path(REAL) / f'nih/{n}_000.png' for n in ('00000001', '00027426')
    ]
    found = predictions(work, tmp_path / 'out', *images)
    for image, right in zip(images, [{'Cardiomegaly'}, truth_of(images[1])]):
        scores = found[image]['tasks']['real_nih/cls']['probabilities']
        assert {name for name, p in scores.items() if p > 0.5} == right


def truth_of(image):
    """Return the findings of the official table."""
    import csv

    with open(Path(REAL) / 'nih/Data_Entry_2017_v2020.csv') as file:
        rows = {r['Image Index']: r for r in csv.DictReader(file)}
    findings = set(rows[image.name]['Finding Labels'].split('|'))
    return findings - {'No Finding'}
