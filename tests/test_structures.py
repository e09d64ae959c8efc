import pickle

import pytest
import torch
from mmengine.structures import PixelData

from fx_mm.structures import FXDataSample


def make():
    sample = FXDataSample(metainfo=dict(task='toy/cls', kind='cls'))
    sample.gt_score = torch.tensor([0.0, float('nan'), 1.0])
    sample.pred_score = torch.tensor([0.2, 0.3, 0.9])
    sample.gt_sem_seg = PixelData(data=torch.ones(2, 4, 5, dtype=torch.uint8))
    return sample


def test_scores_are_fields_that_move_and_convert_with_the_sample():
    sample = make()
    assert sample.task == 'toy/cls'
    assert set(sample.to_dict()) >= {'gt_score', 'pred_score', 'gt_sem_seg'}
    moved = sample.to('meta')
    assert moved.gt_score.device.type == 'meta'
    assert moved.gt_sem_seg.data.device.type == 'meta'
    assert sample.gt_score.device.type == 'cpu'


def test_pickles_and_clones():
    for copy in (pickle.loads(pickle.dumps(make())), make().clone()):
        assert torch.equal(copy.pred_score, make().pred_score)
        assert copy.gt_score.isnan().tolist() == [False, True, False]
        assert copy.task == 'toy/cls'


def test_scores_can_be_deleted_and_must_be_tensors():
    sample = make()
    del sample.pred_score
    assert 'pred_score' not in sample
    with pytest.raises(AssertionError):
        sample.gt_score = [0.1]
