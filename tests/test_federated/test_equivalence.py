"""A federation is, where it must be, an ordinary training."""

import copy

import pytest
import torch
from mmengine.hooks import Hook

from fx_mm.apis import build_runner
from fx_mm.federated.exchange import take, travelling
from fx_mm.federated.round_hook import RoundHook
from fx_mm.federated.server import FederatedServer, initial_model
from fx_mm.federated.site import Site
from fx_mm.utils.checkpoint import find_checkpoint, load_file

SGD = {
    'optim_wrapper.optimizer': dict(type='SGD', lr=0.1, _delete_=True),
    'optim_wrapper.paramwise_cfg': None,
    'optim_wrapper.clip_grad': None,
    'param_scheduler': None,
    'cycle.max_batches': 1,
    'train_cfg.max_cycles': 1,
}
TASKS = ['phantom_a/cls', 'phantom_b/loc', 'phantom_c/seg']


def newest(folder):
    return load_file(find_checkpoint(folder))


def assert_equal(one, two):
    assert one.keys() == two.keys()
    assert [k for k in one if not torch.equal(one[k], two[k])] == []


@pytest.mark.parametrize(
    ('tasks', 'federated'),
    [
        (['phantom_a/cls'], {}),
        pytest.param(TASKS, {}, marks=pytest.mark.slow),
        pytest.param(TASKS, dict(unit='kind'), marks=pytest.mark.slow),
    ],
)
def test_one_site_is_the_ordinary_training(
    make_cfg, train, tmp_path, tasks, federated
):
    datasets = [task.split('/')[0] for task in tasks]
    options = {'tasks': tasks, 'cycle.max_batches': 2}
    cfg = make_cfg('work', dict(all=datasets), options, **federated)
    plain = copy.deepcopy(cfg)
    plain.pop('federated')
    plain.work_dir = str(tmp_path / 'plain')
    build_runner(plain).train()
    server = train(cfg)
    site, ordinary = newest(tmp_path / 'work/all'), newest(tmp_path / 'plain')
    assert_equal(site['state_dict'], ordinary['state_dict'])
    for name, value in server.weights.items():
        assert torch.equal(value, ordinary['state_dict'][f'student.{name}'])
    ours, theirs = (x['optimizer']['state'] for x in (site, ordinary))
    assert ours.keys() == theirs.keys() and ours
    for key, state in ours.items():
        assert_equal(state, theirs[key])


class Batches(Hook):
    """Keep the batches of a training."""

    def __init__(self):
        self.seen = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.seen.append(copy.deepcopy(data_batch))


def test_one_step_at_two_sites_is_one_on_the_union(make_cfg, monkeypatch):
    options = dict(SGD, **{'model.student.backbone.drop_path_rate': 0.0})
    cfg = make_cfg(options=options)
    server = FederatedServer(cfg)
    batches, updates = Batches(), {}
    start = RoundHook.before_train

    def watched(hook, runner):
        start(hook, runner)
        runner.register_hook(batches)

    monkeypatch.setattr(RoundHook, 'before_train', watched)
    for name in server.plan.sites:
        updates[name] = Site(cfg, name).train(0, server.weights)
    # the first cycle of a config without locks has one step each
    one, two = batches.seen
    assert {u.total for u in updates.values()} == {4}
    server.close_round(updates, {})

    union = initial_model(cfg, seed=0)
    # heads are the sites' own, so their values must be those of the sites
    for name in server.plan.sites:
        first = initial_model(server.plan.site_config(name), seed=0)
        union.load_state_dict(first.state_dict(), strict=False)
    names = travelling(union.student)
    start_weights = take(initial_model(cfg, seed=0).student, names)
    union.student.load_state_dict(start_weights, strict=False)
    union.reset_teacher()
    union.train()
    losses = []
    for batch in (one, two):
        data = union.data_preprocessor(batch, True)
        loss, _ = union.parse_losses(union(**data, mode='loss'))
        losses.append(loss)
    (sum(losses) / 2).backward()
    torch.optim.SGD(union.student.parameters(), lr=0.1).step()
    ours = union.student.state_dict()
    moved = 0
    for name, value in server.weights.items():
        assert (value - ours[name]).abs().max() <= 1e-6, name
        moved = max(moved, (value - start_weights[name]).abs().max())
    assert moved > 1e-4


@pytest.mark.slow
def test_two_equal_sites_are_one(make_cfg, train, tmp_path):
    one, two = (
        make_cfg(
            name,
            sites,
            {'tasks': None, 'cycle.max_batches': 1, 'train_cfg.max_cycles': 2},
        )
        for name, sites in (
            ('one', dict(a=['phantom_a'])),
            ('two', dict(a=['phantom_a'], b=['twin'])),
        )
    )
    for cfg in (one, two):
        cfg.datasets.twin = copy.deepcopy(cfg.datasets.phantom_a)
    one.tasks, two.tasks = ['phantom_a/cls'], ['phantom_a/cls', 'twin/cls']
    double = train(two)
    # one head fewer draws other initial weights
    start = take(initial_model(two, seed=0).student, double.groups)
    single = train(one, start=start)
    assert_equal(single.weights, double.weights)
    a, b = (newest(tmp_path / f'two/{site}')['state_dict'] for site in 'ab')
    heads = [key for key in a if 'phantom_a' in key]
    assert heads
    for key in heads:
        assert torch.equal(a[key], b[key.replace('phantom_a', 'twin')])
