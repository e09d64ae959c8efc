"""Starting Flower's programs for a config."""

import argparse
import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from fx_mm.config import load_config
from fx_mm.utils.errors import UserError

APP = """\
[project]
name = "fx-mm-federated"
version = "1.0.0"
description = "Federated training of fx_mm"
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "fx-mm"

[tool.flwr.app.components]
serverapp = "fx_mm.federated.flower_server:server_app"
clientapp = "fx_mm.federated.flower_site:client_app"
"""


SETTINGS = 'FX_MM_FEDERATED'
"""Environment variable by which the tools tell the apps what to run."""
AT_ONCE = 10
"""Seconds within which a SuperNode ends that was refused."""
PATIENCE = 70
"""Seconds after which a refusal stands: a site that lost its power is
counted as connected for a minute, and is refused as long."""
IMAGES = 'images/'
"""In an answer, it stands before the groups of parameters."""


def told_by_tool() -> dict[str, Any]:
    """Return what the tool that started this app was told.

    Not by Flower's own configs: those travel.
    """
    return json.loads(os.environ[SETTINGS])


def config_of(told: dict[str, Any]) -> Config:
    """Load the experiment's config.

    Raises:
        UserError: If it cannot be read.
    """
    cfg = load_config(told['config'], told['options'], told['data_root'])
    cfg.work_dir = told['work_dir'] or cfg.work_dir
    return cfg


def program(name: str) -> str:
    """Return the path of one of Flower's programs.

    Raises:
        UserError: If Flower is not installed here.
    """
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise UserError(
            f'{name} is not installed; install Flower in an environment of '
            'its own, see docs/federated.md.'
        )
    return found


def environment(folder: Path, settings: dict[str, Any]) -> dict[str, str]:
    """Return the environment of Flower's programs.

    Without its telemetry and its look for updates, and with a home in the
    work directory.

    Args:
        folder (Path): The work directory.
        settings (dict): What the apps read.
    """
    here = str(Path(sys.executable).parent)
    return dict(
        os.environ,
        PATH=f'{here}{os.pathsep}{os.environ.get("PATH", "")}',
        **{SETTINGS: json.dumps(settings)},
        FLWR_HOME=str((folder / 'flower').absolute()),
        FLWR_TELEMETRY_ENABLED='0',
        FLWR_DISABLE_UPDATE_CHECK='1',
    )


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return what both apps read of a tool's options."""
    return dict(
        config=str(Path(args.config).absolute()),
        options=args.cfg_options,
        data_root=args.data_root,
        work_dir=args.work_dir,
    )


def write_app(folder: Path, address: str, args: argparse.Namespace) -> Path:
    """Write the app, and where ``flwr run`` finds the SuperLink.

    Args:
        folder (Path): The work directory.
        address (str): Host and port.
        args (Namespace): Of :func:`add_tls_options`.

    Returns:
        Path: The folder of the app.
    """
    app = folder / 'flower' / 'app'
    app.mkdir(parents=True, exist_ok=True)
    (app / 'pyproject.toml').write_text(APP)
    how = 'insecure = true'
    if not args.insecure:
        how = f'root-certificates = "{Path(args.ca).absolute()}"'
    (folder / 'flower' / 'config.toml').write_text(
        '[superlink]\ndefault = "here"\n\n[superlink.here]\n'
        f'address = "{address}"\n{how}\n'
    )
    return app


# ------------------------------------------------------------------------ TLS


def add_tls_options(parser: argparse.ArgumentParser, server: bool) -> None:
    """Add the options of certificates."""
    parser.add_argument(
        '--ca', help="certificate of the authority that signed the server's"
    )
    if server:
        parser.add_argument('--certificate', help="the server's certificate")
        parser.add_argument('--key', help='its private key')
        parser.add_argument(
            '--site-keys',
            type=Path,
            help='folder with SITE.pub, the public key of each site; no other '
            'is let in (default: all are that reach the port)',
        )
    else:
        parser.add_argument(
            '--site-key', help='private key of the site, see --site-keys'
        )
    parser.add_argument(
        '--insecure',
        action='store_true',
        help='no TLS: for tests on one machine',
    )


def tls_of_server(args: argparse.Namespace) -> list[str]:
    """Return the SuperLink's options.

    Raises:
        UserError: If a certificate is missing.
    """
    if args.insecure:
        if args.site_keys:
            raise UserError('--site-keys needs TLS; leave --insecure out.')
        return ['--insecure']
    _check(args, 'ca', 'certificate', 'key')
    return [
        *('--ssl-ca-certfile', args.ca, '--ssl-certfile', args.certificate),
        *('--ssl-keyfile', args.key),
        *(['--enable-supernode-auth'] if args.site_keys else []),
    ]


def keys_of_sites(folder: Path, sites: Iterable[str]) -> dict[str, Path]:
    """Return the public key of each site.

    Raises:
        UserError: Names the first that there is not.
    """
    keys = {site: folder / f'{site}.pub' for site in sites}
    for site, file in keys.items():
        if not file.is_file():
            raise UserError(
                f'--site-keys has no {file}; make one of {site} with '
                f'"ssh-keygen -t ecdsa -b 384 -N \'\' -f {site}", which keeps '
                f'the file "{site}".'
            )
    return keys


def register(
    keys: Mapping[str, Path], env: dict[str, str], file: Path
) -> None:
    """Let sites in by their keys, and write which node each of them is.

    Args:
        keys (Mapping): Site to its public key.
        env (dict): Of Flower's programs.
        file (Path): Takes the number of the node of each site.

    Raises:
        UserError: If Flower refuses a key.
    """
    nodes = {}
    for site, key in keys.items():
        words = ('supernode', 'register', str(key), 'here', '--format', 'json')
        done = subprocess.run(
            [program('flwr'), *words],
            env=env,
            capture_output=True,
            text=True,
        )
        try:
            nodes[site] = int(json.loads(done.stdout)['node-id'])
        except (ValueError, KeyError) as error:
            said = (done.stdout + done.stderr).strip()
            raise UserError(
                f'Flower does not take {key} as a key of {site}: {said}'
            ) from error
    file.write_text(json.dumps(nodes))


def tls_of_site(args: argparse.Namespace) -> list[str]:
    """Return the SuperNode's options.

    Raises:
        UserError: If the certificate is missing.
    """
    if args.insecure:
        return ['--insecure']
    _check(args, 'ca')
    tls = ['--root-certificates', args.ca]
    if args.site_key is not None:
        _check(args, 'site_key')
        tls += ['--auth-supernode-private-key', args.site_key]
    return tls


def _check(args: argparse.Namespace, *names: str) -> None:
    for name in names:
        file = getattr(args, name)
        if file is None or not Path(file).is_file():
            option = name.replace('_', '-')
            raise UserError(
                f'--{option} is {file!r}, which is no file; give the '
                'certificates of the server, see docs/federated.md, or '
                '--insecure for a test on one machine.'
            )


# ------------------------------------------------------------------ processes


def host_and_port(address: str) -> tuple[str, str]:
    """Split ``HOST:PORT``.

    Raises:
        UserError: If it is something else.
    """
    host, _, port = address.rpartition(':')
    if not host or not port.isdecimal():
        raise UserError(f'--address is {address!r}; write HOST:PORT.')
    return host, port


def free_port() -> int:
    """Return a port of this machine that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]


def end_with_parent(number: int = signal.SIGTERM) -> None:
    """Ask the system to end this process with the one that started it.

    Only Linux can.

    Args:
        number (int): The signal. Defaults to SIGTERM.
    """
    if sys.platform == 'linux':
        # PR_SET_PDEATHSIG; a kill of the tool must not leave the port taken
        ctypes.CDLL(None).prctl(1, number)


@contextlib.contextmanager
def running(
    command: Sequence[str], env: dict[str, str], log: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program and those that it starts, and end all of them.

    Args:
        command (Sequence[str]): The program and its options.
        env (dict[str, str]): Its environment.
        log (Path, optional): Takes what it says. Defaults to None: the
            output of this process.
    """
    with contextlib.ExitStack() as stack:
        file = None if log is None else stack.enter_context(log.open('ab'))
        process = subprocess.Popen(
            command,
            env=env,
            stdout=file,
            stderr=None if file is None else subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            os.killpg(process.pid, signal.SIGKILL)


def keep_connected(command: Sequence[str], env: dict[str, str]) -> None:
    """Run a SuperNode, and again when it ends.

    It does where the server was started anew, whose SuperLink does not know
    it any more.

    Raises:
        UserError: If it ends at once, time and again.
    """
    last = time.monotonic()
    while True:
        begin = time.monotonic()
        with running(command, env) as process:
            process.wait()
        now = time.monotonic()
        if now - begin >= AT_ONCE:
            last = now
            print('The connection ended; connecting again.', flush=True)
        elif now - last < PATIENCE:
            print('Refused; trying again for a minute.', flush=True)
            time.sleep(AT_ONCE)
        else:
            raise UserError(
                "The site cannot connect; Flower's last lines above say why."
            )
        time.sleep(1)


def wait_until_open(
    process: subprocess.Popen[bytes], host: str, port: int, log: Path
) -> None:
    """Wait until a program listens.

    Args:
        process (Popen): The program.
        host (str): Where it listens.
        port (int): The same.
        log (Path): What it says, for the message.

    Raises:
        UserError: If it ends before.
    """
    host = '127.0.0.1' if host == '0.0.0.0' else host
    while process.poll() is None:
        with contextlib.suppress(OSError):
            socket.create_connection((host, port), 1).close()
            return
        time.sleep(0.2)
    raise UserError(
        f'Flower cannot listen at {host}:{port}; the last lines of {log} say '
        'why.'
    )
