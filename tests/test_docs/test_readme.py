"""The pages of getting started are run as they stand, block by block.

But for the tutorial, which has a file of its own.
"""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from bash_blocks import run_bash

from fx_mm.apis import build_runner, dry_run, load_config

REPO = Path(__file__).parents[2]
BLOCK = re.compile(r'^```bash\n(.*?)^```$', re.MULTILINE | re.DOTALL)
COUNTS = dict(train=8, val=4, test=4)
TIMEOUT = 500


def blocks(page='add_a_dataset'):
    return BLOCK.findall((REPO / 'docs' / f'{page}.md').read_text())


def test_every_page_with_commands_is_run():
    room = yaml.load(
        (REPO / 'mkdocs.yml').read_text().split('\nnav:')[1], yaml.SafeLoader
    )[0]['Getting started']
    found = {page.removesuffix('.md') for page in room}
    run = {'install', 'add_a_dataset', 'tutorial'}
    assert {page for page in found if blocks(page)} == run


def test_the_readme_is_short():
    text = (REPO / 'README.md').read_text()
    assert text.count('\n') < 150
    assert BLOCK.findall(text) and 'make demo' in text and '.png' in text


@pytest.mark.slow
def test_installation(monkeypatch):
    """In a checkout that is set up both commands return at once."""
    if (REPO / '.venv').is_symlink() or not (REPO / '.venv').is_dir():
        pytest.skip('the set-up is that of another checkout')
    monkeypatch.chdir(REPO)
    block, check = blocks('install')
    assert 'mmcv operators' in run_bash(block, TIMEOUT)
    assert 'gpu_check.py' in check  # which test_gpu_check.py runs


def draw(root):
    """Draw the files that the section names."""
    (root / 'images').mkdir(parents=True)
    rng = np.random.default_rng(0)
    for split, count in COUNTS.items():
        lines, images, boxes = ['image,Nodule,Effusion'], [], []
        for i in range(count):
            name = f'{split}_{i}.png'
            image = rng.integers(0, 100, (64, 64), np.uint8)
            if i % 2:
                image[10:30, 20:50] = 255
                box = dict(image_id=i, category_id=1, bbox=[20, 10, 30, 20])
                boxes.append(dict(box, id=i))
            cv2.imwrite(str(root / 'images' / name), image)
            lines.append(f'{name},{i % 2},{i // 2 % 2}')
            images.append(dict(id=i, file_name=name, width=64, height=64))
        (root / f'{split}.csv').write_text('\n'.join(lines))
        coco = dict(
            images=images,
            annotations=boxes,
            categories=[dict(id=1, name='Nodule')],
        )
        (root / f'{split}.json').write_text(json.dumps(coco))


@pytest.fixture
def hospital(checkout):
    """A checkout with the folder that the blocks are about."""
    draw(checkout / 'data' / 'my_hospital')
    return checkout


def test_three_blocks_make_an_experiment(hospital):
    dataset, experiment, commands = blocks()
    assert dataset.count('\n') <= 42  # 40 lines, and those of the shell
    run_bash(dataset, TIMEOUT)
    run_bash(experiment, TIMEOUT)
    (config,) = re.findall(r'^config=(\S+)$', commands, re.MULTILINE)
    cfg = load_config(config)
    (work,) = re.findall(r'^work=(\S+)$', commands, re.MULTILINE)
    assert cfg.work_dir == work
    cfg.log_level, cfg.loader.num_workers = 'ERROR', 0
    table = dry_run(build_runner(cfg))
    assert 'my_hospital/cls ' in table and 'my_hospital/loc ' in table


@pytest.mark.slow
def test_three_blocks_train_a_model(hospital):
    for block in blocks():
        run_bash(block, TIMEOUT)
    work = hospital / 'work_dirs/foundation-x_my_hospital'
    assert (work / 'results.md').is_file()
    assert len(list((work / 'predictions').glob('*.json'))) == 16


@pytest.mark.slow
def test_the_tool_writes_what_trains(hospital):
    words = 'new_experiment.py data/my_hospital --name mine'
    run_bash(f'python tools/{words}', TIMEOUT)
    config = 'configs/mine/foundation-x_mine.py'
    options = '--cfg-options train_cfg.max_cycles=1'
    run_bash(f'python tools/train.py {config} {options}', TIMEOUT)
    assert (hospital / 'work_dirs/foundation-x_mine/results.md').is_file()
