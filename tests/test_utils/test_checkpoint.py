"""Checkpoints: nothing in them runs, nothing half-written remains."""

import os
from pathlib import Path

import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader

from fx_mm.tasks import Task
from fx_mm.utils import checkpoint as module
from fx_mm.utils.errors import UserError


class Payload:
    """Unpickled carelessly, it makes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture
def plain(tmp_path):
    path = tmp_path / 'iter_3.pth'
    hub = dict(loss=HistoryBuffer([1.0], [1]))
    torch.save(dict(state_dict=dict(a=torch.ones(2)), hub=hub), path)
    return path


def test_a_checkpoint_of_mmengine_loads(plain):
    assert module.load_file(plain)['state_dict']['a'].tolist() == [1, 1]


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    path, planted = tmp_path / 'evil.pth', tmp_path / 'planted'
    torch.save(dict(state_dict={}, x=Payload(planted)), path)
    with pytest.raises(UserError, match=r'more than weights.*\(it needs p'):
        module.load_file(path)
    assert not planted.exists()
    module.load_file(path, trust=True)
    assert planted.exists()


def test_an_executable_config_is_refused(tmp_path):
    path = tmp_path / 'evil.pth'
    torch.save(dict(meta=dict(config='import os'), state_dict={}), path)
    with pytest.raises(UserError, match='execute as Python'):
        module.load_file(path)


def test_the_runners_loader_has_no_fallback(tmp_path):
    path, planted = tmp_path / 'evil.pth', tmp_path / 'planted'
    torch.save(Payload(planted), path)
    module.register_loaders()
    with pytest.raises(UserError):
        CheckpointLoader.load_checkpoint(str(path), map_location='cpu')
    assert not planted.exists()


@pytest.mark.parametrize('keep', [0, 10, 400])
def test_a_file_cut_short_is_one_sentence(plain, keep):
    plain.write_bytes(plain.read_bytes()[:keep])
    with pytest.raises(UserError, match='iter_3.pth') as error:
        module.load_file(plain)
    assert '\n' not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match='no.pth" does not exist'):
        module.load_file(tmp_path / 'no.pth')


def test_download_uses_the_copy_it_has(tmp_path, plain):
    copy = tmp_path / 'net-1a2b3c4d.pth'
    plain.rename(copy)
    loaded = module.load_url(
        'https://example.invalid/net-1a2b3c4d.pth?x=1',
        model_dir=str(tmp_path),
    )
    assert 'state_dict' in loaded


def test_two_urls_of_one_name_are_two_files(tmp_path, plain, monkeypatch):
    def download(url, path):
        torch.save({'w': torch.full((1,), float(url[8]))}, path)

    monkeypatch.setattr(torch.hub, 'download_url_to_file', download)
    for number in (1, 2, 1):
        url = f'https://{number}.invalid/resolve/main/model.pth'
        loaded = module.load_url(url, model_dir=str(tmp_path / 'm'))
        assert loaded['w'].item() == number
    assert len(list((tmp_path / 'm').iterdir())) == 2


def test_a_failed_download_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match='download it yourself'):
        module.load_url(
            'http://127.0.0.1:9/none.pth', model_dir=str(tmp_path / 'm')
        )


def test_the_newest_checkpoint_is_found_without_a_pointer(tmp_path):
    assert module.find_checkpoint(tmp_path) is None
    for i in (9, 10):
        (tmp_path / f'iter_{i}.pth').touch()
    assert Path(module.find_checkpoint(tmp_path)).name == 'iter_10.pth'
    (tmp_path / 'last_checkpoint').write_text('/moved/away/iter_9.pth')
    assert Path(module.find_checkpoint(tmp_path)).name == 'iter_9.pth'


def meta_of(*tasks):
    return dict(meta=dict(tasks=[task.meta for task in tasks]))


def test_heads_are_compared_by_name():
    mine = Task('d', 'cls', ('A', 'B'))
    module.check_meta(meta_of(mine), [mine])
    module.check_meta({}, [mine], need_all=True)
    with pytest.raises(UserError, match='"d/cls" in the checkpoint has'):
        module.check_meta(meta_of(Task('d', 'cls', ('B', 'A'))), [mine])
    other = meta_of(Task('e', 'cls', ('A',)))
    module.check_meta(other, [mine])
    with pytest.raises(UserError, match='no head for "d/cls"'):
        module.check_meta(other, [mine], need_all=True)


def test_config_diff_shows_only_what_differs():
    diff = module.config_diff('a = 1\nb = 2\n', 'a = 1\nb = 3\n')
    assert diff == '-b = 2\n+b = 3'


def test_weights_that_are_not_finite_are_refused():
    model = torch.nn.Linear(1, 1)
    broken = {**model.state_dict(), 'bias': torch.tensor([float('nan')])}
    with pytest.raises(UserError, match='"x.pth" has values in "bias" that'):
        module.load_weights(model, broken, 'x.pth')
    module.load_weights(model, model.state_dict(), 'x.pth')
