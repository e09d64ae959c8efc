"""The average against numpy's, and the server's steps against formulas."""

import numpy as np
import pytest
import torch

from fx_mm.federated.averaging import average
from fx_mm.federated.exchange import Update
from fx_mm.federated.server import FederatedServer
from fx_mm.utils.errors import UserError

GROUPS = dict(w='backbone', e='localization/encoder')


def draw(seed, names=('w', 'e')):
    generator = torch.Generator().manual_seed(seed)
    return {n: torch.randn(3, 5, generator=generator) for n in names}


def test_what_nobody_taught_stays():
    current = draw(0)
    mean = average(current, GROUPS, [Update(draw(1), dict(backbone=0))])
    assert all(mean[name] is current[name] for name in current)


def test_each_group_has_its_own_weights():
    updates = [
        Update(draw(1), {'backbone': 30, 'localization/encoder': 6}),
        Update(draw(2), {'backbone': 10, 'localization/encoder': 18}),
        Update(draw(3, ['w']), {'backbone': 7}),
    ]
    mean = average(draw(0), GROUPS, updates)
    for name, counts in (('w', (30, 10, 7)), ('e', (6, 18))):
        values = [
            u.weights[name].double().numpy() for u in updates[: len(counts)]
        ]
        expected = np.average(values, axis=0, weights=counts)
        assert np.allclose(mean[name].numpy(), expected, atol=1e-7)
        assert mean[name].dtype == torch.float32


@pytest.mark.parametrize('count', [1, 2, 3, 7])
def test_of_equal_values_it_is_that_value(count):
    value = draw(1)
    updates = [Update(value, dict(backbone=n + 1)) for n in range(count)]
    mean = average(draw(0), GROUPS, updates)
    assert torch.equal(mean['w'], value['w'])


def updates_of(server, seeds, images=4):
    """Made-up answers, of the size of small steps."""
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        weights = {
            name: value + 0.01 * torch.randn(value.shape, generator=generator)
            for name, value in server.weights.items()
        }
        yield Update(weights, dict.fromkeys(server.groups.values(), images))


def run(server, rounds, sites=('one', 'two')):
    for number in range(rounds):
        seeds = [10 * number + i for i in range(len(sites))]
        updates = dict(zip(sites, updates_of(server, seeds)))
        server.close_round(updates, {})


def test_server_momentum(make_cfg):
    cfg = make_cfg(server_optimizer=dict(type='SGD', lr=1.0, momentum=0.9))
    server = FederatedServer(cfg)
    name = next(iter(server.weights))
    moved, weights = torch.zeros(()), server.weights[name]
    for number in range(2):
        updates = list(updates_of(server, [number, 5 + number]))
        mean = (updates[0].weights[name] + updates[1].weights[name]) / 2
        server.close_round(dict(zip(('one', 'two'), updates)), {})
        # FedAvgM: v = 0.9 v + delta, w = w + v
        moved = 0.9 * moved + (mean - weights)
        weights = weights + moved
        assert torch.allclose(server.weights[name], weights, atol=1e-7)


@pytest.mark.parametrize(
    'optimizer',
    [
        None,
        dict(type='Adam', lr=0.01, betas=(0.9, 0.99), eps=1e-3),
    ],
)
def test_a_server_started_again_changes_no_bit(make_cfg, optimizer):
    how = dict(server_optimizer=optimizer, server_teacher=0.8)
    options = {'train_cfg.max_cycles': 3}
    whole = FederatedServer(make_cfg('whole', options=options, **how))
    run(whole, 3)
    cut = make_cfg('cut', options=options, **how)
    run(FederatedServer(cut), 2)
    again = FederatedServer(cut, resume=True)
    assert again.number == 2 and len(again.history) == 2
    again.close_round(
        dict(zip(('one', 'two'), updates_of(again, [20, 21]))), {}
    )
    assert again.done
    for ours, theirs in (
        (again.weights, whole.weights),
        (again.teacher, whole.teacher),
    ):
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    files = sorted(f.name for f in again.plan.work_dir.glob('round_*'))
    assert files == ['round_0002.pth', 'round_0003.pth']


def test_server_refuses(make_cfg):
    server = FederatedServer(make_cfg())
    good = next(updates_of(server, [1]))
    server.check('one', good)
    name = next(iter(server.weights))
    bad_value = good.weights[name].clone()
    bad_value.view(-1)[0] = float('nan')
    for weights, images, words in (
        ({**good.weights, name: bad_value}, {}, 'one sent values of.*finite'),
        ({**good.weights, name: torch.zeros(2)}, {}, 'has shape'),
        ({**good.weights, 'x': torch.zeros(2)}, {}, 'another model: it has'),
        ({}, {}, 'another model'),
        (good.weights, {'heads': 3}, 'no group that travels'),
        (good.weights, {'backbone': -1}, '-1 images'),
    ):
        with pytest.raises(UserError, match=words):
            server.check('one', Update(weights, images))
    with pytest.raises(UserError, match='use one of one, two'):
        server.check('three', good)
    with pytest.raises(UserError, match='no result of any site'):
        server.close_round({}, {'one': 'one is not connected.'})
    with pytest.raises(UserError, match='finished rounds'):
        FederatedServer(make_cfg())
