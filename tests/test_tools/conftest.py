"""Run a tool as the shell would, without paying for a new process."""

import importlib.util
import sys
from pathlib import Path

import pytest
from mmengine.registry import DefaultScope

from fx_mm.utils.cli import run_tool

TOOLS = Path(__file__).parents[2] / 'tools'


@pytest.fixture
def run(monkeypatch, capsys):
    """Give (exit code, standard output, standard error) of a tool."""

    def call(tool, *args):
        path = TOOLS / f'{tool}.py'
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(sys, 'argv', [str(path), *map(str, args)])
        with pytest.raises(SystemExit) as end:
            run_tool(module.main)
        out = capsys.readouterr()
        return end.value.code, out.out, out.err

    yield call
    DefaultScope._instance_dict.clear()
