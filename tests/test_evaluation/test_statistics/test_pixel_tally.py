"""Thresholds of masks and boxes by Dice and F1."""

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData

from fx_mm.evaluation.statistics.box_matches import LocRecord
from fx_mm.evaluation.statistics.froc import Froc
from fx_mm.evaluation.statistics.pixel_tally import PixelTally


def test_without_images_or_a_pixel_there_is_none():
    tally = PixelTally(2)
    assert [score for _, score in tally.best()] == [0, 0]
    tally.add(
        torch.rand(2, 5, 6),
        PixelData(data=torch.zeros(2, 5, 6, dtype=torch.uint8)),
    )
    assert all(np.isnan(limit) for limit, _ in tally.best())


def test_the_best_dice_of_its_definition():
    generator = torch.Generator().manual_seed(0)
    tallies, probs, truths = [], [], []
    for _ in range(3):
        truth = (torch.rand(2, 9, 8, generator=generator) > 0.6).byte()
        noise = torch.rand(2, 9, 8, generator=generator)
        prob = (0.6 * truth + noise) / 1.6
        ignore = torch.zeros(1, 9, 8, dtype=torch.uint8)
        ignore[:, :2] = 1
        tally = PixelTally(2)
        tally.add(prob, PixelData(data=truth, ignore=ignore))
        tallies.append(tally)
        probs.append(prob[:, 2:])
        truths.append(truth[:, 2:] > 0)
    prob, truth = torch.cat(probs, 1), torch.cat(truths, 1)
    found = PixelTally(2).add_all(tallies).best()
    for c, (limit, score) in enumerate(found):
        dice = {}
        for step in range(1, 20):
            mask = prob[c] >= step / 20
            both = (mask & truth[c]).sum()
            dice[step / 20] = float(2 * both / (mask.sum() + truth[c].sum()))
        best = max(dice.values())
        assert score == pytest.approx(best)
        assert limit == pytest.approx(max(k for k in dice if dice[k] == best))


def record(name, truth, pred, scores):
    def boxes(values):
        return np.array(values, np.float64).reshape(-1, 4)

    truth, pred = boxes(truth), boxes(pred)
    return LocRecord(
        name,
        truth,
        np.zeros(len(truth), np.int64),
        np.zeros(len(truth), bool),
        pred,
        np.zeros(len(pred), np.int64),
        np.array(scores, np.float64),
    )


def test_boxes_without_truth_or_without_a_hit_have_no_f1():
    box, other = [0, 0, 9, 9], [20, 20, 30, 30]
    for images in (
        [record('a', [], [], [])],
        [record('a', [], [box], [0.9])],
        [record('a', [box], [other], [0.9])],
        [record('a', [box], [], [])],
    ):
        limit, score = Froc(images, 0, 0.2, 100).best_f1()
        assert np.isnan(limit) and score == 0


def test_the_best_f1_of_boxes():
    box, other = [0, 0, 9, 9], [20, 20, 30, 30]
    images = [
        record('a', [box, other], [box, other], [0.9, 0.3]),
        record('b', [box], [box, other], [0.6, 0.5]),
        record('c', [], [other], [0.2]),
    ]
    # from 0.3: 3 found, 1 false, none missed; from 0.6: 2 found, 1 missed
    limit, score = Froc(images, 0, 0.2, 100).best_f1()
    assert limit == 0.3
    assert score == pytest.approx(6 / 7)
