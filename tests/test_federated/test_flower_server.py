"""The server's app with answers that are made up: ``make test-federated``."""

import json

import pytest
import torch

from fx_mm.federated.server import FederatedServer

flwr = pytest.importorskip('flwr')

from flwr.app import (  # noqa: E402
    ArrayRecord,
    ConfigRecord,
    Error,
    Message,
    MetricRecord,
    RecordDict,
)
from flwr.supercore.task_identity import TaskIdentity  # noqa: E402

from fx_mm.federated import flower_server as flower  # noqa: E402
from fx_mm.federated.launching import SETTINGS  # noqa: E402

TOLD = dict(min_sites=1, wait=0, timeout=0.2, resume=False)


class MadeUpGrid:
    """Nodes by number, each with a function that answers a message.

    One that answers None is too slow, and one whose function is None is
    lost as soon as it is asked to train.
    """

    def __init__(self, nodes):
        self.nodes = nodes
        self.waiting = {}
        self.asked = []
        self.count = 0

    def get_node_ids(self):
        return [node for node in self.nodes if node not in self.lost()]

    def lost(self):
        asked = {
            m.metadata.dst_node_id
            for m in self.waiting.values()
            if m.metadata.message_type != 'query'
        }
        return {node for node in asked if self.nodes[node][1] is None}

    def push_messages(self, messages):
        keys = []
        for message in messages:
            self.count += 1
            keys.append(str(self.count))
            # as a node sees it
            message.metadata.__dict__['_message_id'] = keys[-1]
            self.waiting[keys[-1]] = message
            if message.metadata.message_type != 'query':
                self.asked.append(message.metadata.dst_node_id)
        return keys

    def pull_messages(self, ids):
        for key in sorted(set(ids) & set(self.waiting)):
            message = self.waiting[key]
            name, answer = self.nodes[message.metadata.dst_node_id]
            if message.metadata.message_type == 'query':
                site = ConfigRecord({'name': name})
                found = self.reply(message, site=site)
            else:
                found = answer and answer(message)
            if found:
                del self.waiting[key]
                yield found

    @staticmethod
    def reply(message, **records):
        return Message(RecordDict(records), reply_to=message)


def answer(change=lambda weights: None, images=4):
    """Return what a site does that trains nothing."""

    def call(message):
        if message.metadata.message_type == 'evaluate':
            return MadeUpGrid.reply(message)
        arrays = message.content['arrays'].to_torch_state_dict()
        weights = {name: value + 1 for name, value in arrays.items()}
        change(weights)
        metrics = MetricRecord(
            {'num-examples': images, 'images/backbone': images}
        )
        return MadeUpGrid.reply(
            message, arrays=ArrayRecord(weights), metrics=metrics
        )

    return call


def failing(message):
    return Message(Error(1, 'lost'), reply_to=message)


def spoil(weights):
    next(iter(weights.values())).view(-1)[0] = float('nan')


def shorten(weights):
    name = next(iter(weights))
    weights[name] = torch.zeros(2)


@pytest.fixture
def serve(make_cfg, tmp_path, monkeypatch):
    """Run the server's app on made-up sites; give the rows and the grid."""
    monkeypatch.setattr(flower, 'POLL', 0.05)
    for name in ('task_id', 'run_id', 'node_id'):
        monkeypatch.setattr(TaskIdentity, f'_{name}', 1)

    def call(nodes, /, **told):
        cfg = make_cfg(options={'train_cfg.max_cycles': 1})
        config = tmp_path / 'config.py'
        cfg.dump(config)
        ended = tmp_path / 'ended.json'
        told = dict(TOLD, config=str(config), options=None, data_root=None,
                    work_dir=None, ended=str(ended), **told)  # fmt: skip
        monkeypatch.setenv(SETTINGS, json.dumps(told))
        grid = MadeUpGrid(dict(enumerate(nodes)))
        flower.serve(grid, None)
        rows = json.loads((tmp_path / 'work/rounds.json').read_text())
        return rows, grid, json.loads(ended.read_text())['error']

    return call


@pytest.mark.parametrize(
    ('other', 'reason'),
    [
        (failing, 'two was lost before it answered'),
        (lambda m: MadeUpGrid.reply(m, error=ConfigRecord({})), 'two failed'),
        (lambda message: None, 'two did not answer'),
        (None, 'two did not answer'),
        (answer(spoil), 'two sent values of "[^"]*" that are not finite'),
        (answer(shorten), 'two sent the weights of another model'),
        (answer(lambda w: w.update(x=torch.ones(1))), 'another model: it has'),
        (answer(dict.clear), 'two sent the weights of another model'),
        (MadeUpGrid.reply, 'two sent no weights and counts'),
    ],
)
def test_a_bad_site_is_left_out(serve, other, reason):
    rows, _, error = serve([('one', answer()), ('two', other)])
    assert error is None or 'over, but two did not write a final' in error
    assert list(rows[0]['images']) == ['one']
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(rows[0]['left_out']['two'])


def test_without_any_site_it_ends_with_a_sentence(serve):
    _, _, error = serve([('one', failing), ('two', failing)])
    assert error.startswith('Round 1 has no result of any site: one was')


def test_an_unknown_site_is_never_asked(serve, log):
    nodes = [('one', answer()), ('stranger', answer()), ('two', answer())]
    rows, grid, error = serve(nodes)
    assert error is None and set(rows[0]['images']) == {'one', 'two'}
    assert 1 not in grid.asked
    assert "Refused: 'stranger' is no site" in log.text


def test_a_site_is_known_by_its_key(serve, log, tmp_path):
    nodes = [('one', answer()), ('two', answer(spoil)), ('two', answer())]
    file = tmp_path / 'nodes.json'
    file.write_text(json.dumps(dict(one=0, two=2)))
    rows, grid, error = serve(nodes, nodes=str(file))
    assert error is None and set(rows[0]['images']) == {'one', 'two'}
    assert 1 not in grid.asked
    assert 'Refused: one with the key of another says two' in log.text


def test_a_site_that_was_started_again_is_asked_there(serve, log):
    nodes = [('two', answer()), ('one', answer(spoil)), ('one', answer())]
    rows, grid, error = serve(nodes)
    assert error is None and set(rows[0]['images']) == {'one', 'two'}
    assert 1 not in grid.asked
    assert 'one connected again' in log.text


def test_the_average_is_of_all(serve, make_cfg):
    serve([('one', answer()), ('two', answer(images=8))])
    server = FederatedServer(make_cfg(), resume=True)
    fresh = FederatedServer(make_cfg('fresh'))
    for name, value in server.weights.items():
        group = server.groups[name]
        step = 1.0 if group == 'backbone' else 0.0
        assert torch.allclose(value, fresh.weights[name] + step)
