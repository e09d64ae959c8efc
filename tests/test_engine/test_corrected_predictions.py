"""Predict, export, change two boxes, import, train on them."""

import json
from pathlib import Path

import numpy as np
import pytest

from fx_mm.apis import build_runner
from fx_mm.datasets.readers import CocoReader

TASK = 'phantom_b/loc'
OPTIONS = {
    'tasks': [TASK, 'phantom_c/seg'],
    'train_cfg.max_cycles': 1,
    'cycle.max_batches': 1,
}


@pytest.mark.slow
@pytest.mark.parametrize('server', ['coco', 'labelstudio'])
def test_the_whole_loop(make_cfg, run, tmp_path, server):
    runner = build_runner(make_cfg('first', **OPTIONS))
    runner.train()
    first = Path(runner.work_dir)
    checkpoint = next(first.glob('iter_*.pth'))
    dataset = runner.tasks[TASK]
    img_dir = Path(dataset.data_root, dataset.img_dir)
    predictions = tmp_path / 'predictions'
    # an untrained model is sure of nothing
    code, _, err = run(
        *('predict', checkpoint, img_dir / 'train', '--no-pictures'),
        *('--out-dir', predictions, '--score-thr', '0'),
    )
    assert code == 0, err
    drafts = tmp_path / 'drafts'
    code, _, err = run(
        *('export_annotations', predictions, '--to', server),
        *('--min-score', 0, '--img-dir', img_dir, '--out-dir', drafts),
    )
    assert code == 0, err
    boxes = tmp_path / 'corrected/phantom_b_loc.json'
    if server == 'coco':
        # the boxes are read as they are
        content = json.loads((drafts / 'phantom_b_loc.json').read_text())
        _keep_two(content['annotations'], content['images'][0]['id'])
        for entry, box in zip(content['annotations'], ([1, 2, 30, 20],) * 2):
            entry['bbox'] = box
        boxes.parent.mkdir()
        boxes.write_text(json.dumps(content))
        masks = drafts / 'phantom_c_seg.json'
        args = (masks, '--out-dir', boxes.parent)
    else:
        tasks = json.loads((drafts / 'tasks.json').read_text())
        for task in tasks:
            (draft,) = task.pop('predictions')
            task['annotations'] = [dict(result=draft['result'])]
        result = tasks[0]['annotations'][0]['result']
        changed = [r for r in result if r['type'] == 'rectanglelabels'][:2]
        for region in changed:
            size = region['original_width'], region['original_height']
            sides = np.array([1, 2, 30, 20]) / (*size, *size) * 100
            names = ('x', 'y', 'width', 'height')
            region['value'].update(zip(names, sides.tolist()))
        others = [r for r in result if r['type'] != 'rectanglelabels']
        result[:] = [*changed, *others]
        for task in tasks[1:]:
            _without_boxes(task['annotations'][0]['result'])
        export = tmp_path / 'export.json'
        export.write_text(json.dumps(tasks))
        args = (export, '--labels', drafts / 'labels.xml')
        args += ('--out-dir', boxes.parent)
    code, _, err = run('import_annotations', *args)
    assert code == 0, err
    records = CocoReader()(str(boxes), str(img_dir), dataset)
    found = [box for record in records for box in record['boxes']]
    assert np.allclose(found, [[1, 2, 31, 22]] * 2, atol=1e-3)

    cfg = make_cfg('second', **OPTIONS, load_from=str(checkpoint))
    cfg.tasks = [TASK]
    hospital = cfg.datasets.phantom_b
    hospital.update(data_root=str(boxes.parent), img_dir=str(img_dir))
    hospital.tasks.loc.splits = dict.fromkeys(
        ('train', 'val', 'test'), boxes.name
    )
    runner = build_runner(cfg)
    runner.train()
    assert len(runner.train_dataloader.dataset.datasets[0]) == 12


def _keep_two(annotations, image):
    annotations[:] = [a for a in annotations if a['image_id'] == image][:2]


def _without_boxes(result):
    result[:] = [r for r in result if r['type'] != 'rectanglelabels']
