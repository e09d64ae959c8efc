"""Two sites that train in seconds."""

import pytest
from small_run import small_cfg
from two_sites import SITES

from fx_mm.federated.server import FederatedServer
from fx_mm.federated.site import Site


@pytest.fixture(scope='session')
def phantom_root(tmp_path_factory):
    """Phantoms of 64 px: 12 to train, 4 to validate and test a hospital."""
    return tmp_path_factory.mktemp('phantom')


SMALL = {
    'tasks': ['phantom_a/cls', 'phantom_b/cls'],
    'optim_wrapper.amp_dtype': None,
    'val_cfg': None,
    'test_cfg': None,
}


@pytest.fixture
def make_cfg(phantom_root, tmp_path):
    """Make a federated config of two sites."""

    def make(work_dir='work', sites=SITES, options=None, **federated):
        options = {**SMALL, **(options or {})}
        cfg = small_cfg(phantom_root, tmp_path / work_dir, **options)
        cfg.federated = dict(sites=sites, **federated)
        return cfg

    return make


@pytest.fixture
def train():
    """Train all rounds, in this process; return the server."""

    def call(cfg, resume=False, until=None, start=None):
        server = FederatedServer(cfg, resume)
        server.weights = start or server.weights
        while not server.done and server.number != until:
            updates = {}
            for name in server.plan.chosen(server.number):
                site = Site(cfg, name)
                updates[name] = site.train(server.number, server.weights)
                server.check(name, updates[name])
            server.close_round(updates, {})
        return server

    return call
