"""Server and sites as processes, over the network of this machine.

Needs Flower: ``make test-federated``.
"""

import ast
import contextlib
import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
from recording_proxy import RecordingProxy

from fx_mm.apis import read_xray
from fx_mm.federated.exchange import travelling
from fx_mm.federated.launching import free_port
from fx_mm.federated.server import newest_round
from fx_mm.models.loading import build_model
from fx_mm.utils.checkpoint import load_file

pytest.importorskip('flwr')
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

TOOLS = Path(__file__).parents[2] / 'tools/federated'
OPTIONS = {'cycle.max_batches': 1}


class Network:
    """Starts the tools, each in a process group, and ends all of them."""

    def __init__(self, folder, config):
        self.folder, self.config = folder, config
        self.port = free_port()
        self.running = {}

    def start(self, name, *command):
        log = (self.folder / f'{name}.log').open('ab')
        self.running[name] = subprocess.Popen(
            [sys.executable, *map(str, command)],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        return self.running[name]

    def server(self, *options, tls=('--insecure',)):
        return self.start(
            'server',
            TOOLS / 'server.py',
            self.config,
            *('--work-dir', self.folder / 'server'),
            *('--address', f'127.0.0.1:{self.port}', *tls, *options),
        )

    def site(self, name, port=None, tls=('--insecure',)):
        return self.start(
            f'site_{name}',
            TOOLS / 'site.py',
            self.config,
            *(name, '--server', f'127.0.0.1:{port or self.port}', *tls),
            *('--work-dir', self.folder / f'of_{name}'),
        )

    def log(self, name):
        return (self.folder / f'{name}.log').read_text(errors='replace')

    def kill(self, name, number=signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.running[name].pid, number)
        self.running.pop(name).wait(60)

    def rounds(self):
        file = self.folder / 'server/rounds.json'
        return json.loads(file.read_text()) if file.is_file() else []

    def wait(self, until, seconds=1500):
        end = time.monotonic() + seconds
        while not (found := until()):
            assert time.monotonic() < end, self.log('server')[-3000:]
            time.sleep(0.5)
        return found

    def weights(self):
        return load_file(str(newest_round(self.folder / 'server')))['weights']


@pytest.fixture
def network(make_cfg, tmp_path):
    """Make a network for the config of two sites."""
    made = []

    def make(**options):
        cfg = make_cfg(options={**OPTIONS, **options})
        cfg.work_dir = None
        config = tmp_path / 'config.py'
        cfg.dump(config)
        network = Network(tmp_path, config)
        made.append(network)
        return network

    yield make
    for each in made:
        for name in list(each.running):
            each.kill(name)


@pytest.fixture
def expected(make_cfg, train):
    """The shared weights of the same training without a network."""
    server = train(make_cfg('expected', options=OPTIONS))
    return server.weights


def assert_equal(one, two):
    assert one.keys() == two.keys()
    assert [k for k in one if not torch.equal(one[k], two[k])] == []


def test_only_listed_tensors_travel(network, expected, phantom_root, make_cfg):
    net = network()
    server = net.server()
    proxy = RecordingProxy(net.port)
    net.site('one', proxy.port)
    net.site('two', proxy.port)
    assert server.wait(1500) == 0, net.log('server')[-3000:]
    assert_equal(net.weights(), expected)
    assert [row['left_out'] for row in net.rounds()] == [{}, {}]
    for name in ('one', 'two'):
        assert list((net.folder / f'of_{name}').rglob('federated.pth'))

    sent = bytes(proxy.sent)
    # what should be there is there, so nothing hides behind compression
    name = next(iter(expected))
    assert name.encode() in sent
    assert net.weights()[name].numpy().tobytes() not in sent  # the mean
    student = build_model(make_cfg('names', options=OPTIONS)).student
    assert set(expected) == set(travelling(student))
    others = set(student.state_dict()) - set(expected)
    tables = list((phantom_root / 'easy').rglob('*.csv'))
    images = {
        row['image']
        for table in tables
        for row in csv.DictReader(table.open())
        if 'image' in row
    }
    classes = {c for task in student.tasks for c in task.classes}
    assert others and images and classes
    words = {*others, *classes, *images, *student.task_names}
    words |= {'phantom', 'hospital', str(phantom_root), str(net.folder)}
    words |= {'federated.pth', 'images/0', '.png', '.csv', '/tmp'}
    assert [word for word in words if word.encode() in sent] == []
    # of arrays, two rounds of two sites with the listed ones, and no other
    found = Counter(shapes(sent))
    listed = Counter(tuple(value.shape) for value in expected.values())
    assert found == Counter({shape: 4 * n for shape, n in listed.items()})
    files = list((phantom_root / 'easy').rglob('images/*/*.png'))
    assert len(files) > 40
    for file in files:
        content = file.read_bytes()
        middle = len(content) // 2
        row = read_xray(str(file))[32]
        for piece in (content[middle : middle + 32], row.tobytes()):
            assert piece not in sent, file


def shapes(content):
    """Yield the shapes of all arrays of numpy's format in some bytes."""
    for match in re.finditer(rb"\x93NUMPY.{4}\{'descr': '<f4'.*?\}", content):
        header = match[0][10:].decode()
        yield ast.literal_eval(header)['shape']
    assert content.count(b'\x93NUMPY') == content.count(b"'descr': '<f4'")


def certificates(folder, name):
    """Make an authority and a certificate of this machine."""

    def openssl(*args):
        subprocess.run(
            ['openssl', *map(str, args)], check=True, capture_output=True
        )

    ca, key, request = (
        folder / f'{name}{s}' for s in ('.crt', '.key', '.csr')
    )
    new = ('-newkey', 'rsa:2048', '-nodes')
    ca_key, server = folder / f'{name}_ca.key', folder / f'{name}.pem'
    authority = ('req', '-x509', *new, '-subj', f'/CN={name}')
    openssl(*authority, '-keyout', ca_key, '-out', ca)
    subject = ('req', *new, '-subj', '/CN=localhost')
    openssl(*subject, '-keyout', key, '-out', request)
    extension = folder / f'{name}.ext'
    extension.write_text('subjectAltName=DNS:localhost,IP:127.0.0.1')
    sign = ('x509', '-req', '-in', request, '-CA', ca, '-CAkey', ca_key)
    openssl(*sign, '-CAcreateserial', '-extfile', extension, '-out', server)
    return ca, server, key


def test_certificates_and_kills(network, expected, tmp_path):
    """TLS; a wrong authority; kill -9 of a site and of the server."""
    ca, pem, key = certificates(tmp_path, 'right')
    other, *_ = certificates(tmp_path, 'other')
    tls = ('--ca', ca, '--certificate', pem, '--key', key)
    net = network()
    net.server(tls=tls)
    net.site('one', tls=('--ca', ca))
    net.site('two', tls=('--ca', other))
    net.wait(lambda: 'CERTIFICATE_VERIFY_FAILED' in net.log('site_two'))
    net.wait(lambda: 'Waiting for two' in net.log('server'))
    net.kill('site_two')
    net.site('two')  # no TLS at all
    time.sleep(20)
    assert not net.rounds()
    net.kill('site_two')
    net.site('two', tls=('--ca', ca))
    net.wait(lambda: len(net.rounds()) == 1)
    net.kill('site_one')
    net.kill('server')
    net.site('one', tls=('--ca', ca))
    server = net.server('--resume', tls=tls)
    assert server.wait(1500) == 0, net.log('server')[-3000:]
    assert_equal(net.weights(), expected)


def test_the_others_go_on_without_a_lost_site(network):
    net = network()
    server = net.server('--min-sites', 1, '--wait', 5)
    net.site('one')
    net.site('two')
    net.wait(lambda: len(net.rounds()) == 1)
    net.kill('site_two')
    begin = time.monotonic()
    assert server.wait(1500) == 0, net.log('server')[-3000:]
    took = time.monotonic() - begin
    last = net.rounds()[-1]
    assert list(last['images']) == ['one'], took
    assert list(last['left_out']) == ['two']
