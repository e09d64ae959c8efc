"""Buffers: whole patients, nested, the same whatever the order of names."""

import numpy as np
import pytest

from fx_mm.datasets.rehearsal_buffer import (
    load_buffer,
    read_buffer,
    save_buffer,
    select_images,
)
from fx_mm.utils.errors import UserError

RNG = np.random.default_rng(0)
OWNERS = [f'p{i}' for i in range(60) for _ in range(1 + i % 4)]
NAMES = [f'{owner}_{i}.png' for i, owner in enumerate(OWNERS)]
CLASSES = (RNG.random((len(NAMES), 3)) < [0.5, 0.2, 0.05]).astype(np.float32)
FEATURES = RNG.normal(size=(len(NAMES), 5)).astype(np.float32)
HOWS = {
    'random': {},
    'balanced': dict(classes=CLASSES),
    'herding': dict(classes=CLASSES, features=FEATURES),
    'herding without classes': dict(features=FEATURES),
}


@pytest.fixture(params=HOWS, ids=lambda name: name.replace(' ', '-'))
def how(request):
    return HOWS[request.param]


def test_no_image_asked_for_keeps_one_patient(how):
    chosen = select_images(NAMES, 0, patients=OWNERS, **how)
    assert len({OWNERS[i] for i in chosen}) == 1


def test_patients_are_never_split_and_choices_nested(how):
    before = set()
    for n in (0, 1, 7, 8, 20, 21, len(NAMES)):
        chosen = set(select_images(NAMES, n, patients=OWNERS, **how))
        assert before <= chosen and (len(chosen) <= n or n < 5)
        owners = {OWNERS[i] for i in chosen}
        assert chosen == {i for i, o in enumerate(OWNERS) if o in owners}
        before = chosen
    assert len(before) == len(NAMES)


def test_the_order_of_the_names_does_not_matter(how):
    places = RNG.permutation(len(NAMES))
    moved = {key: value[places] for key, value in how.items()}
    names = [NAMES[i] for i in places]
    owners = [OWNERS[i] for i in places]
    ours = {NAMES[i] for i in select_images(NAMES, 20, 1, OWNERS, **how)}
    theirs = {names[i] for i in select_images(names, 20, 1, owners, **moved)}
    assert ours == theirs


def test_another_seed_is_another_random_choice():
    one, two = (select_images(NAMES, 20, seed) for seed in (0, 1))
    assert len(one) == len(two) == 20 and one != two


def test_balanced_has_more_of_rare_classes():
    chance = select_images(NAMES, 24, patients=OWNERS)
    even = select_images(NAMES, 24, patients=OWNERS, classes=CLASSES)
    assert CLASSES[even].sum(0)[2] > CLASSES[chance].sum(0)[2]
    assert CLASSES[even].sum(0).min() >= 4


def test_herding_is_that_of_its_definition():
    """iCaRL, equation 4: one class, one image per patient."""
    mean, chosen = FEATURES.mean(0, dtype=np.float64), []
    for k in range(1, 11):
        distances = [
            np.inf
            if i in chosen
            else np.linalg.norm(mean - FEATURES[[*chosen, i]].sum(0) / k)
            for i in range(len(NAMES))
        ]
        chosen.append(int(np.argmin(distances)))
    found = select_images(NAMES, 10, features=FEATURES)
    assert found == sorted(chosen)


def test_images_without_a_class_are_kept_too():
    none = ~(CLASSES > 0.5).any(1)
    chosen = select_images(NAMES, 24, patients=OWNERS, classes=CLASSES)
    assert none[chosen].sum() >= 4


def test_files(tmp_path):
    file = save_buffer(tmp_path / 'buffer.json', {'a/cls': ['x', 'y']}, seed=1)
    assert load_buffer(file) == {'a/cls': ['x', 'y']}
    assert read_buffer(file, 'a/cls') == ['x', 'y']
    with pytest.raises(UserError, match='no images of b/loc; it has a/cls'):
        read_buffer(file, 'b/loc')
    for text in ('', '[]', '{"format": "other"}', '{}'):
        file.write_text(text)
        with pytest.raises(UserError, match='is no rehearsal buffer'):
            load_buffer(file)
    with pytest.raises(UserError, match='is no rehearsal buffer'):
        load_buffer(tmp_path / 'none.json')
