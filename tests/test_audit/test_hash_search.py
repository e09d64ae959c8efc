"""The index of hashes against comparing all with all, and its speed."""

import time

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_mm.audit.search import HashIndex


def brute_force(hashes, asked, radius):
    bits = np.bitwise_count(asked[:, None] ^ hashes[None])
    near = bits <= radius
    np.fill_diagonal(near, False)
    return np.argwhere(near).tolist()


def test_no_hashes_and_one():
    empty = np.zeros(0, np.uint64)
    assert HashIndex(empty).near(empty).shape == (0, 3)
    one = np.ones(1, np.uint64)
    assert HashIndex(one).near(one).shape == (0, 3)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(2, 60),
    flips=st.integers(0, 7),
)
def test_all_pairs_up_to_seven_bits(seed, count, flips):
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, count, dtype=np.uint64)
    # copies of the first with some bits changed
    for index in range(1, count // 2):
        for bit in rng.choice(64, flips, replace=False):
            hashes[index] = hashes[0] ^ (np.uint64(1) << np.uint64(bit))
    asked = np.roll(hashes, 1)
    found = HashIndex(hashes).near(asked, radius=7)
    assert found[:, :2].tolist() == brute_force(hashes, asked, 7)
    bits = np.bitwise_count(asked[found[:, 0]] ^ hashes[found[:, 1]])
    assert (bits == found[:, 2]).all()


def test_equal_hashes_are_all_found():
    hashes = np.full(300, 2**63 + 5, np.uint64)
    found = HashIndex(hashes).near(hashes)
    assert len(found) == 300 * 299
    assert (found[:, 2] == 0).all()


def test_batches_give_what_one_gives(monkeypatch):
    hashes = np.random.default_rng(0).integers(0, 64, 200).astype(np.uint64)
    index = HashIndex(hashes)
    whole = index.near(hashes)
    monkeypatch.setattr('fx_mm.audit.search.BATCH', 500)
    assert (index.near(hashes) == whole).all()


def test_two_hundred_thousand_in_seconds():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 200_000, dtype=np.uint64)
    hashes[-1000:] = hashes[:1000] ^ np.uint64(0b1011)
    # of this process: other programs may hold the cores
    start = time.process_time()
    found = HashIndex(hashes).near(hashes, radius=5)
    assert time.process_time() - start < 5
    planted = {(i, 199_000 + i) for i in range(1000)}
    assert planted <= set(map(tuple, found[:, :2].tolist()))
    assert len(found) == 2000
