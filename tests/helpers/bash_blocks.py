"""Blocks of the docs, run as a shell would."""

import subprocess


def run_bash(code, timeout):
    """Run a block; return what it printed. It must succeed."""
    done = subprocess.run(
        ['bash', '-euo', 'pipefail', '-c', code],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, f'{code}\n{done.stdout[-3000:]}'
    return done.stdout
