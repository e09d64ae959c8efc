"""What tests that paste blocks of the docs share."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from mmengine.registry import DefaultScope

REPO = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder like a checkout, that may be written to."""
    (tmp_path / 'tools').symlink_to(REPO / 'tools')
    shutil.copytree(REPO / 'configs', tmp_path / 'configs')
    paths = [str(Path(sys.executable).parent), os.environ['PATH']]
    monkeypatch.setenv('PATH', os.pathsep.join(paths))
    monkeypatch.setenv('PYTHONPATH', str(REPO))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    DefaultScope._instance_dict.clear()
