"""Rounds of sites: what travels, what stays, what a cut changes."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from fx_mm.apis import build_runner
from fx_mm.config import FederatedPlan
from fx_mm.evaluation.report.variant_comparison import read_headlines
from fx_mm.federated import site as site_module
from fx_mm.federated.exchange import Update, pack, travelling, unpack
from fx_mm.federated.merging import merge
from fx_mm.federated.round_hook import ProximalTerm
from fx_mm.federated.server import FederatedServer, initial_model, newest_round
from fx_mm.federated.site import FINAL, Site
from fx_mm.models.loading import build_model, load_all_weights
from fx_mm.utils.checkpoint import find_checkpoint, load_file
from fx_mm.utils.errors import UserError

THREE = dict(one=['phantom_a'], two=['phantom_b'], three=['phantom_c'])
ALL = {
    'tasks': [
        'phantom_a/cls',
        'phantom_b/loc',
        'phantom_c/loc',
        'phantom_c/seg',
    ]
}


def test_what_travels_belongs_to_no_task(make_cfg):
    cfg = make_cfg(sites=THREE, options=ALL)
    student = initial_model(cfg, 0).student
    names = travelling(student)
    owners = [g for g in student.param_groups() if g.task is not None]
    assert owners
    state = student.state_dict()
    for name, value in state.items():
        own = any(group.owns(name) for group in owners)
        assert (name in names) == (not own and value.is_floating_point())
    assert not any('phantom' in name for name in names)
    less = travelling(student, norms=False)
    kept = set(names) - set(less)
    assert 'backbone.stages.0.blocks.0.norm1.weight' in kept
    assert all(state[name].dim() == 1 for name in kept)
    one = travelling(
        build_model(FederatedPlan(cfg).site_config('one')).student
    )
    assert set(one) < set(names)
    assert not any(n.startswith(('localization', 'segm')) for n in one)


def test_weights_come_back_from_bytes():
    weights = dict(b=torch.randn(2, 3), a=torch.randn(4))
    back = unpack(pack(weights), 'one')
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], weights[name]) for name in weights)
    with pytest.raises(UserError, match='one sent no weights'):
        unpack(b'anything', 'one')


def test_proximal_term_is_the_gradient_of_its_loss(make_cfg):
    student = initial_model(make_cfg(), 0).student
    student.lock(student.freeze_plan('phantom_a/cls', 'lock'))
    weights = {
        name: value + 0.1
        for name, value in student.state_dict().items()
        if name in travelling(student)
    }
    student.lock(())
    parameters = dict(student.named_parameters())
    shared = [
        (parameters[n], w) for n, w in weights.items() if n in parameters
    ]
    loss = sum((p - w).square().sum() for p, w in shared) * 0.3 / 2
    expected = torch.autograd.grad(loss, [p for p, _ in shared])
    for parameter in parameters.values():
        parameter.grad = torch.ones_like(parameter)
    locked = shared[0][0]
    locked.grad = None
    ProximalTerm(student, weights, 0.3)()
    for (parameter, _), gradient in zip(shared, expected):
        if parameter is not locked:
            assert torch.allclose(parameter.grad, 1 + gradient)
    assert locked.grad is None
    head = next(p for n, p in parameters.items() if 'heads.phantom_a' in n)
    assert torch.equal(head.grad, torch.ones_like(head))


def test_sites_of_a_round_are_always_the_same(make_cfg):
    options = {**ALL, 'train_cfg.max_cycles': 30}
    plan = FederatedPlan(make_cfg(sites=THREE, options=options, fraction=0.67))
    drawn = [plan.chosen(number) for number in range(30)]
    assert drawn == [plan.chosen(number) for number in range(30)]
    assert {len(names) for names in drawn} == {2}
    for site in THREE:
        assert 10 <= sum(site in names for names in drawn) <= 28


def test_a_round_of_a_kind_is_at_the_sites_that_have_it(make_cfg):
    options = {
        'tasks': [
            *('phantom_a/cls', 'phantom_b/cls', 'phantom_b/loc'),
            *('phantom_c/cls', 'phantom_c/loc', 'phantom_c/seg'),
        ],
        'train_cfg.max_cycles': 2,
    }
    sites = dict(one=['phantom_a'], two=['phantom_b', 'phantom_c'])
    plan = FederatedPlan(make_cfg(sites=sites, options=options, unit='kind'))
    assert plan.rounds == 6 and plan.kinds == ['cls', 'loc', 'seg']
    assert plan.chosen(0) == plan.chosen(3) == ['one', 'two']
    assert plan.chosen(2) == plan.chosen(4) == ['two']
    # each site is drawn for each kind that it has
    with pytest.raises(UserError, match=r'0.5 draws one \(cls\) in none'):
        FederatedPlan(
            make_cfg(sites=sites, options=options, unit='kind', fraction=0.5)
        )
    # passes of a kind follow each other
    assert plan.site_config('two').tasks == [
        *('phantom_b/cls', 'phantom_c/cls'),
        *('phantom_b/loc', 'phantom_c/loc', 'phantom_c/seg'),
    ]


@pytest.mark.parametrize(
    ('federated', 'words'),
    [
        (dict(sites=dict(a=['phantom_x'])), 'no dataset of an active task'),
        (dict(sites=dict(a=['phantom_a'])), 'no site for "phantom_b"'),
        (
            dict(sites=dict(a=['phantom_a', 'phantom_b'], b=['phantom_b'])),
            'a dataset is at one site',
        ),
        (
            dict(sites=dict(a=['phantom_a', 'phantom_b'], b=[])),
            'sites.b has no dataset',
        ),
        (dict(cycles_per_round=3), 'no multiple of'),
        (dict(unit='pass'), "federated.unit is 'pass'; use one"),
        (dict(unit='kind', cycles_per_round=1), 'leave one out'),
        (dict(fraction=2), 'fraction is 2'),
        (dict(proximal=-1), 'proximal is -1'),
        (dict(server_optimizer=dict(lr=1)), 'has no "type"'),
        (dict(server_teacher=1.5), 'server_teacher is 1.5'),
        (dict(rounds=3), 'Unknown key "rounds"'),
        (dict(sites={}), 'sites is empty'),
    ],
)
def test_config_is_refused(make_cfg, federated, words):
    cfg = make_cfg(**federated)
    with pytest.raises(UserError, match=words):
        FederatedPlan(cfg)
    with pytest.raises(UserError, match=words):
        build_runner(cfg)  # of the central training too


@pytest.mark.parametrize(
    ('cycle', 'words'),
    [
        (dict(order='mixed'), "cycle.order='mixed' does not"),
        (dict(lock=[('phantom_a/cls', 'release')]), 'cycle.lock='),
    ],
)
def test_rounds_of_kinds_need_kinds_in_order(make_cfg, cycle, words):
    cfg = make_cfg(unit='kind')
    cfg.cycle.update(cycle)
    with pytest.raises(UserError, match=words):
        FederatedPlan(cfg)


def test_a_round_whose_only_site_is_lost_changes_nothing(make_cfg):
    server = FederatedServer(make_cfg(sites=THREE, options=ALL, unit='kind'))
    before = dict(server.weights)
    update = Update({n: v + 1 for n, v in before.items()}, dict(backbone=4))
    server.close_round({'one': update}, {})
    after = dict(server.weights)
    assert any(not torch.equal(after[n], before[n]) for n in before)
    server.close_round({'two': update}, {})
    for _ in range(2):  # masks, then labels
        before = dict(server.weights)
        server.close_round({}, dict(three='three was lost.'))
        assert all(torch.equal(server.weights[n], before[n]) for n in before)
    assert [bool(row['images']) for row in server.history] == [
        *(True, True, False, False)
    ]
    with pytest.raises(UserError, match='Round 5 has no result of any site'):
        server.close_round({}, dict(two='two was lost.'))


def test_a_run_goes_on_with_the_same_rounds(make_cfg):
    FederatedServer(make_cfg())
    FederatedServer(make_cfg(), resume=True)
    with pytest.raises(UserError, match=r'is of rounds of 1 cycle\(s\), and'):
        FederatedServer(make_cfg(unit='kind'), resume=True)


def test_a_site_is_not_asked_for_a_kind_that_it_has_not(make_cfg):
    cfg = make_cfg(sites=THREE, options=ALL, unit='kind')
    weights = FederatedServer(cfg).weights
    with pytest.raises(UserError, match='is of "loc", of which this site'):
        Site(cfg, 'one').train(1, weights)


class Stop(Hook):
    """End a round as a kill would, after some iterations of its pass."""

    def __init__(self, after):
        self.after = after

    def after_train_iter(self, runner, batch_idx, **kwargs):
        self.after -= 1
        if self.after == 0:
            raise KeyboardInterrupt


@pytest.fixture
def killed(monkeypatch):
    """Make the next round of a site end after some iterations."""

    def call(after):
        build = build_runner

        def cut(*args, **kwargs):
            runner = build(*args, **kwargs)
            runner.register_hook(Stop(after), 'LOWEST')
            monkeypatch.setattr(site_module, 'build_runner', build)
            return runner

        monkeypatch.setattr(site_module, 'build_runner', cut)

    return call


def assert_equal(one, two):
    assert one.keys() == two.keys()
    assert [k for k in one if not torch.equal(one[k], two[k])] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ('unit', 'federated'),
    [('cycle', {}), ('iter', {}), ('iter', dict(unit='kind', fraction=1.0))],
)
def test_cut_sites_and_servers_change_no_bit(
    make_cfg, train, killed, tmp_path, unit, federated
):
    options = {
        **ALL,
        'cycle.max_batches': 2,
        'train_cfg.max_cycles': 3,
        'default_hooks.checkpoint.unit': unit,
        'default_hooks.checkpoint.interval': 1,
    }
    how = dict(
        sites=THREE,
        fraction=0.67,
        proximal=0.01,
        server_optimizer=dict(type='SGD', lr=1.0, momentum=0.9),
    )
    how |= federated
    whole = train(make_cfg('whole', options=options, **how))
    cut = make_cfg('cut', options=options, **how)
    train(cut, until=1)
    server = FederatedServer(cut, resume=True)
    first, second = server.plan.chosen(1)
    Site(cut, first).train(1, server.weights)  # which the server never gets
    killed(3)
    with pytest.raises(KeyboardInterrupt):
        Site(cut, second).train(1, server.weights)
    again = train(cut, resume=True)
    assert_equal(again.weights, whole.weights)
    assert again.history == whole.history
    for name in THREE:
        ours, theirs = (
            load_file(find_checkpoint(tmp_path / run / name))
            for run in ('cut', 'whole')
        )
        assert_equal(ours['state_dict'], theirs['state_dict'])
        assert ours['meta']['iter'] == theirs['meta']['iter']


@pytest.mark.slow
def test_a_late_site_and_one_that_left(make_cfg, tmp_path):
    """Rates and positions are the round's, not the site's own."""
    options = {'cycle.max_batches': 1, 'train_cfg.max_cycles': 3}
    cfg = make_cfg(options=options)
    server = FederatedServer(cfg)
    one, two = Site(cfg, 'one'), Site(cfg, 'two')
    for sites in ([one], [two], [one, two]):
        updates = {
            site.name: site.train(server.number, server.weights)
            for site in sites
        }
        server.close_round(updates, {})
    for site, rounds in ((one, 2), (two, 2)):
        checkpoint = load_file(find_checkpoint(site.folder))
        assert checkpoint['meta']['epoch'] == 3
        state = next(iter(checkpoint['optimizer']['state'].values()))
        assert int(state['step']) == rounds
        assert checkpoint['param_schedulers'][0]['_global_step'] == 3
    # a server that was set back is another training
    with pytest.raises(UserError, match='is of round 3 of another training'):
        one.train(1, server.weights)


@pytest.mark.slow
def test_norms_of_a_site_stay(make_cfg, train, tmp_path):
    options = {'cycle.max_batches': 1}
    server = train(make_cfg(options=options, share_norms=False))
    norm = 'student.backbone.stages.0.blocks.0.norm1.weight'
    assert norm.removeprefix('student.') not in server.weights
    one, two = (
        load_file(find_checkpoint(tmp_path / 'work' / site))['state_dict']
        for site in ('one', 'two')
    )
    assert not torch.equal(one[norm], two[norm])
    with pytest.raises(UserError, match='norms of its own'):
        merge(server.plan.cfg, str(newest_round(server.plan.work_dir)), [])


@pytest.mark.slow
def test_one_model_is_made_of_all(make_cfg, train, tmp_path, run):
    """From the tool to the file that test.py takes."""
    options = {
        **ALL,
        'cycle.max_batches': 1,
        'test_cfg': dict(type='MultiTaskTestLoop'),
    }
    cfg = make_cfg(sites=THREE, options=options, server_teacher=0.5)
    config = tmp_path / 'config.py'
    cfg.dump(config)
    code, out, err = run('federated/simulate', config)
    assert code == 0, err
    folder = tmp_path / 'work'
    rows = json.loads((folder / 'rounds.json').read_text())
    assert [row['round'] for row in rows] == [1, 2]
    assert set(rows[0]['images']) == set(THREE)
    merged = load_file(str(folder / 'merged.pth'))
    model = build_model(cfg)
    load_all_weights(model, merged, 'merged.pth')
    assert model.predict_on == 'teacher'
    server = load_file(str(newest_round(folder)))
    assert_equal(
        {n: merged['state_dict'][f'teacher.{n}'] for n in server['teacher']},
        server['teacher'],
    )
    for name in THREE:
        final = load_file(str(folder / name / FINAL))
        assert (folder / name / 'results.json').is_file()
        for key, value in final['state_dict'].items():
            assert torch.equal(value, merged['state_dict'][key]), key
    found = read_headlines(folder / 'results.json')
    assert found == {
        metric: value
        for name in THREE
        for metric, value in read_headlines(
            folder / name / 'results.json'
        ).items()
    }
    assert len(found) >= len(ALL['tasks'])
    sites = [str(folder / name / FINAL) for name in THREE]
    newest = str(newest_round(folder))
    with pytest.raises(UserError, match='both have "phantom_a/cls"'):
        merge(cfg, newest, [*sites, find_checkpoint(folder / 'one')])
    with pytest.raises(UserError, match='No checkpoint has a head for phan'):
        merge(cfg, newest, sites[:2])
    with pytest.raises(UserError, match='not of the server'):
        merge(cfg, sites[0], sites)
    code, out, err = run(
        'federated/merge', config, newest, folder / 'again.pth', *sites
    )
    assert code == 0, err
    again = load_file(str(folder / 'again.pth'))
    assert_equal(again['state_dict'], merged['state_dict'])
    code, out, err = run('federated/simulate', config)
    assert code == 1 and 'go on behind them with --resume' in err


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='Linux ends them')
def test_no_site_outlives_a_killed_simulation(make_cfg, tmp_path):
    config = tmp_path / 'config.py'
    make_cfg(options={'train_cfg.max_cycles': 1000}).dump(config)
    tool = Path(__file__).parents[2] / 'tools/federated/simulate.py'
    process = subprocess.Popen([sys.executable, tool, config])
    try:
        while not (tmp_path / 'work/round_0001.pth').is_file():
            assert process.poll() is None
            time.sleep(0.2)
        ps = ['ps', '-ww', '-o', 'pid=,args=', '--ppid', str(process.pid)]
        children = subprocess.run(ps, capture_output=True, text=True).stdout
    finally:
        process.kill()
        process.wait()
    (site,) = [s for s in children.splitlines() if 'spawn_main' in s]
    end = time.monotonic() + 20
    while Path('/proc', site.split()[0]).exists():
        assert time.monotonic() < end, site
        time.sleep(0.1)
