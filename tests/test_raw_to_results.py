"""From raw data, drawn as phantoms, to a trained model's results.

What a user types, on files of the official formats: prepare, audit, train.
"""

import csv
import json
import runpy
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from dino_options import dino_options
from mmengine.registry import DefaultScope

from fx_mm.phantom import RAW_LAYOUTS, write_raw
from fx_mm.phantom.raw_writer import draw_raw_cases

REPO = Path(__file__).parents[1]
CONFIG = REPO / 'configs/foundation_x/foundation-x_swin-b_150c.py'
STUDENT = {
    'backbone.depths': '(1,1,1,1)',
    'backbone.embed_dims': 16,
    'backbone.num_heads': '(1,2,4,8)',
    'backbone.init_cfg': None,
    **dino_options('localization', 64),
    'segmentation.decoder.channels': 16,
    'segmentation.decoder.pool_channels': 16,
    'segmentation.decoder.ppm_channels': 16,
}
OPTIONS = {
    **{f'model.student.{key}': value for key, value in STUDENT.items()},
    **{f'task_defaults.{k}.img_size': 64 for k in ('cls', 'loc', 'seg')},
    **{f'task_defaults.{k}.batch_size': 4 for k in ('cls', 'loc', 'seg')},
    'loader.num_workers': 0,
    'train_cfg.max_cycles': 1,
    'report': 'test',
}
SPLITS = ('train', 'val', 'test')


def options(**more):
    """Return the options that make a model tiny and a training short."""
    values = {**OPTIONS, **more}
    return ['--cfg-options', *(f'{k}={v}' for k, v in values.items())]


@pytest.fixture
def tool(monkeypatch):
    """Run a tool as the shell would, without paying for a new process."""

    def call(name, *args, code=0):
        path = str(REPO / 'tools' / f'{name}.py')
        monkeypatch.setattr(sys, 'argv', [path, *map(str, args)])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(path, run_name='__main__')
        assert (end.value.code or 0) == code

    yield call
    DefaultScope._instance_dict.clear()


def prepared_boxes(folder, names=SPLITS):
    """Return all boxes of COCO files as sorted (x1, y1, x2, y2)."""
    boxes = []
    for name in names:
        content = json.loads((folder / f'{name}.json').read_text())
        for entry in content['annotations']:
            x, y, w, h = entry['bbox']
            boxes.append((x, y, x + w, y + h))
    return sorted(boxes)


def true_boxes(name, *findings, **arguments):
    """Return the boxes of findings in the labelled images of a raw dataset."""
    return sorted(
        box
        for case in draw_raw_cases(name, **arguments)
        if case.split != 'unlabelled'
        for finding, box in case.phantom.boxes
        if finding in findings
    )


def result_tasks(work):
    """Name the tasks in the results table."""
    with (work / 'results.csv').open() as file:
        rows = list(csv.DictReader(file))
    return {f'{row["dataset"]}/{row["kind"]}' for row in rows}


@pytest.mark.slow
def test_two_datasets_to_results(tool, tmp_path):
    data, work = tmp_path / 'data', tmp_path / 'work'
    names = ('siim_acr', 'node21')
    tool(
        'dataset_converters/make_phantom',
        *('--raw', *names, '--root', data),
        *('--images', 30, '--size', 64),
    )
    for name in names:
        tool(
            'dataset_converters/prepare',
            *(name, '--data-root', data, '--workers', 1, '--check'),
        )

    drawn = dict(counts=30, size=64)
    assert prepared_boxes(data / 'siim_acr/prepared') == true_boxes(
        'siim_acr', 'Pneumothorax', **drawn
    )
    assert prepared_boxes(data / 'node21/prepared') == true_boxes(
        'node21', 'Nodule', **drawn
    )
    masks = []
    for part in SPLITS:
        with (data / f'siim_acr/prepared/{part}_masks.csv').open() as file:
            for row in csv.DictReader(file):
                if row['Pneumothorax']:
                    path = data / 'siim_acr/prepared' / row['Pneumothorax']
                    masks.append(cv2.imread(str(path), 0) > 0)
    truth = [
        case.phantom.masks['Pneumothorax']
        for case in draw_raw_cases('siim_acr', **drawn)
        if 'Pneumothorax' in case.findings and case.split == 'train'
    ]
    assert sorted(m.tobytes() for m in masks) == sorted(
        m.tobytes() for m in truth
    )

    tasks = [f'siim_acr/{kind}' for kind in ('cls', 'loc', 'seg')]
    tasks += ['node21/cls', 'node21/loc']
    common = [CONFIG, '--data-root', data, *options(tasks=','.join(tasks))]
    tool('audit_data', *common, '--workers', 1, '--out', tmp_path / 'audit')
    report = json.loads((tmp_path / 'audit/audit.json').read_text())
    assert report['ok'], report['findings']
    assert not report['counts'].get('error')
    tool('train', *common, '--work-dir', work)
    assert result_tasks(work) == set(tasks)


@pytest.mark.slow
def test_all_datasets_to_results_of_twenty_tasks(tool, tmp_path):
    data, work = tmp_path / 'data', tmp_path / 'work'
    tool(
        'dataset_converters/make_phantom',
        *('--raw', 'all', '--root', data),
    )
    for name in RAW_LAYOUTS:
        tool(
            'dataset_converters/prepare',
            *(name, '--data-root', data, '--check'),
        )

    for name, findings in (
        ('siim_acr', ('Pneumothorax',)),
        ('candid_ptx', ('Pneumothorax',)),
        ('node21', ('Nodule',)),
        ('rsna', ('Consolidation', 'Mass')),
        ('tbx11k', ('Consolidation', 'Nodule', 'Mass')),
    ):
        boxes = prepared_boxes(data / name / 'prepared')
        assert boxes == true_boxes(name, *findings), name
    # NIH's boxes are given for images of 1024 pixels; the phantoms have 128.
    nih = set(prepared_boxes(data / 'nih14/prepared'))
    drawn = [c for c in draw_raw_cases('nih14') if c.split == 'test']
    assert nih == {box for c in drawn for _, box in c.phantom.boxes}
    # The three readers' boxes, fused, lie close to the truth.
    folder = data / 'vindr_cxr/prepared'
    fused = prepared_boxes(folder, ['findings_train', 'findings_val'])
    truth = np.array(
        [
            box
            for case in draw_raw_cases('vindr_cxr')
            if case.split == 'train'
            for _, box in case.phantom.boxes
        ]
    )
    far = [np.abs(truth - box).max(axis=1).min() for box in fused]
    assert len(fused) >= len(truth) and np.median(far) < 1.5

    out = tmp_path / 'audit'
    common = [CONFIG, '--data-root', data, *options()]
    tool('audit_data', *common, '--out', out)
    report = json.loads((out / 'audit.json').read_text())
    audited = {name.split('/')[0] for name in report['tasks']}
    assert len(audited) == 11
    for name in set(RAW_LAYOUTS) - audited:
        config = REPO / f'configs/_base_/datasets/{name}.py'
        tool('audit_data', config, '--data-root', data, '--out', out / name)
    command = [REPO / 'tools/train.py', *common, '--work-dir', work]
    subprocess.run([sys.executable, *map(str, command)], check=True)
    tasks = result_tasks(work)
    assert len(tasks) == 20
    assert {task.split('/')[1] for task in tasks} == {'cls', 'loc', 'seg'}


@pytest.mark.slow
def test_audit_finds_a_planted_leak(tool, tmp_path):
    """COVIDx takes images of RSNA over, in other files."""
    data = tmp_path / 'data'
    write_raw('rsna', data)
    write_raw('covidx', data, borrowed=dict(rsna=4))
    for name in ('rsna', 'covidx'):
        tool('dataset_converters/prepare', name, '--data-root', data)
    base = REPO / 'configs/_base_'
    config = tmp_path / 'both.py'
    config.write_text(
        f"_base_ = ['{base}/datasets/rsna.py', '{base}/datasets/covidx.py', "
        f"'{base}/task_defaults.py', '{base}/default_runtime.py']\n"
        'datasets = dict(rsna={{_base_.rsna}}, covidx={{_base_.covidx}})\n'
    )
    common = [config, '--data-root', data, '--out', tmp_path / 'audit']
    tool('audit_data', *common, code=1)
    report = json.loads((tmp_path / 'audit/audit.json').read_text())
    assert not report['ok']
    copies = [
        finding
        for finding in report['findings']
        if finding['check'] == 'near-duplicates'
    ]
    # All four, and nothing else is taken for a copy.
    assert sum(finding['count'] for finding in copies) == 4
    assert 'leak' in {finding['level'] for finding in copies}
    for finding in copies:
        assert finding['places'][0] == 'covidx/test'
