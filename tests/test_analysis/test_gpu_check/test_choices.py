"""Two runs choose the same queries and matches."""

import torch
from torch import nn

from fx_mm.analysis.gpu_check.choices import Choices
from fx_mm.models import StackedMatcher


def test_the_best_of_a_first_run():
    first = torch.tensor([[3.0, 1.0, 2.0]])
    other = torch.tensor([[1.0, 2.0, 3.0]])
    choices = Choices()
    with choices.kept(nn.Identity()):
        assert first.topk(2, dim=1).indices.tolist() == [[0, 2]]
    with choices.kept(nn.Identity()):
        values, indices = other.topk(2, dim=1)
        # a further call chooses by itself
        assert other.topk(1, dim=1).indices.tolist() == [[2]]
    assert indices.tolist() == [[0, 2]] and values.tolist() == [[1.0, 3.0]]
    assert other.topk(2, dim=1).indices.tolist() == [[2, 1]]


def test_given_indices():
    scores = torch.rand(1, 5)
    with Choices([torch.tensor([[4, 0]])]).kept(nn.Identity()):
        assert scores.topk(2, dim=1).indices.tolist() == [[4, 0]]


class Counting(StackedMatcher):
    """Finds 0, then 1, then 2."""

    def __init__(self):
        self.calls = 0

    def __call__(self, scores):
        self.calls += 1
        return (torch.tensor([self.calls - 1]),) * 3


def test_matches_of_a_first_run():
    head = nn.Identity()
    head.matcher = matcher = Counting()
    model = nn.Sequential(nn.Linear(1, 1), head)
    scores, choices = torch.rand(1), Choices()
    for _ in range(2):
        with choices.kept(model):
            assert [int(x) for x in head.matcher(scores)] == [0, 0, 0]
    assert head.matcher is matcher
    assert int(matcher(scores)[0]) == 1
