"""Configs with mutated keys and values."""

import copy
import itertools

from fuzzing import fuzz
from hypothesis import strategies as st
from mmengine.config import Config
from small_run import CONFIG, TINY

from fx_mm.apis import build_runner, expand_config, load_config
from fx_mm.utils.errors import UserError

ODD = st.sampled_from(
    [None, True, False, '', 'x', 'teacher', -1, 0, 1, 3, 0.5, 1e9, -0.1]
    + [[], {}, [1, 2], ['x'], {'type': 'Nothing'}, {'type': None}, {'x': 1}]
    + [(0.1, 0.9), 'mean', float('nan'), float('inf'), [[]], [None]]
)
BASE = load_config(str(CONFIG), TINY)
_names = itertools.count()


def paths_of(value, path=()):
    """Walk all keys and indices of nested dicts and lists."""
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    else:
        return
    for key, inner in items:
        yield (*path, key)
        yield from paths_of(inner, (*path, key))


# what decides where files are written, and draws thousands, is left alone
PATHS = [
    path
    for path in paths_of(BASE.to_dict())
    if path[0] not in ('work_dir', 'experiment_name', 'launcher', 'phantom')
]
CHANGE = st.tuples(
    st.sampled_from(PATHS),
    st.sampled_from(['set', 'set', 'drop', 'rename', 'add']),
    ODD,
)


def change(content, path, what, value):
    """Change one place of a config, if it is still there."""
    # a value drawn twice must not end up inside itself
    value = copy.deepcopy(value)
    for key in path[:-1]:
        try:
            content = content[key]
        except (KeyError, IndexError, TypeError):
            return
    key = path[-1]
    if not isinstance(content, dict | list):
        return
    if isinstance(content, list):
        if key < len(content):
            content[key] = value
    elif what == 'set':
        content[key] = value
    elif what == 'add':
        content[f'{key}_too'] = value
    elif key in content:
        old = content.pop(key)
        if what == 'rename':
            content[str(key)[::-1]] = old


def mutated(folder, changes):
    """The demo's config with changes, as :func:`load_config` returns it."""
    content = BASE.to_dict()
    content['work_dir'] = str(folder)
    content['experiment_name'] = f'fuzz_{next(_names)}'
    for place in changes:
        change(content, *place)
    return Config(content)


def one_sentence(error):
    text = str(error)
    assert text.strip() and 'Traceback' not in text
    return 'refused'


@fuzz(st.lists(CHANGE, min_size=1, max_size=2), examples=100)
def test_expanding(folder, changes):
    """A config is expanded or refused in words."""
    try:
        expand_config(mutated(folder, changes), synthetic=True)
    except UserError as error:
        return one_sentence(error)
    return 'read'


@fuzz(st.lists(CHANGE, min_size=1, max_size=2), examples=15)
def test_building(folder, changes):
    """A runner is built or refused in words."""
    try:
        build_runner(mutated(folder, changes), synthetic=True)
    except UserError as error:
        return one_sentence(error)
    return 'read'
