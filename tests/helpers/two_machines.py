"""Two network namespaces with a cable between them, as two machines."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
ADDRESSES = ('10.213.77.1', '10.213.77.2')
ENDS = ('fxcable0', 'fxcable1')


def ip(*words):
    subprocess.run(['ip', *words], check=True, capture_output=True, text=True)


class TwoMachines:
    """They share the disk, as machines do that train together.

    Args:
        folder (Path): For what their programs say.
    """

    def __init__(self, folder):
        self.logs = [folder / f'machine_{i}.txt' for i in range(2)]
        self.names = [f'fx{os.getpid()}n{i}' for i in range(2)]
        self.running = []

    def lay_cable(self):
        """Make both, or skip the test."""
        try:
            for name in self.names:
                ip('netns', 'add', name)
            first, second = (
                (end, 'netns', name) for end, name in zip(ENDS, self.names)
            )
            ip('link', 'add', *first, 'type', 'veth', 'peer', *second)
            for name, end, address in zip(self.names, ENDS, ADDRESSES):
                inside = ('-n', name)
                ip(*inside, 'address', 'add', f'{address}/24', 'dev', end)
                for device in ('lo', end):
                    ip(*inside, 'link', 'set', device, 'up')
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, 'stderr', None) or error
            self.remove()
            pytest.skip(f'needs network namespaces (root, iproute2): {said}')

    def cut_cable(self):
        """Nothing arrives any more, and nobody is told."""
        ip('-n', self.names[0], 'link', 'set', ENDS[0], 'down')

    def train(self, *arguments, **env):
        """Start ``tools/dist_train.sh`` on both, one process each.

        Args:
            *arguments: The config, and what comes behind the number.
            **env: Environment variables more.
        """
        config, *others = map(str, arguments)
        for i, name in enumerate(self.names):
            places = dict(NNODES=2, NODE_RANK=i, MASTER_ADDR=ADDRESSES[0])
            own = dict(PYTHON=sys.executable, OMP_NUM_THREADS='1')
            own |= {key: str(value) for key, value in places.items()}
            # the name of this machine means the loopback device
            own |= dict(GLOO_SOCKET_IFNAME=ENDS[i], **env)
            with self.logs[i].open('w') as log:
                process = subprocess.Popen(
                    ['ip', 'netns', 'exec', name, 'tools/dist_train.sh']
                    + [config, '1', *others],
                    cwd=REPO,
                    env={**os.environ, **own},
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            self.running.append(process)

    def texts(self):
        return [log.read_text() for log in self.logs]

    def wait(self, seconds):
        """Return the exit codes."""
        return [process.wait(seconds) for process in self.running]

    def remove(self):
        """End what runs, and take them away."""
        for process in self.running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        for name in self.names:
            subprocess.run(['ip', 'netns', 'del', name], capture_output=True)
