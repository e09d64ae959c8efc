"""The shipped regression config, cut to seconds."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_run import REPO, small_cfg

from fx_mm.apis import FoundationXInferencer, build_runner, dry_run
from fx_mm.audit import audit
from fx_mm.evaluation import BenchmarkTable
from fx_mm.phantom import TARGETS, ensure_phantom, render_phantom
from fx_mm.tasks import Task
from fx_mm.utils.checkpoint import find_checkpoint, load_file
from fx_mm.utils.errors import UserError

CONFIG = REPO / 'configs/phantom/regression_tiny_phantom.py'
TASK = 'phantom_c/reg'
(RATIO,) = TARGETS


@pytest.fixture(scope='module')
def make_cfg(tmp_path_factory):
    folder = tmp_path_factory.mktemp('regression')

    def make(work, **options):
        root = folder / 'data'
        return small_cfg(root, folder / work, CONFIG, **options)

    return make


@pytest.fixture(scope='module')
def trained(make_cfg):
    cfg = make_cfg('work')
    cfg.model.student.regression.loss = dict(type='MaskedGaussianLoss')
    cfg.save_predictions = True
    runner = build_runner(cfg)
    runner.report_options = replace(runner.report_options, resamples=20)
    runner.train()
    return runner


def folder_of(cfg):
    return Path(cfg.datasets.phantom_c.data_root)


def test_the_scale_is_that_of_the_training_split(trained):
    ratios = [
        render_phantom(0, 'c', 'train', i, size=64).values[RATIO]
        for i in range(12)
    ]
    state = load_file(find_checkpoint(trained.work_dir))['state_dict']
    for owner in ('student', 'teacher'):
        head = f'{owner}.regression.heads.phantom_c'
        mean, std = state[f'{head}.mean'], state[f'{head}.std']
        assert mean.item() == pytest.approx(np.mean(ratios), abs=1e-4)
        assert std.item() == pytest.approx(np.std(ratios), abs=1e-4)


def test_the_report_has_its_columns_intervals_and_plots(trained):
    work = Path(trained.work_dir)
    content = json.loads((work / 'results.json').read_text())
    found = content['metrics']['teacher'][TASK]
    ends = content['intervals']['teacher'][TASK]
    for key in ('R2', 'Pearson', 'MAE', f'MAE/{RATIO}'):
        assert math.isfinite(found[key])
        assert ends[key]['low'] <= ends[key]['high']
    assert found['MAE'] == found[f'MAE/{RATIO}'] < 1
    with np.load(work / 'predictions/test/teacher/phantom_c_reg.npz') as saved:
        gaps = np.abs(saved['pred'] - saved['truth'])
    assert gaps.mean() == pytest.approx(found['MAE'])
    text = (work / 'results.md').read_text()
    assert '| Reg R2, teacher |' in text and '| Reg MAE, teacher |' in text
    for name in (
        'plots/teacher/phantom_c_reg.png',
        'predictions.png',
        'curves.png',
    ):
        assert (work / name).stat().st_size > 1000


def test_an_error_in_a_unit_has_no_mean_over_datasets():
    tasks = [Task(name, 'reg', ('age',)) for name in 'ab']
    values = {f'{t.name}/{k}': 0.5 for t in tasks for k in ('R2', 'MAE')}
    _, rows = BenchmarkTable(tasks, values).summary()
    assert rows[-1][0] == 'mean'
    assert rows[-1][1] == '0.500' and rows[-1][3] == '-'


def test_an_image_gets_a_number_with_its_deviation(trained, make_cfg):
    path = find_checkpoint(trained.work_dir)
    infer = FoundationXInferencer(trained.cfg, path)
    image = folder_of(trained.cfg) / 'images/test/000000.png'
    (result,) = infer(image)
    content = result.to_dict()['tasks'][TASK]
    assert content['values'][RATIO] == pytest.approx(
        result[TASK].numbers[RATIO], abs=1e-5
    )
    assert 0 < content['std'][RATIO] < 1
    assert result.draw().ndim == 3


def test_numbers_have_a_table_of_their_own(trained, run, tmp_path):
    images = folder_of(trained.cfg) / 'images/test'
    path = find_checkpoint(trained.work_dir)
    out = tmp_path / 'out'
    code, _, err = run(
        *('predict', path, '--no-pictures', images, '--out-dir', out)
    )
    assert code == 0, err
    assert not (out / 'probabilities.csv').exists()
    header, *rows = (out / 'values.csv').read_text().splitlines()
    assert header == f'image,{TASK}/{RATIO},error'
    assert [row.split(',')[0] for row in rows] == [
        str(images / f'00000{i}.png') for i in range(4)
    ]
    content = json.loads((out / '000000.json').read_text())
    value = content['tasks'][TASK]['values'][RATIO]
    assert float(rows[0].split(',')[1]) == pytest.approx(value, abs=1e-5)


def test_a_constant_target_stops_before_the_training(make_cfg):
    cfg = make_cfg('constant')
    ensure_phantom(**cfg.phantom)
    table = folder_of(cfg) / 'constant.csv'
    lines = (folder_of(cfg) / 'train_values.csv').read_text().splitlines()
    rows = [f'{line.split(",")[0]},0.5' for line in lines[1:]]
    table.write_text('\n'.join([lines[0], *rows]))
    cfg.datasets.phantom_c.tasks.reg.splits.train = table.name
    with pytest.raises(UserError, match=f'"{RATIO}" is always 0.5'):
        build_runner(cfg)
    table.unlink()


def test_it_is_measured_without_data(make_cfg):
    text = dry_run(build_runner(make_cfg('dry'), synthetic=True))
    assert f'{TASK:<24}lock' in text and f'{TASK:<24}release' in text


def test_the_audit_has_nothing_to_say_of_numbers(make_cfg):
    cfg = make_cfg('audit')
    ensure_phantom(**cfg.phantom)
    content = audit(cfg, Path(cfg.work_dir) / 'audit')
    assert content['ok']
    names = [finding['name'] for finding in content['findings']]
    assert not any('label' in name or 'positive' in name for name in names)
    assert content['tasks'][TASK]['train']['images'] == 12
