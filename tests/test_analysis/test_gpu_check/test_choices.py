"""Two runs choose the same queries and matches."""

import torch

from fx_mm.analysis.gpu_check.choices import Choices
from fx_mm.models import StackedMatcher


def test_the_best_of_a_first_run():
    first = torch.tensor([[3.0, 1.0, 2.0]])
    other = torch.tensor([[1.0, 2.0, 3.0]])
    choices = Choices()
    with choices.kept():
        assert first.topk(2, dim=1).indices.tolist() == [[0, 2]]
    with choices.kept():
        values, indices = other.topk(2, dim=1)
        # a further call chooses by itself
        assert other.topk(1, dim=1).indices.tolist() == [[2]]
    assert indices.tolist() == [[0, 2]] and values.tolist() == [[1.0, 3.0]]
    assert other.topk(2, dim=1).indices.tolist() == [[2, 1]]


def test_given_indices():
    scores = torch.rand(1, 5)
    with Choices([torch.tensor([[4, 0]])]).kept():
        assert scores.topk(2, dim=1).indices.tolist() == [[4, 0]]


def test_matches_of_a_first_run(monkeypatch):
    found = iter(range(9))
    monkeypatch.setattr(
        StackedMatcher,
        '__call__',
        lambda self, scores: (torch.tensor([next(found)]),) * 3,
    )
    matcher = StackedMatcher.__new__(StackedMatcher)
    scores, choices = torch.rand(1), Choices()
    for _ in range(2):
        with choices.kept():
            assert [int(x) for x in matcher(scores)] == [0, 0, 0]
    assert int(matcher(scores)[0]) == 1
