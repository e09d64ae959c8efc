"""Clipping, noise and what they are worth: ``make test-federated``."""

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.optimize import brentq
from scipy.stats import norm

pytest.importorskip('flwr')

from flwr.app import (  # noqa: E402
    ArrayRecord,
    ConfigRecord,
    Context,
    Message,
    RecordDict,
)
from flwr.supercore.task_identity import TaskIdentity  # noqa: E402

from fx_mm.federated import flower_site  # noqa: E402
from fx_mm.federated.flower_privacy import PrivacyLedger  # noqa: E402
from fx_mm.federated.launching import SETTINGS  # noqa: E402

START = dict(a=torch.zeros(5000), b=torch.ones(100, 50), c=torch.ones(3))


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Ask the site's app to train, which adds 3 to a and b and has no c."""
    for name in ('task_id', 'run_id', 'node_id'):
        monkeypatch.setattr(TaskIdentity, f'_{name}', 1)
    (tmp_path / 'flower').mkdir()

    def run(message, what, number):
        trained = {name: START[name] + 3 for name in 'ab'}
        save_file(trained, tmp_path / 'answer.safetensors')
        (tmp_path / 'images.json').write_text('{"backbone": 4}')
        return tmp_path

    monkeypatch.setattr(flower_site, '_run', run)

    def call(**privacy):
        told = dict(folder=str(tmp_path), privacy=privacy or None)
        monkeypatch.setenv(SETTINGS, json.dumps(told))
        content = RecordDict(
            dict(
                arrays=ArrayRecord(START),
                config=ConfigRecord({'server-round': 1}),
            )
        )
        message = Message(content, 1, 'train')
        message.metadata.__dict__['_message_id'] = '1'
        context = Context(1, 1, {}, RecordDict(), {})
        answer = flower_site.client_app(message, context).content
        if 'error' in answer.config_records:
            return None
        assert answer['metrics']['images/backbone'] == 4
        return answer['arrays'].to_torch_state_dict()

    return call


def settings(**changed):
    return (
        dict(clip=2.0, noise=0.0, delta=1e-5, max_epsilon=math.inf) | changed
    )


def test_without_it_a_site_sends_what_it_has(train, tmp_path):
    sent = train()
    assert sent.keys() == set('ab')
    assert torch.equal(sent['a'], START['a'] + 3)
    assert PrivacyLedger(tmp_path).epsilon(1e-5) == math.inf


def test_the_whole_update_is_scaled_down(train):
    sent = train(**settings())
    moved = {name: sent[name] - START[name] for name in START}
    whole = torch.cat([value.flatten() for value in moved.values()])
    assert whole.norm() == pytest.approx(2, rel=1e-4)
    assert torch.allclose(moved['a'], moved['a'][:1])
    assert torch.allclose(moved['a'], moved['b'].flatten(), rtol=1e-3)
    assert not moved['c'].any()  # the site has none
    sent = train(**settings(clip=1e6))
    assert torch.equal(sent['b'], START['b'] + 3)


def test_noise_is_new_in_each_answer(train):
    first, second = (train(**settings(noise=0.5)) for _ in range(2))
    scaled = 2 / math.sqrt(10000)
    for sent in (first, second):
        noise = sent['a'] - scaled
        assert noise.std() == pytest.approx(2 * 2 * 0.5, rel=0.05)
        assert abs(noise.mean()) < 0.15
    correlation = np.corrcoef(first['a'], second['a'])[0, 1]
    assert abs(correlation) < 0.06


def exact_epsilon(noise, count, delta):
    """Of Gaussian releases (Balle and Wang 2018, theorem 8)."""
    mu = math.sqrt(count) / noise

    def excess(epsilon):
        a, b = mu / 2 - epsilon / mu, -mu / 2 - epsilon / mu
        return norm.cdf(a) - math.exp(epsilon) * norm.cdf(b) - delta

    return brentq(excess, 1e-6, 500)


def test_epsilon_is_of_all_answers(train, tmp_path, capsys):
    for count in (1, 2, 3):
        train(**settings(noise=4.0))
        epsilon = PrivacyLedger(tmp_path).epsilon(1e-5)
        exact = exact_epsilon(4.0, count, 1e-5)
        assert exact <= epsilon <= 1.2 * exact
        said = capsys.readouterr().out
        assert f'epsilon {epsilon:.4g} at delta 1e-05 after {count}' in said
    # one that says more than others
    train(**settings(noise=1.0))
    assert PrivacyLedger(tmp_path).epsilon(1e-5) > exact_epsilon(1, 1, 1e-5)


def test_a_site_stops_before_it_gives_away_too_much(train, tmp_path, capsys):
    private = settings(noise=4.0, max_epsilon=2.2)
    answers = [train(**private) for _ in range(5)]
    given = [answer for answer in answers if answer is not None]
    assert 1 <= len(given) < 5 and answers[-1] is None
    assert 'would exceed --max-epsilon' in capsys.readouterr().out
    ledger = PrivacyLedger(tmp_path)
    assert len(ledger.sent) == len(given)
    assert ledger.epsilon(1e-5) <= 2.2 < ledger.epsilon(1e-5, [4.0])


def test_answers_without_noise_count(train):
    train()
    assert train(**settings(noise=4.0, max_epsilon=100)) is None
