"""Adapters in state dicts: merged, hashed, joined with their base."""

import pytest
import torch

from fx_mm.utils.adapted_weights import (
    add_base,
    describe_base,
    hash_weights,
    merge_adapters,
)
from fx_mm.utils.errors import UserError
from fx_mm.utils.model_weights import model_weights
from fx_mm.utils.weight_files import dump_safetensors, read_safetensors


def weights(root='', seed=0):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    return {
        f'{root}backbone.a.0.qkv.weight': draw(6, 4),
        f'{root}backbone.a.0.qkv.bias': draw(6),
        f'{root}heads.x': draw(3),
        f'{root}adapter.layers.a/0/qkv.down': draw(2, 4),
        f'{root}adapter.layers.a/0/qkv.up': draw(6, 2),
        f'{root}adapter.layers.a/0/qkv.scale': torch.tensor(1.5),
    }


def test_nothing_to_merge():
    assert merge_adapters({}, 'x') == {}
    plain = {'backbone.weight': torch.ones(2), 'adapter.conv': torch.ones(1)}
    assert merge_adapters(plain, 'x') is plain


@pytest.mark.parametrize('root', ['', 'student.', 'teacher.'])
def test_merged_by_the_formula(root):
    given = weights(root)
    merged = merge_adapters(given, 'x')
    assert list(merged) == list(given)[:3]
    name = f'{root}backbone.a.0.qkv.weight'
    start = f'{root}adapter.layers.a/0/qkv.'
    change = 1.5 * given[f'{start}up'] @ given[f'{start}down']
    torch.testing.assert_close(merged[name], given[name] + change)
    others = [each for each in merged if each != name]
    assert all(merged[each] is given[each] for each in others)


def test_student_and_teacher_are_merged_apart():
    both = {**weights('student.'), **weights('teacher.', seed=1)}
    found = model_weights(dict(state_dict=both), 'x')
    assert found.held == ('teacher', 'student')
    alone = merge_adapters(weights(seed=1), 'x')
    assert all(torch.equal(found.chosen[name], alone[name]) for name in alone)


@pytest.mark.parametrize('lost', ['backbone.a.0.qkv.weight', 'down', 'scale'])
def test_an_adapter_that_lacks_something_is_refused(lost):
    given = {k: v for k, v in weights().items() if not k.endswith(lost)}
    with pytest.raises(UserError, match=f'has an adapter without .*{lost}'):
        merge_adapters(given, 'x')


def test_the_hash_is_of_the_weights(tmp_path):
    given = dict(weights(), count=torch.tensor(3))
    assert hash_weights({}) != hash_weights(given)
    turned = dict(reversed(given.items()))
    assert hash_weights(turned) == hash_weights(given)
    path = tmp_path / 'x.safetensors'
    path.write_bytes(dump_safetensors(given))
    assert hash_weights(read_safetensors(path)) == hash_weights(given)
    turned['heads.x'] = turned['heads.x'].nextafter(torch.tensor(9.0))
    assert hash_weights(turned) != hash_weights(given)
    shaped = dict(given, **{'heads.x': given['heads.x'][None]})
    assert hash_weights(shaped) != hash_weights(given)


def test_the_base_is_looked_for_where_it_was_and_beside(tmp_path):
    base = {'backbone.w': torch.ones(2), 'heads.x': torch.zeros(1)}
    entry = describe_base('gone/base.pth', base, ['backbone.w', 'other'])
    assert entry['weights'] == ['backbone.w']
    source = str(tmp_path / 'adapter.pth')
    own = {'student.heads.y': torch.ones(1), 'teacher.heads.y': torch.ones(1)}
    with pytest.raises(UserError, match='"gone/base.pth" .* does not exist'):
        add_base(own, entry, source, lambda path: base)
    (tmp_path / 'base.pth').touch()
    read = []

    def load(path):
        read.append(path)
        return base

    whole = add_base(own, entry, source, load)
    assert read == [str(tmp_path / 'base.pth')]
    assert set(whole) == {
        *own,
        'student.backbone.w',
        'teacher.backbone.w',
    }
    changed = {**base, 'heads.x': torch.ones(1)}
    with pytest.raises(UserError, match='other weights are in'):
        add_base(own, entry, source, lambda path: changed)
