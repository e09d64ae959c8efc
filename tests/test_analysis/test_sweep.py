"""What a study wrote for its runs is corrected until one has started."""

import pytest
from mmengine.config import Config

from fx_mm.analysis import sweep
from fx_mm.analysis.sweep import (
    Run,
    has_started,
    write_initial_weights,
    write_run_config,
)
from fx_mm.utils.errors import UserError


@pytest.mark.parametrize('left', ['seed_0/run.log', 'results.json'])
def test_configs(tmp_path, left):
    folder = tmp_path / 'runs'
    file = tmp_path / 'a.py'
    assert not has_started(folder)
    write_run_config(Config(dict(a=1)), file, folder, file)
    (folder / 'seed_0').mkdir(parents=True)
    write_run_config(Config(dict(a=2)), file, folder, file)
    assert file.read_text() == 'a = 2\n'
    (folder / left).touch()
    assert has_started(folder)
    write_run_config(Config(dict(a=2)), file, folder, file)
    with pytest.raises(UserError, match='is another config than'):
        write_run_config(Config(dict(a=3)), file, folder, file)


def test_expanded_configs(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, 'expand_config', lambda cfg: cfg)
    run = Run(tmp_path / 'a.py', 0, tmp_path / 'run', 'a')
    run.check_unchanged(Config(dict(a=1)))
    run.check_unchanged(Config(dict(a=2)))
    run.log.touch()
    with pytest.raises(UserError, match='was run with another config'):
        run.check_unchanged(Config(dict(a=1)))


def test_initial_weights(tmp_path, monkeypatch):
    file = tmp_path / 'weights.pth'
    file.touch()
    (tmp_path / 'run.log').touch()
    write_initial_weights(Config(), 0, file, tmp_path)
    assert not file.stat().st_size, 'they stay'
    (tmp_path / 'run.log').unlink()

    def made(cfg):
        raise ValueError('made anew')

    monkeypatch.setattr(sweep, 'build_model', made)
    with pytest.raises(ValueError, match='made anew'):
        write_initial_weights(Config(), 0, file, tmp_path)
