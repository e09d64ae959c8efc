"""The tools, as far as they need no training."""

import pytest
import torch

from fx_mm.federated.files import save_weights
from fx_mm.federated.launching import keys_of_sites
from fx_mm.federated.server import FederatedServer, initial_model, newest_round
from fx_mm.utils.checkpoint import load_file
from fx_mm.utils.errors import UserError


def test_a_mistake_is_one_sentence(make_cfg, tmp_path, run):
    cfg = make_cfg()
    config, plain = tmp_path / 'config.py', tmp_path / 'plain.py'
    cfg.dump(config)
    cfg.pop('federated')
    cfg.dump(plain)
    site = ('federated/site', config)
    one = (*site, 'one', '--server', 'x:1')
    server = ('federated/server', config)
    for command, words in (
        (('federated/simulate', plain), 'The config has no "federated"'),
        ((*site, 'three', '--server', 'x:1'), 'use one of one, two'),
        (one, '--ca is None'),
        ((*one, '--noise', 1), '--noise needs --clip'),
        ((*one, '--clip', 1, '--max-epsilon', 5), 'needs --noise'),
        ((*one, '--clip', 0), '--clip is 0.0'),
        ((*one, '--clip', 'inf'), '--clip is inf'),
        ((*one, '--clip', 1, '--noise', 1e200), '--noise is 1e+200'),
        ((*one, '--clip', 1, '--noise', 'nan'), '--noise is nan'),
        ((*one, '--clip', 1, '--noise', 1, '--delta', 1), '--delta is 1.0'),
        ((*server, '--address', 'x:1'), '--ca is None'),
        ((*server, '--address', 'x', '--insecure'), 'write HOST:PORT'),
        ((*server, '--insecure', '--site-keys', tmp_path), 'needs TLS'),
    ):
        code, _, err = run(*command)
        assert code == 1 and words in err, err


def test_each_site_needs_a_key(tmp_path):
    (tmp_path / 'one.pub').touch()
    assert keys_of_sites(tmp_path, ['one']) == {'one': tmp_path / 'one.pub'}
    with pytest.raises(UserError, match=r'no .*two\.pub; make one of two'):
        keys_of_sites(tmp_path, ['one', 'two'])


def test_merge(make_cfg, tmp_path, run):
    cfg = make_cfg()
    config, out = tmp_path / 'config.py', tmp_path / 'merged.pth'
    cfg.dump(config)
    server = FederatedServer(cfg)
    files, own = [], {}
    for number, name in enumerate(server.plan.sites):
        model = initial_model(server.plan.site_config(name), seed=number + 1)
        state = model.state_dict()
        tasks = [task.meta for task in model.student.tasks]
        files.append(tmp_path / f'{name}.pth')
        save_weights(dict(state_dict=state, meta=dict(tasks=tasks)), files[-1])
        own |= {key: value for key, value in state.items() if 'heads' in key}
    command = ('federated/merge', config, newest_round(tmp_path / 'work'), out)
    code, _, err = run(*command, *files)
    assert code == 0, err
    merged = load_file(str(out))['state_dict']
    assert not any(key.startswith('teacher') for key in merged)
    for name, value in server.weights.items():
        assert torch.equal(merged[f'student.{name}'], value)
    heads = [key for key in own if key.startswith('student')]
    assert heads
    for key in heads:
        assert torch.equal(merged[key], own[key])
    code, _, err = run(*command, *files)
    assert code == 1 and 'exists already' in err
