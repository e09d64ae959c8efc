"""The options of tools/train.py that users of mmdet know."""

import json
import subprocess
import sys

import pytest
import torch
from small_run import REPO, small_cfg


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder with a config of one task, without validation and test."""
    folder = tmp_path_factory.mktemp('options')
    options = {
        'tasks': ['phantom_a/cls'],
        'train_cfg.max_cycles': 1,
        'optim_wrapper.amp_dtype': None,
    }
    cfg = small_cfg(folder / 'data', folder, **options)
    for stage in ('val', 'test'):
        cfg[f'{stage}_cfg'] = None
    for key in ('work_dir', 'experiment_name'):
        cfg.pop(key)
    cfg.dump(folder / 'config.py')
    return folder


@pytest.fixture
def train(run, folder, tmp_path):
    """Train with more options; return the checkpoint, or what went wrong."""

    def call(name, *words, code=0):
        work_dir = tmp_path / name
        end, out, err = run(
            'train', folder / 'config.py', '--work-dir', work_dir, *words
        )
        assert end == code, err
        if code:
            return err
        path = work_dir / (work_dir / 'last_checkpoint').read_text().strip()
        return torch.load(path, weights_only=False), path, out + err

    return call


def weights(checkpoint):
    return torch.cat(
        [v.flatten().double() for v in checkpoint['state_dict'].values()]
    )


def test_amp_is_bfloat16_on_a_cpu(train):
    by_config = ['--cfg-options', 'optim_wrapper.amp_dtype=bfloat16']
    plain, amp, explicit = (
        weights(train(name, *words)[0])
        for name, words in (
            ('plain', []),
            ('amp', ['--amp']),
            ('by_config', by_config),
        )
    )
    assert torch.equal(amp, explicit) and not torch.equal(amp, plain)


def test_auto_scale_lr(train):
    """A batch of 4, where the rate is meant for 2."""
    base = ['--cfg-options', 'auto_scale_lr.base_batch_size=2']
    message = train('none', '--auto-scale-lr', code=1)
    assert 'add auto_scale_lr = dict(base_batch_size=24)' in message
    rates = [
        train(name, *words)[0]['optimizer']['param_groups'][-1]['initial_lr']
        for name, words in (
            ('off', base),
            ('on', ['--auto-scale-lr', *base]),
        )
    ]
    assert rates[1] == pytest.approx(2 * rates[0])


@pytest.mark.slow
def test_resume(train):
    """The first cycle's rate is the same for one cycle and for two."""
    two = ['--cfg-options', 'train_cfg.max_cycles=2']
    first, path, _ = train('a')
    longer, _, _ = train('a', *two, '--resume')
    elsewhere, _, _ = train('b', *two, '--resume', path)
    whole, _, _ = train('c', *two)
    for checkpoint in (longer, elsewhere, whole):
        assert checkpoint['meta']['iter'] == 2 * first['meta']['iter']
        assert torch.equal(weights(checkpoint), weights(whole))
    fresh, _, text = train('d', '--resume')
    assert torch.equal(weights(fresh), weights(first))
    assert 'no checkpoint in' in text and 'starts from scratch' in text
    message = train('e', '--resume', path.with_name('no.pth'), code=1)
    assert 'no.pth", which does not exist' in message


@pytest.mark.slow
@pytest.mark.parametrize('processes', [1, 2])
def test_launcher(folder, tmp_path, processes):
    command = [
        *('bash', REPO / 'tools/dist_train.sh', folder / 'config.py'),
        *(processes, '--work-dir', tmp_path / 'work'),
    ]
    done = subprocess.run(
        list(map(str, command)),
        env={
            'PATH': f'{sys.exec_prefix}/bin:/usr/bin:/bin',
            'OMP_NUM_THREADS': '1',
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (scalars,) = (tmp_path / 'work').glob('*/vis_data/scalars.json')
    losses = [
        value
        for line in scalars.read_text().splitlines()
        for key, value in json.loads(line).items()
        if key.endswith('/loss')
    ]
    assert losses and all(value == value for value in losses)
