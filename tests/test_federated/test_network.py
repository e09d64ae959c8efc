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
from two_sites import SITES

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

    def site(self, name, *options, port=None, tls=('--insecure',)):
        return self.start(
            f'site_{name}',
            TOOLS / 'site.py',
            self.config,
            *(name, '--server', f'127.0.0.1:{port or self.port}', *tls),
            *('--work-dir', self.folder / f'of_{name}', *options),
        )

    def log(self, name):
        return (self.folder / f'{name}.log').read_text(errors='replace')

    def kill(self, name):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.running[name].pid, signal.SIGKILL)
        self.running.pop(name).wait(60)

    def switch_off(self, name):
        """End a tool and all that it started, at once: a cut of the power."""
        pids = self.processes(name)
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        self.running.pop(name).wait(60)

    def processes(self, name):
        """Return the process of a tool and those that it started."""
        found = [self.running[name].pid]
        for pid in found:
            ps = ['ps', '-o', 'pid=', '--ppid', str(pid)]
            words = subprocess.run(ps, capture_output=True, text=True).stdout
            found += map(int, words.split())
        return found

    def training_of(self, name):
        """Return the process that trains at a site, once there is one."""
        for pid in self.processes(f'site_{name}'):
            with contextlib.suppress(OSError):
                command = Path(f'/proc/{pid}/cmdline').read_text()
                if 'fx_mm.federated.site_process' in command:
                    return pid
        return None

    def rounds(self):
        file = self.folder / 'server/rounds.json'
        return json.loads(file.read_text()) if file.is_file() else []

    def wait(self, until, seconds=1500):
        end = time.monotonic() + seconds
        while not (found := until()):
            for name, process in self.running.items():
                assert process.poll() is None, self.log(name)[-3000:]
            assert time.monotonic() < end, self.log('server')[-3000:]
            time.sleep(0.5)
        return found

    def wait_for_line(self, words, name):
        """Wait until a tool says something once more."""
        said = self.log(name).count(words)
        self.wait(lambda: self.log(name).count(words) > said)

    def weights(self):
        return load_file(str(newest_round(self.folder / 'server')))['weights']


@pytest.fixture
def network(make_cfg, tmp_path):
    """Make a network for the config of two sites."""
    made = []

    def make(sites=SITES, **options):
        cfg = make_cfg(sites=sites, options={**OPTIONS, **options})
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
    net.site('one', port=proxy.port)
    net.site('two', port=proxy.port)
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


def test_a_site_may_add_noise(network):
    """Also to the weights for boxes, which it has not."""
    tasks = ['phantom_a/cls', 'phantom_b/cls', 'phantom_b/loc']
    net = network(tasks=tasks)
    server = net.server()
    net.site('one', '--clip', 0.5, '--noise', 2)
    net.site('two')
    assert server.wait(1500) == 0, net.log('server')[-3000:]
    assert [row['left_out'] for row in net.rounds()] == [{}, {}]
    assert 'Privacy: epsilon ' in net.log('site_one')
    assert 'after 2 answers' in net.log('site_one')
    assert 'Privacy' not in net.log('site_two')
    for name, value in net.weights().items():
        # of site one no image taught what is for boxes alone
        noisy = not name.startswith(('localization', 'encoder'))
        if value.numel() > 1000:
            assert (value.std() > 0.5) == noisy, name


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


def site_keys(folder, *names):
    """Make a key of each site, in a folder."""
    folder.mkdir()
    for name in names:
        words = ('-t', 'ecdsa', '-b', '384', '-N', '', '-f', folder / name)
        subprocess.run(
            ['ssh-keygen', *map(str, words)], check=True, capture_output=True
        )
    return folder


def test_certificates_keys_and_kills(network, expected, tmp_path):
    """A wrong authority, a wrong key; kill -9 of a site and of the server."""
    ca, pem, key = certificates(tmp_path, 'right')
    other, *_ = certificates(tmp_path, 'other')
    keys = site_keys(tmp_path / 'keys', 'one', 'two', 'stranger')
    tls = ('--ca', ca, '--certificate', pem, '--key', key)
    tls += ('--site-keys', keys)
    of = {
        name: ('--ca', ca, '--site-key', keys / name)
        for name in ('one', 'two', 'stranger')
    }
    net = network()
    net.server(tls=tls)
    net.site('one', tls=of['one'])
    net.site('two', tls=('--ca', other, *of['two'][2:]))
    net.wait_for_line('CERTIFICATE_VERIFY_FAILED', 'site_two')
    net.wait(lambda: 'Waiting for two' in net.log('server'))
    net.kill('site_two')
    net.site('two')  # no TLS at all
    time.sleep(20)
    assert not net.rounds()
    net.kill('site_two')
    for no_key in (of['stranger'], ('--ca', ca)):
        net.site('two', tls=no_key)
        net.wait_for_line('Refused; trying again', 'site_two')
        net.kill('site_two')
    net.site('two', tls=of['two'])
    net.wait(lambda: len(net.rounds()) == 1)
    net.kill('site_one')
    net.kill('server')
    net.site('one', tls=of['one'])
    server = net.server('--resume', tls=tls)
    assert server.wait(1500) == 0, net.log('server')[-3000:]
    assert_equal(net.weights(), expected)


THREE = dict(one=['phantom_a'], two=['phantom_b'], three=['phantom_c'])
NO_END = 'error: All rounds are over, but {} did not write a final model'


def test_the_others_go_on_without_a_lost_site(network):
    """kill -9 of one, and the power of another is cut."""
    tasks = ['phantom_a/cls', 'phantom_b/cls', 'phantom_c/cls']
    net = network(THREE, tasks=tasks)
    server = net.server('--min-sites', 1, '--wait', 5)
    for name in THREE:
        net.site(name)
    net.wait(lambda: len(net.rounds()) == 1)
    net.kill('site_two')
    net.switch_off('site_three')
    begin = time.monotonic()
    net.wait(lambda: len(net.rounds()) == 2)
    took = time.monotonic() - begin
    print(f'the round went on after {took:.0f} s')
    last = net.rounds()[-1]
    assert list(last['images']) == ['one']
    for name in ('two', 'three'):
        assert last['left_out'][name].startswith(f'{name} was lost')
    # Flower gives a site two heartbeats, which is a minute
    assert took < 75
    assert server.wait(120) == 1
    assert NO_END.format('three, two') in net.log('server')


def test_the_others_go_on_without_a_bad_site(network):
    """One sends NaN and then trains for ever, one has another model."""
    tasks = ['phantom_a/cls', 'phantom_b/cls', 'phantom_c/cls']
    net = network(THREE, tasks=tasks)
    server = net.server('--timeout', 150, '--min-sites', 1, '--wait', 60)
    net.site('one')
    net.site('two', '--cfg-options', 'optim_wrapper.optimizer.lr=1e39')
    wider = 'model.student.backbone.embed_dims=32'
    net.site('three', '--cfg-options', wider)
    net.wait(lambda: len(net.rounds()) == 1)
    os.kill(net.wait(lambda: net.training_of('two')), signal.SIGSTOP)
    net.wait(lambda: len(net.rounds()) == 2)
    net.switch_off('site_two')
    assert server.wait(600) == 1
    first, second = net.rounds()
    assert list(first['images']) == list(second['images']) == ['one']
    assert 'are not finite' in first['left_out']['two']
    assert second['left_out']['two'] == 'two did not answer.'
    for row in (first, second):
        said = row['left_out']['three']
        assert said == 'three failed; its own log says why.'
    assert 'The server sent the weights of another' in net.log('site_three')
    assert NO_END.format('three, two') in net.log('server')
    assert all(value.isfinite().all() for value in net.weights().values())
