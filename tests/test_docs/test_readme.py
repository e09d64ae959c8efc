"""README's "Add a dataset" is run as it stands, block by block."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from bash_blocks import run_bash

from fx_mm.apis import build_runner, dry_run, load_config

REPO = Path(__file__).parents[2]
SECTION = re.compile(r'^## Add a dataset$(.*?)^## ', re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r'^```bash\n(.*?)^```$', re.MULTILINE | re.DOTALL)
COUNTS = dict(train=8, val=4, test=4)
TIMEOUT = 500


def blocks():
    (section,) = SECTION.findall((REPO / 'README.md').read_text())
    return BLOCK.findall(section)


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
