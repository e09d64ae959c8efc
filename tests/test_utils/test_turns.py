"""A few of many, each kind among them."""

from fx_mm.utils.turns import take_turns


def test_nothing_to_choose_from():
    assert take_turns({}, 3) == []
    assert take_turns({('cls', 'A'): []}, 3) == []
    assert take_turns({('cls', 'A'): [1, 2]}, 0) == []


def test_a_kind_does_not_wait_for_the_classes_of_another():
    groups = {('cls', str(n)): [n, 100 + n] for n in range(30)}
    groups['loc', 'Nodule'] = [7, 200, 201]
    groups['seg', 'Lung'] = [300]
    chosen = take_turns(groups, 4)
    assert chosen == [0, 7, 300, 1]
    # each once, whatever it has
    chosen = take_turns(groups, 100)
    assert sorted(chosen) == sorted(
        {m for members in groups.values() for m in members}
    )
