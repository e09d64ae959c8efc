"""Clipping, noise and what they are worth."""

import json
import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import norm

from fx_mm.federated.privacy import LEDGER, Privacy, PrivacyLedger
from fx_mm.utils.errors import UserError

START = dict(a=torch.zeros(5000), b=torch.ones(100, 50))
TRAINED = {name: value + 3 for name, value in START.items()}


def privacy(clip=2.0, noise=0.0, delta=1e-5, max_epsilon=math.inf):
    return Privacy(clip, noise, delta, max_epsilon)


def test_the_whole_update_is_scaled_down():
    sent = privacy().protect(START, TRAINED)
    moved = [(sent[name] - START[name]).flatten() for name in START]
    assert torch.cat(moved).norm() == pytest.approx(2, rel=1e-4)
    assert torch.allclose(moved[0], moved[1], rtol=1e-3)
    assert sent['b'].dtype == torch.float32
    for clip in (1e6, 300.001):  # longer than it is
        sent = privacy(clip).protect(START, TRAINED)
        assert torch.equal(sent['b'], TRAINED['b'])
    # no update at all
    assert torch.equal(privacy().protect(START, START)['a'], START['a'])


def test_noise_is_new_in_each_answer():
    scaled = 2 / math.sqrt(10000)
    first, second = (
        privacy(noise=0.5).protect(START, TRAINED)['a'] - scaled
        for _ in range(2)
    )
    for noise in (first, second):
        assert noise.std() == pytest.approx(2 * 2 * 0.5, rel=0.05)
        assert abs(noise.mean()) < 0.15
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.06


def test_large_weights_do_not_round_updates_apart():
    start = dict(a=torch.full((10**6,), 16384.0))
    clipped = 0.996 / math.sqrt(10**6)
    trained = dict(a=start['a'] + 1)
    # nearest to what it should be, where adding in float32 gives the next
    sent = privacy(clip=0.996).protect(start, trained)['a']
    wanted = (start['a'].double() + clipped).float()
    assert torch.equal(sent, wanted)


@pytest.mark.parametrize('value', [math.nan, math.inf])
def test_what_cannot_be_clipped_is_not_sent(value):
    trained = dict(TRAINED, a=TRAINED['a'].clone())
    trained['a'][7] = value
    with pytest.raises(UserError, match='not finite; nothing was sent'):
        privacy(noise=1.0).protect(START, trained)


def test_the_ledger_counts_over_runs(tmp_path):
    ledger = PrivacyLedger(tmp_path)
    assert ledger.epsilon(1e-5) == 0
    other = PrivacyLedger(tmp_path)
    for each in (ledger, other):
        each.add(4.0)
    assert PrivacyLedger(tmp_path).sent == [4.0, 4.0]
    other.add(0.0)
    ledger = PrivacyLedger(tmp_path)
    assert ledger.epsilon(1e-5) == math.inf
    with pytest.raises(UserError, match='come to epsilon inf, above'):
        privacy(noise=4.0, max_epsilon=100).check_budget(ledger)


def test_a_training_without_ledger_was_without_noise(tmp_path):
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_1.pth'))
    (tmp_path / 'iter_1.pth').touch()
    assert PrivacyLedger(tmp_path).epsilon(1e-5) == math.inf


@pytest.mark.parametrize(
    'content',
    ['', '{bad', '{}', '[1]', '{"noise": [NaN]}', '{"noise": [-1]}', '3'],
)
def test_a_damaged_ledger_is_refused(tmp_path, content):
    (tmp_path / LEDGER).write_text(content)
    with pytest.raises(UserError, match=r'privacy.json is damaged'):
        PrivacyLedger(tmp_path)


def exact_epsilon(noise, count, delta):
    """Of Gaussian releases (Balle and Wang 2018, theorem 8)."""
    mu = math.sqrt(count) / noise

    def excess(epsilon):
        a, b = mu / 2 - epsilon / mu, -mu / 2 - epsilon / mu
        return norm.cdf(a) - math.exp(epsilon) * norm.cdf(b) - delta

    return brentq(excess, 1e-6, 500)


def test_epsilon_is_of_all_answers(tmp_path):
    pytest.importorskip('flwr')
    ledger = PrivacyLedger(tmp_path)
    for count in (1, 2, 3):
        ledger.add(4.0)
        exact = exact_epsilon(4.0, count, 1e-5)
        assert exact <= ledger.epsilon(1e-5) <= 1.2 * exact
    # one that says more than the others
    ledger.add(1.0)
    assert ledger.epsilon(1e-5) > exact_epsilon(1.0, 1, 1e-5)


def test_a_site_stops_before_it_gives_away_too_much(tmp_path):
    pytest.importorskip('flwr')
    private, ledger = privacy(noise=4.0, max_epsilon=2.2), None
    with pytest.raises(UserError, match='above --max-epsilon 2.2'):
        for _ in range(9):
            ledger = PrivacyLedger(tmp_path)
            private.check_budget(ledger)
            ledger.add(private.noise)
    assert 1 <= len(ledger.sent) < 9
    assert ledger.epsilon(1e-5) <= 2.2 < ledger.epsilon(1e-5, [4.0])
    assert json.loads((tmp_path / LEDGER).read_text()) == {
        'noise': ledger.sent
    }


def test_without_an_accountant_it_is_one_sentence(tmp_path):
    try:
        import flwr  # noqa: F401
    except ImportError:
        with pytest.raises(UserError, match=r'accountant of flwr\[dp\]'):
            PrivacyLedger(tmp_path).epsilon(1e-5, [1.0])
