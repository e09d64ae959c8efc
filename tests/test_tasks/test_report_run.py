"""The shipped configs of reports, cut to seconds."""

import csv
import json
import math
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from small_run import REPO, Watcher, small_cfg
from two_processes import train_in_two

from fx_mm.apis import FoundationXInferencer, build_runner, dry_run
from fx_mm.audit import audit
from fx_mm.engine.closing_report import ReportOptions
from fx_mm.utils.checkpoint import find_checkpoint, load_file
from fx_mm.utils.errors import UserError

pytestmark = pytest.mark.slow
REPORTS = REPO / 'configs/phantom/report_tiny_phantom.py'
QUESTIONS = REPO / 'configs/phantom/questions_tiny_phantom.py'
TASK, ASKS = 'phantom_c/report', 'phantom_c_questions/report'
SMALL = {
    f'model.student.reporting.{key}': value
    for key, value in dict(
        dims=16, heads=2, layers=1, depth=1, latents=3, max_tokens=40
    ).items()
}


@pytest.fixture(scope='module')
def make(tmp_path_factory):
    folder = tmp_path_factory.mktemp('reports')

    def make_cfg(work, config=REPORTS, **options):
        options = {'train_cfg.max_cycles': 1, **SMALL, **options}
        cfg = small_cfg(folder / 'data', folder / work, config, **options)
        if 'phantom_c_questions' in cfg.datasets:
            root = cfg.datasets.phantom_c.data_root
            cfg.datasets.phantom_c_questions.data_root = root
        return cfg

    return make_cfg


@pytest.fixture(scope='module')
def trained(make):
    tasks = ['phantom_c/cls', 'phantom_b/report', TASK]
    runner = build_runner(make('work', tasks=tasks))
    runner.report_options = ReportOptions(resamples=20, save_predictions=True)
    runner.train()
    return runner


@pytest.fixture(scope='module')
def answering(make):
    runner = build_runner(make('asked', QUESTIONS, tasks=[ASKS]))
    runner.report_options = ReportOptions(resamples=20)
    runner.train()
    return runner


def state_of(runner):
    return load_file(find_checkpoint(runner.work_dir))['state_dict']


def image_of(runner):
    root = Path(runner.cfg.datasets.phantom_c.data_root)
    return root / 'images/test/000000.png'


def test_the_report_has_columns_intervals_and_pictures(trained):
    work = Path(trained.work_dir)
    content = json.loads((work / 'results.json').read_text())
    found = content['metrics']['teacher'][TASK]
    ends = content['intervals']['teacher'][TASK]
    for key in ('F1', 'BLEU_4', 'ROUGE_L'):
        assert math.isfinite(found[key])
        assert ends[key]['low'] <= ends[key]['high']
    text = (work / 'results.md').read_text()
    assert '| Report F1, teacher |' in text
    assert 'rules with negation read out' in text
    for name in ('predictions.png', 'curves.png'):
        assert (work / name).stat().st_size > 1000
    path = work / 'predictions/test/teacher/phantom_c_report.npz'
    root = Path(trained.cfg.datasets.phantom_c.data_root)
    with open(root / 'test_reports.csv', newline='') as file:
        wanted = [row['report'] for row in csv.DictReader(file)]
    with np.load(path) as saved:
        assert saved['truth'].tolist() == wanted


def test_each_hospital_has_a_vocabulary_in_the_checkpoint(trained):
    state = state_of(trained)
    name = 'reporting.decoders.{}.tokenizer.merges'.format
    for owner in ('student', 'teacher'):
        ours, theirs = (
            state[f'{owner}.{name(f"phantom_{hospital}")}']
            for hospital in 'bc'
        )
        assert (ours[:10] >= 0).all() and not torch.equal(ours, theirs)


def test_lock_passes_teach_the_decoder_alone(make):
    seen = {}

    def watch(runner):
        seen[runner.train_loop.current_pass[:2]] = {
            name
            for name, p in runner.model.student.named_parameters()
            if p.requires_grad
        }

    options = {'tasks': [TASK], 'test_cfg': None, 'cycle.lock': 'paper'}
    runner = build_runner(make('locks', **options))
    runner.register_hook(Watcher(watch))
    runner.train()
    own = 'reporting.decoders.phantom_c.'
    assert all(name.startswith(own) for name in seen[TASK, 'lock'])
    free = seen[TASK, 'release']
    assert {'reporting.resampler.latents'} < free


@pytest.mark.parametrize('stop_at', [1, 3])
def test_a_stop_and_resume_change_no_bit(make, stop_at):
    def kick(runner):
        if runner.iter + 1 == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    options = dict(tasks=[TASK], test_cfg=None)
    whole = build_runner(make(f'whole{stop_at}', **options))
    whole.train()
    cfg = make(f'cut{stop_at}', **options)
    cut = build_runner(cfg)
    cut.register_hook(Watcher(kick))
    cut.train()
    assert cut.iter == stop_at
    resumed = build_runner(cfg, resume=True)
    resumed.train()
    wanted, found = state_of(whole), state_of(resumed)
    assert wanted.keys() == found.keys()
    assert all(torch.equal(wanted[key], found[key]) for key in wanted)


def test_an_image_gets_a_report(trained, run, tmp_path):
    path = find_checkpoint(trained.work_dir)
    image = image_of(trained)
    out = tmp_path / 'out'
    code, _, err = run('predict', path, image, '--out-dir', out)
    assert code == 0, err
    content = json.loads((out / '000000.json').read_text())
    found = content['tasks'][TASK]
    assert isinstance(found['report'], str)
    assert set(found['findings']) <= set(
        trained.cfg.datasets.phantom_c.tasks.cls.classes
    )
    header, row = csv.reader((out / 'reports.csv').open(newline=''))
    assert header == ['image', 'phantom_b/report', TASK, 'error']
    assert row[2] == found['report']
    assert (out / '000000.png').stat().st_size > 1000
    with pytest.raises(UserError, match='no task of this model answers'):
        FoundationXInferencer(trained.cfg, path, question='Why?')


def test_a_question_gets_an_answer(answering):
    path = find_checkpoint(answering.work_dir)
    asked = 'Is there a nodule?'
    infer = FoundationXInferencer(answering.cfg, path, question=asked)
    (result,) = infer(image_of(answering))
    content = result.to_dict()['tasks'][ASKS]
    assert content['question'] == asked and 'report' in content
    silent = FoundationXInferencer(answering.cfg, path)
    with pytest.raises(UserError, match='answers questions; ask one'):
        silent(image_of(answering))


def test_questions_have_their_metrics(answering):
    work = Path(answering.work_dir)
    content = json.loads((work / 'results.json').read_text())
    assert 0 <= content['metrics']['teacher'][ASKS]['closed'] <= 1
    assert 'drawn are patients' in (work / 'results.md').read_text()


@pytest.mark.parametrize('config', [REPORTS, QUESTIONS])
def test_it_is_measured_without_data(make, config):
    text = dry_run(build_runner(make('dry', config), synthetic=True))
    assert f'{TASK if config == REPORTS else ASKS:<24}release' in text


@pytest.mark.parametrize('config', [REPORTS, QUESTIONS])
def test_the_audit_has_nothing_to_say_of_texts(make, config, trained):
    cfg = make(f'audit_{config.stem}', config)
    content = audit(cfg, Path(cfg.work_dir) / 'audit')
    assert content['ok'], content['findings']


def test_two_processes_train_too(make, tmp_path):
    cfg = make('two', tasks=['phantom_b/report', TASK], test_cfg=None)
    state = train_in_two(cfg, tmp_path)
    assert all(value.isfinite().all() for value in state.values())
