"""Averages of any width from stored ones, against plain sums."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import nn

from fx_mm.models.power_average import (
    PowerAverages,
    Profile,
    inner_products,
    mix,
    power_of,
)
from fx_mm.utils.errors import UserError

WIDTHS = (0.05, 0.1)


def density(profile, time):
    power, end = profile
    height = (power + 1) * time**power / end ** (power + 1)
    return np.where(time <= end, height, 0)


def integral(*profiles, power=0):
    """Integrate the product of profiles and a power of time."""

    def product(time):
        return time**power * float(
            np.prod([density(each, time) for each in profiles])
        )

    return quad(product, 0, min(each.end for each in profiles))[0]


@pytest.mark.parametrize('width', [0.01, 0.05, 0.1, 0.25, 0.28])
def test_the_profile_has_its_width(width):
    profile = Profile(power_of(width), 1.0)
    total, mean, square = (integral(profile, power=n) for n in (0, 1, 2))
    assert total == pytest.approx(1)
    assert (square - mean**2) ** 0.5 == pytest.approx(width)


def test_inner_products_are_integrals():
    profiles = [Profile(power_of(w), e) for w in WIDTHS for e in (3.0, 8.0)]
    found = inner_products(profiles, profiles[1:])
    for row, a in zip(found, profiles):
        for value, b in zip(row, profiles[1:]):
            assert value == pytest.approx(integral(a, b))


def test_the_mixture_is_the_closest_of_all():
    stored = [Profile(power_of(w), e) for w in WIDTHS for e in (0.6, 1.0)]
    wanted = Profile(power_of(0.07), 1.0)
    found = mix(stored, wanted)
    assert found.weights.sum() == pytest.approx(1)
    time = (np.arange(20000) + 0.5) / 20000
    columns = np.array([density(each, time) for each in stored])
    target = density(wanted, time)

    def distance(weights):
        gap = weights @ columns - target
        return np.linalg.norm(gap) / np.linalg.norm(target)

    assert found.error == pytest.approx(distance(found.weights), abs=1e-3)
    rng = np.random.default_rng(0)
    for _ in range(50):
        step = 0.05 * rng.normal(size=4)
        other = found.weights + step - step.mean()
        assert distance(other) > found.error
    # what is stored is found
    assert mix(stored, stored[3]).weights == pytest.approx([0, 0, 0, 1])
    assert mix(stored[:1], wanted).weights == pytest.approx([1])


class Walk(nn.Module):
    """Two parameters that move, and a buffer."""

    def __init__(self, seed=0):
        super().__init__()
        self.a = nn.Parameter(torch.zeros(4, dtype=torch.float64))
        self.b = nn.Parameter(torch.ones(2, 3, dtype=torch.float64))
        self.register_buffer('count', torch.zeros(1))
        self.generator = torch.Generator().manual_seed(seed)

    @torch.no_grad()
    def step(self):
        for value in self.parameters():
            noise = torch.randn(value.shape, generator=self.generator)
            value += 0.05 * noise + 0.01


def plain_sum(trajectory, width):
    """The average by its definition, as a sum of weighted steps."""
    power, updates = power_of(width), len(trajectory)
    weights = np.zeros(updates)
    for t in range(1, updates + 1):
        decay = (1 - 1 / t) ** (power + 1)
        weights *= decay
        weights[t - 1] += 1 - decay
    return np.einsum('t,t...->...', weights, trajectory)


@pytest.fixture(scope='module')
def walked():
    """A walk of 200 steps, and what was stored every 20."""
    model, averages = Walk(), PowerAverages(WIDTHS)
    trajectory, stored = [], []
    for step in range(1, 201):
        model.step()
        averages.update(model)
        trajectory.append(model.b.detach().numpy().copy())
        if step % 20 == 0:
            for each in averages.state_dict()['averages']:
                profile = Profile(power_of(each['width']), step)
                stored.append((profile, each['weights']['b'].numpy().copy()))
    return np.array(trajectory), stored


def test_updates_follow_the_definition(walked):
    trajectory, stored = walked
    for profile, value in stored[-2:] + stored[:2]:
        (width,) = [w for w in WIDTHS if power_of(w) == profile.power]
        expected = plain_sum(trajectory[: profile.end], width)
        np.testing.assert_allclose(value, expected, atol=1e-12)


@pytest.mark.parametrize('width', [0.05, 0.06, 0.08, 0.1, 0.15])
def test_any_width_is_made_of_what_was_stored(walked, width):
    trajectory, stored = walked
    profiles, values = zip(*stored)
    mixture = mix(profiles, Profile(power_of(width), 200))
    found = np.einsum('s,s...->...', mixture.weights, np.array(values))
    wanted = plain_sum(trajectory, width)
    apart = np.abs(plain_sum(trajectory, 0.02) - wanted).max()
    assert np.abs(found - wanted).max() < 0.02 * apart
    assert mixture.error < 0.03
    # the two newest alone come near between their widths
    few = mix(profiles[-2:], Profile(power_of(width), 200))
    assert few.error >= mixture.error - 1e-9


def test_it_goes_on_where_it_was_to_the_bit():
    one, other = PowerAverages(WIDTHS), PowerAverages(WIDTHS)
    model = Walk()
    for step in range(12):
        model.step()
        one.update(model)
        if step == 6:
            assert other.load_state_dict(one.state_dict(), model) == []
        elif step > 6:
            other.update(model)
    assert other.updates == one.updates == 12
    for ours, theirs in zip(
        one.state_dict()['averages'], other.state_dict()['averages']
    ):
        for name, value in ours['weights'].items():
            assert torch.equal(value, theirs['weights'][name])


def test_a_new_parameter_starts_with_its_value():
    model, averages = Walk(), PowerAverages([0.1])
    averages.update(model)
    state = averages.state_dict()
    model.c = nn.Parameter(torch.full((2,), 5.0))
    del model.b
    again = PowerAverages([0.1])
    assert again.load_state_dict(state, model) == ['c']
    weights = again.state_dict()['averages'][0]['weights']
    assert weights.keys() == {'a', 'c'} and (weights['c'] == 5).all()
    model.c.data.fill_(7)
    assert (weights['c'] == 5).all()


def test_widths_are_checked():
    for width in (0, 0.3, 'wide'):
        with pytest.raises(UserError, match='averages is .*in 0.01..0.28'):
            PowerAverages([width])
    with pytest.raises(UserError, match='has a width twice'):
        PowerAverages((0.1, 0.1))
