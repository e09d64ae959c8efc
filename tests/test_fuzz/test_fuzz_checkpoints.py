"""Checkpoints with mutated entries and bytes."""

import copy
import functools

import torch
from fuzzing import damage, damaged, fuzz, outcome_of
from hypothesis import strategies as st
from model_helpers import TASKS, build

from fx_mm.models.loading import load_all_weights
from fx_mm.utils.checkpoint import load_source

FEW = TASKS[:1]


@functools.cache
def model():
    return build(tasks=FEW)


ODD = st.sampled_from(
    [None, 3, 'x', [], {}, [torch.zeros(2)], torch.zeros(3), torch.zeros(0)]
    + [torch.full((2, 2), float('nan')), {'state_dict': {}}, {'a': 'b'}]
)


@fuzz(
    st.tuples(
        st.sampled_from(['bare', 'state_dict', 'model', 'model_state_dict']),
        st.sampled_from(['', 'module.', '_orig_mod.', 'student.', 'model.']),
        st.lists(
            st.tuples(
                st.integers(0, 400),
                st.sampled_from(['drop', 'set', 'rename', 'half']),
                ODD,
            ),
            max_size=2,
        ),
        st.none() | ODD,
    ),
    examples=60,
)
def test_entries(folder, drawn):
    """Weights are loaded or refused, the file named."""
    container, prefix, changes, meta = drawn
    weights = dict(copy.copy(model().state_dict()))
    for number, what, value in changes:
        key = list(weights)[number % len(weights)]
        old = weights.pop(key)
        if what == 'set':
            weights[key] = value
        elif what == 'rename':
            weights[f'{key}x'] = old
        elif what == 'half' and isinstance(old, torch.Tensor):
            weights[key] = old.half() if old.is_floating_point() else old
    weights = {prefix + key: value for key, value in weights.items()}
    content = weights if container == 'bare' else {container: weights}
    if meta is not None:
        content['meta'] = meta
    path = folder / 'x.pth'
    torch.save(content, path)

    def load():
        load_all_weights(model(), load_source(str(path)), str(path))
        return True

    _, outcome = outcome_of(load, path)
    if outcome == 'read':
        for value in model().state_dict().values():
            assert torch.isfinite(value).all()
    return outcome


@fuzz(st.just([]) | damage(100_000), examples=60)
def test_damaged_bytes(folder, changes):
    """A cut or changed file is loaded or refused, the file named."""
    path = folder / 'x.pth'
    torch.save({'state_dict': model().state_dict()}, path)
    path.write_bytes(damaged(path.read_bytes(), changes))

    def load():
        load_all_weights(model(), load_source(str(path)), str(path))
        return True

    return outcome_of(load, path)[1]
