"""The site's app with a training that is made up: ``make test-federated``."""

import json

import pytest
import torch
from safetensors.torch import save_file

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


@pytest.fixture
def ask(monkeypatch):
    """Send the site's app a message; give its answer."""
    for name in ('task_id', 'run_id', 'node_id'):
        monkeypatch.setattr(TaskIdentity, f'_{name}', 1)

    def call(kind):
        arrays = ArrayRecord(dict(a=torch.zeros(3), b=torch.ones(2)))
        config = ConfigRecord({'server-round': 1})
        content = RecordDict(dict(arrays=arrays, config=config))
        message = Message(content, 1, kind)
        message.metadata.__dict__['_message_id'] = '1'
        context = Context(1, 1, {}, RecordDict(), {})
        return flower_site.client_app(message, context)

    return call


def test_it_sends_what_the_training_wrote(ask, monkeypatch, tmp_path):
    def run(message, what, number):
        assert (what, number) == ('train', 0)
        save_file(dict(a=torch.ones(3)), tmp_path / 'answer.safetensors')
        images = json.dumps({'backbone': 4, 'encoder': 3})
        (tmp_path / 'images.json').write_text(images)
        return tmp_path

    monkeypatch.setattr(flower_site, '_run', run)
    answer = ask('train').content
    sent = answer['arrays'].to_torch_state_dict()
    assert sent.keys() == {'a'} and torch.equal(sent['a'], torch.ones(3))
    assert answer['metrics'] == {
        'num-examples': 4,
        'images/backbone': 4,
        'images/encoder': 3,
    }


@pytest.mark.parametrize('kind', ['train', 'evaluate'])
def test_no_error_travels(ask, monkeypatch, kind, capsys):
    def run(*args):
        raise OSError('/data/of/a/patient.png')

    monkeypatch.setattr(flower_site, '_run', run)
    answer = ask(kind)
    assert not answer.has_error() and dict(answer.content['error']) == {}
    assert 'patient' not in str(answer.content)
    assert 'patient.png' in capsys.readouterr().err
