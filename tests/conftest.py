"""What all tests share."""

import gc
import importlib.util
import logging
import os
import sys
from pathlib import Path

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope

from fx_mm.utils.cli import run_tool

TOOLS = Path(__file__).parents[1] / 'tools'
pytest_plugins = ['image_fixtures', 'dicom_fixtures']

# The tests' tensors are small: a second thread mostly waits, above all where
# other programs use the cores.
torch.set_num_threads(1)

# Triton reads it when it is imported, which fx_mm.models does.
if not torch.cuda.is_available():
    os.environ['TRITON_INTERPRET'] = '1'

# Flushing guards against a power cut, which no test can make, and a busy disk
# takes up to 20 s for it. Processes that tests start do flush.
os.fsync = lambda descriptor: None


def pytest_collection_finish():
    """Spare the garbage collector what lives to the end anyway."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)


@pytest.fixture(autouse=True, scope='module')
def clean_scope():
    """Other modules must not find a run's default scope."""
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture
def log(caplog):
    """What goes to the current log, as pytest's ``caplog``."""
    caplog.set_level(logging.INFO)
    logger = MMLogger.get_current_instance()
    # a run of another test may have left it silent
    level = logger.level
    logger.setLevel(min(level, logging.WARNING))
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)
    logger.setLevel(level)


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a tool as the shell would, without paying for a new process.

    Gives (exit code, standard output, standard error).
    """

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
