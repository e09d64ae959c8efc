"""The tool that shows what training sees."""

import importlib.util
import sys
from pathlib import Path

import cv2
import pytest
from small_run import CONFIG, REPO

from fx_mm.utils.cli import run_tool

TOOL = REPO / 'tools/analysis_tools/browse_dataset.py'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder with a small config."""
    folder = tmp_path_factory.mktemp('work')
    folder.joinpath('small.py').write_text(
        f'_base_ = {str(CONFIG)!r}\n'
        'phantom = dict(size=64, counts=dict(train=12, val=4, test=4))\n'
        'work_dir = "runs/small"\n'
        'tasks = ["phantom_a/cls", "phantom_b/loc"]\n'
        'loader = dict(num_workers=0)\n'
    )
    return folder


@pytest.fixture
def run(folder, monkeypatch):
    """Run the tool in the folder; return its exit code."""
    spec = importlib.util.spec_from_file_location('browse_tool', TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    monkeypatch.chdir(folder)
    monkeypatch.delenv('DISPLAY', raising=False)
    monkeypatch.delenv('WAYLAND_DISPLAY', raising=False)
    shown = []
    monkeypatch.setattr(
        tool.Visualizer,
        'show',
        lambda self, picture, name, seconds: shown.append((name, seconds)),
    )

    def call(*arguments):
        monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            run_tool(tool.main)
        return ended.value.code, shown

    return call


def test_pictures_of_each_task(run, folder, capsys):
    code, shown = run('small.py', '--output-dir', 'seen', '--show-number', 3)
    assert code == 0 and not shown
    names = ['phantom_a_cls.png', 'phantom_b_loc.png']
    assert sorted(p.name for p in folder.joinpath('seen').iterdir()) == names
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [str(Path('seen', name)) for name in names]
    first = [cv2.imread(str(folder / 'seen' / name)) for name in names]
    # the same again, and others by another seed
    assert run('small.py', '--show-number', 3)[0] == 0
    work_dir = folder / 'runs/small/browse'
    for name, picture in zip(names, first):
        assert (cv2.imread(str(work_dir / name)) == picture).all()
    seed = ['--cfg-options', 'randomness.seed=5', 'tasks=["phantom_a/cls"]']
    assert run('small.py', '--show-number', 3, *seed)[0] == 0
    assert (cv2.imread(str(work_dir / names[0])) != first[0]).any()


def test_a_window_where_there_is_a_display(run, monkeypatch):
    monkeypatch.setenv('DISPLAY', ':9')
    options = ['--show-number', 1, '--show-interval', 0.5]
    code, shown = run('small.py', *options)
    assert code == 0
    assert shown == [('phantom_a_cls.png', 0.5), ('phantom_b_loc.png', 0.5)]
    shown.clear()
    assert run('small.py', *options, '--not-show') == (0, [])


def test_a_dataset_alone_is_no_experiment(run, capsys):
    assert run(REPO / 'configs/_base_/datasets/phantom_a.py')[0] == 1
    message = capsys.readouterr().err
    assert len(message.strip().splitlines()) == 1
    assert 'no train_cfg' in message
