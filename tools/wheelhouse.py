"""All packages of fx_mm in one folder, for a machine without a network.

``make wheelhouse`` calls ``collect`` on a machine that has one; on the other,
``bash tools/setup_env.sh --offline FOLDER`` calls ``missing``, which lists
what to install from the folder. Nothing but ``packaging`` is needed.

Both walk over the requirements in the same way. pip would not do: it judges
the markers of another Python's packages by the Python that it runs on, and it
knows no packages that stay whatever else asks for.
"""

import argparse
import hashlib
import platform
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from email.parser import HeaderParser
from importlib import metadata
from pathlib import Path
from typing import NoReturn

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.tags import sys_tags
from packaging.utils import (
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import Version

REQUIREMENTS = Path(__file__).parents[1] / 'requirements'
NOTE = 'WHEELHOUSE'
"""What the folder was collected for, one ``key value`` in a line."""

PYTHON = '{}.{}'.format(*sys.version_info)
TORCH_STACK = re.compile(r'torch|torchvision|triton|nvidia-.*|cuda-.*')
NEVER_REPLACED = ('torch', 'torchvision', 'triton', 'numpy')
"""What the packages beside it were compiled against."""

MMCV = 'onedl-mmcv'
"""Comes as source: its operators fit one torch only."""

PURE_SOURCE = (
    'onedl-mmdetection',
    'onedl-mmsegmentation',
    'onedl-mmpretrain',
    'onedl-mim',
)
"""Published as source alone, but pure Python: the wheel is made here."""

SAME = dict.fromkeys(
    (
        'opencv-python',
        'opencv-python-headless',
        'opencv-contrib-python',
        'opencv-contrib-python-headless',
    ),
    'opencv',
)
"""Distributions that bring the same module: any of them will do."""

Present = dict[str, Version | None]
"""Distributions that stay; None stands for a version that nobody knows."""

Fetch = Callable[[dict[str, Requirement]], dict[str, Path]]
"""Gets the wheels (of mmcv the source) of what is required."""


def fail(message: str) -> NoReturn:
    """End with one sentence: what happened, what to do."""
    sys.exit(f'error: {message}')


def read(name: str) -> list[Requirement]:
    """Read one file of ``requirements/``."""
    lines = (REQUIREMENTS / f'{name}.txt').read_text().splitlines()
    lines = [line.partition('#')[0].strip() for line in lines]
    return [Requirement(line) for line in lines if line]


def holds(requirement: Requirement, python: str, extra: str = '') -> bool:
    """Whether the requirement's marker is true on Linux and this Python."""
    environment = default_environment() | {
        'python_version': python,
        'python_full_version': f'{python}.0',
        'extra': extra,
    }
    marker = requirement.marker
    return marker is None or marker.evaluate(environment)


def read_pins(python: str) -> dict[str, Requirement]:
    """Read the tested versions for one Python, such as '3.12'."""
    pins = [pin for pin in read('constraints') if holds(pin, python)]
    return {canonicalize_name(pin.name): pin for pin in pins}


def read_roots(python: str, tests: bool) -> list[Requirement]:
    """Return what the set-up asks for, with the tested mmcv."""
    files = ['build', 'runtime', 'openmmlab', *(['tests'] if tests else [])]
    roots = [one for file in files for one in read(file)]
    return [read_pins(python)[MMCV], *roots]


def parse_name(file: Path) -> tuple[str, Version]:
    """Return distribution and version of a wheel or a source archive."""
    if file.suffix == '.whl':
        return parse_wheel_filename(file.name)[:2]
    return parse_sdist_filename(file.name)


def find(folder: Path, name: str, requirement: Requirement) -> list[Path]:
    """Return the files in a folder that satisfy a requirement."""
    files = sorted((*folder.glob('*.whl'), *folder.glob('*.tar.gz')))
    return [
        file
        for file in files
        if parse_name(file)[0] == name
        and requirement.specifier.contains(parse_name(file)[1], True)
    ]


def requirements_of(file: Path) -> list[Requirement]:
    """Read what a wheel or a source archive requires."""
    if file.suffix == '.whl':
        with zipfile.ZipFile(file) as wheel:
            names = [
                name
                for name in wheel.namelist()
                if re.fullmatch(r'[^/]+\.dist-info/METADATA', name)
            ]
            text = wheel.read(names[0]).decode()
    else:
        with tarfile.open(file) as archive:
            top = archive.getnames()[0].split('/')[0]
            text = archive.extractfile(f'{top}/PKG-INFO').read().decode()
    lines = HeaderParser().parsestr(text).get_all('Requires-Dist', [])
    return [Requirement(line) for line in lines]


def is_too_old(version: Version | None, requirement: Requirement) -> bool:
    """Whether a lower bound is missed; upper ones are not looked at."""
    return version is not None and any(
        version < Version(bound.version.removesuffix('.*'))
        for bound in requirement.specifier
        if bound.operator in ('>=', '>', '~=', '==')
    )


def walk(
    roots: list[Requirement], python: str, present: Present, fetch: Fetch
) -> tuple[dict[str, Path], list[str]]:
    """Walk over all requirements, a whole level at once.

    Args:
        roots (list[Requirement]): Where to start.
        python (str): The other machine's Python, such as '3.12'.
        present (Present): What stays there, unless it is too old.
        fetch (Fetch): Gets what is not there.

    Returns:
        tuple[dict[str, Path], list[str]]: The file of each distribution to
        install; what stays although some package asks for another version.
    """
    files: dict[str, Path] = {}
    remarks = set()
    seen = set()
    level = [('fx_mm', root) for root in roots if holds(root, python)]
    while level:
        wanted: dict[str, Requirement] = {}
        for asker, requirement in level:
            name = canonicalize_name(requirement.name)
            key = SAME.get(name, name)
            if name in files or name == 'pip':
                continue
            if key not in present:
                wanted.setdefault(name, requirement)
                continue
            version = present[key]
            if is_too_old(version, requirement):
                if name in NEVER_REPLACED:
                    fail(
                        f'{name} {version} is there, {asker} needs '
                        f'{requirement}: update it, or set up without it'
                    )
                wanted.setdefault(name, requirement)
            elif version and not requirement.specifier.contains(version, True):
                remarks.add(
                    f'{name} {version}; {asker} asks for {requirement}'
                )
        files |= fetch(wanted)
        below = []
        for _, requirement in level:
            name = canonicalize_name(requirement.name)
            for extra in ('', *sorted(requirement.extras)):
                if name in files and (name, extra) not in seen:
                    seen.add((name, extra))
                    below += [
                        (name, one)
                        for one in requirements_of(files[name])
                        if holds(one, python, extra)
                    ]
        level = below
    return files, sorted(remarks)


# --- where there is a network


def pip(command: str, folder: Path, *words: str) -> None:
    """Call ``pip download`` or ``pip wheel`` into a folder."""
    done = subprocess.run(
        [*(sys.executable, '-m', 'pip', command, '-q'), *words],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ['no reason given']
        errors = [line for line in lines if line.startswith('ERROR')]
        fail(f'pip {command} failed: {(errors or lines)[-1]}')


def another(python: str) -> list[str]:
    """Return pip's options for another Python on Linux.

    A glibc of 2.28 (RHEL 8, Debian 10) is old enough for every wheel; those
    that want a newer one have a sibling that does not.
    """
    tags = ['manylinux1', 'manylinux2010', 'manylinux2014']
    tags += [f'manylinux_2_{minor}' for minor in range(5, 29)]
    options = ['--only-binary', ':all:', '--python-version', python]
    for tag in tags:
        options += ['--platform', f'{tag}_{platform.machine()}']
    return options


def downloader(
    folder: Path, python: str, pins: dict[str, Requirement]
) -> Fetch:
    """Return what downloads the pinned versions, unless they are there."""

    def fetch(wanted: dict[str, Requirement]) -> dict[str, Path]:
        wanted = {name: pins.get(name, one) for name, one in wanted.items()}
        lacking = {
            name: f'{name}{one.specifier}'
            for name, one in wanted.items()
            if not find(folder, name, one)
        }
        for name in lacking:
            if name not in pins:
                fail(
                    f'requirements/constraints.txt has no version of {name} '
                    f'for Python {python}: add the tested one'
                )
        if lacking:
            print(f'wheelhouse: {len(lacking)} more packages', flush=True)
        pure = [lacking.pop(n) for n in PURE_SOURCE if n in lacking]
        if MMCV in lacking:
            words = ('--no-binary', MMCV, lacking.pop(MMCV))
            pip('download', folder, '--no-deps', *words)
        if pure:
            pip('wheel', folder, '--no-deps', *pure)
        if lacking:
            words = another(python)
            pip('download', folder, '--no-deps', *words, *lacking.values())
        return {n: find(folder, n, one)[0] for n, one in wanted.items()}

    return fetch


def download_torch(
    folder: Path, python: str, torch: str, pins: dict[str, Requirement]
) -> None:
    """Download another torch than the tested one, with what it requires."""
    print(f'wheelhouse: torch=={torch} with its libraries', flush=True)
    limits = folder.absolute() / 'limits.txt'
    lines = [f'{name}{pin.specifier}\n' for name, pin in pins.items()]
    limits.write_text(''.join(lines))
    words = ['-c', str(limits), *another(python), f'torch=={torch}']
    pip('download', folder, *words, 'torchvision')
    limits.unlink()


def read_have(file: Path) -> Present:
    """Read what ``pip list`` or ``pip freeze`` said on the other machine."""
    present: Present = {}
    for line in file.read_text().splitlines():
        match = re.match(r'([A-Za-z0-9][\w.-]*)(?:(?:==|\s+)(\d\S*))?', line)
        if match:
            name = canonicalize_name(match[1])
            version = Version(match[2]) if match[2] else None
            present[SAME.get(name, name)] = version
    return present


def digest(file: Path) -> str:
    """Return the SHA-256 of a file."""
    sha = hashlib.sha256()
    with file.open('rb') as stream:
        while block := stream.read(1 << 20):
            sha.update(block)
    return sha.hexdigest()


def collect(
    folder: Path,
    python: str,
    torch: str | None,
    have: Path | None,
    tests: bool,
) -> None:
    """Download all that another machine needs.

    Args:
        folder (Path): Where to; what it has already is not fetched again.
        python (str): The other machine's Python, such as '3.12'.
        torch (str | None): A version, or 'installed' where the other machine
            has one; None for that if ``have`` names it, else for the tested.
        have (Path | None): What else it has: its ``pip list``.
        tests (bool): With what ``make test`` and ``make lint`` need.
    """
    if any(folder.glob('*')) and not (folder / NOTE).is_file():
        fail(f'{folder} holds other things: name a new folder (OUT=...)')
    if have and not have.is_file():
        fail(f'there is no {have}: it is the pip list of the other machine')
    pins = read_pins(python)
    present = read_have(have) if have else {}
    tested = str(pins['torch'].specifier)[2:]
    if torch is None:
        torch = 'installed' if 'torch' in present else tested
    if torch == 'installed':
        present = {'torch': None, 'torchvision': None} | present
    else:
        stack = [name for name in present if TORCH_STACK.fullmatch(name)]
        present = {n: v for n, v in present.items() if n not in stack}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NOTE).write_text('unfinished\n')
    (folder / 'SHA256SUMS').unlink(missing_ok=True)
    if torch not in ('installed', tested):
        pins = {n: p for n, p in pins.items() if not TORCH_STACK.fullmatch(n)}
        download_torch(folder, python, torch, pins)
    fetch = downloader(folder, python, pins)
    found, _ = walk(read_roots(python, tests), python, present, fetch)
    files = sorted(found.values())
    for file in folder.iterdir():
        if file not in files:
            file.unlink()
    sums = [f'{digest(file)}  {file.name}\n' for file in files]
    (folder / 'SHA256SUMS').write_text(''.join(sums))
    note = f'python {python}\ntorch {torch}\ntests {int(tests)}\n'
    (folder / NOTE).write_text(note)
    size = sum(file.stat().st_size for file in files) / 1e6
    print(
        f'wheelhouse: {folder} for Python {python}, torch {torch}: '
        f'{len(files)} files, {size:.1f} MB'
    )


# --- where there is none


def reader(folder: Path) -> Fetch:
    """Return what takes files that fit this machine from a folder."""
    tags = set(sys_tags())

    def fits(file: Path) -> bool:
        if file.suffix != '.whl':
            return True
        return bool(parse_wheel_filename(file.name)[3] & tags)

    def fetch(wanted: dict[str, Requirement]) -> dict[str, Path]:
        chosen = {}
        for name, requirement in wanted.items():
            files = find(folder, name, requirement)
            if not files:
                fail(
                    f'{folder} lacks {requirement}: collect it again for this '
                    'machine and this version of fx_mm (make wheelhouse)'
                )
            fitting = [file for file in files if fits(file)]
            if not fitting:
                fail(
                    f'{files[0].name} does not fit Python {PYTHON}, '
                    f'{"-".join(platform.libc_ver())}, {platform.machine()}: '
                    'collect the folder for this machine (make wheelhouse)'
                )
            chosen[name] = fitting[0]
        return chosen

    return fetch


def installed() -> Present:
    """Return what this Python shares with another, mmcv excepted.

    What lies in .venv itself is not counted: it follows the folder. Mmcv is
    always compiled: what is there may have no operators, or some for another
    torch.
    """
    shared = [p for p in sys.path if not Path(p).is_relative_to(sys.prefix)]
    present: Present = {}
    for one in metadata.distributions(path=shared):
        name = canonicalize_name(one.metadata['Name'])
        if name != MMCV:
            present.setdefault(SAME.get(name, name), Version(one.version))
    return present


def missing(folder: Path, out: Path) -> None:
    """Write pip's list of what .venv is to hold, mmcv excepted.

    Prints what stays although some package asks for another version.

    Args:
        folder (Path): The wheelhouse.
        out (Path): The list to write, one ``name==version`` in a line.
    """
    note = dict(
        line.split() for line in (folder / NOTE).read_text().splitlines()
    )
    roots = read_roots(PYTHON, tests=note['tests'] == '1')
    files, remarks = walk(roots, PYTHON, installed(), reader(folder))
    del files[MMCV]
    lines = [f'{n}=={parse_name(file)[1]}\n' for n, file in files.items()]
    out.write_text(''.join(sorted(lines)))
    for remark in remarks:
        print('stays:', remark)


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    commands = parser.add_subparsers(dest='command', required=True)
    one = commands.add_parser('collect', help='where there is a network')
    one.add_argument('folder', type=Path)
    one.add_argument('--python', default=PYTHON, help="the other machine's")
    one.add_argument(
        '--torch', help="a version, or 'installed' where there is one"
    )
    one.add_argument('--have', type=Path, help="the other machine's pip list")
    one.add_argument('--no-tests', action='store_true')
    one = commands.add_parser('missing', help='where there is none')
    one.add_argument('folder', type=Path)
    one.add_argument('out', type=Path)
    return parser.parse_args()


def main() -> None:
    """Run one of the two commands."""
    args = parse_args()
    if args.command == 'missing':
        missing(args.folder, args.out)
        return
    python = args.python.removeprefix('python')
    if not re.fullmatch(r'3\.1[0-3]', python):
        fail(f'fx_mm runs on Python 3.10 to 3.13, not on {args.python}')
    collect(args.folder, python, args.torch, args.have, not args.no_tests)


if __name__ == '__main__':
    main()
