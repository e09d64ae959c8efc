"""Saved predictions give the very same numbers again."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_predictions import meta, metric_of, predict

from fx_mm.evaluation.metrics.mask_codes import decode, encode
from fx_mm.evaluation.report.predictions import find_files, read_predictions
from fx_mm.utils.errors import UserError

NAN = float('nan')


def same(ours, theirs):
    """Equal to the last bit, NaN equal to NaN."""
    assert list(ours) == list(theirs)
    for key, value in ours.items():
        np.testing.assert_array_equal(value, theirs[key], err_msg=key)


@pytest.mark.parametrize('n', [0, 1, 20])
@pytest.mark.parametrize('kind', ['cls', 'loc', 'seg'])
def test_the_same_to_the_last_bit(kind, n, tmp_path):
    patients = [f'p{i // 2}' for i in range(n)]
    before = predict(kind, 'student', n=n, patients=patients)
    file = before.save(tmp_path, metric_of(meta(kind)))
    assert file == tmp_path / f'test/student/x_{kind}.npz'
    after = read_predictions(file, metric_of)
    for key in ('task', 'predict_on', 'split', 'patients', 'config'):
        assert getattr(before, key) == getattr(after, key)
    assert after.checkpoint == 'iter_1.pth'
    same(before.metrics, after.metrics)
    metric = metric_of(meta(kind))
    same(metric.details(before.records), metric.details(after.records))
    weights = np.random.default_rng(0).integers(0, 3, (4, n)).astype(np.uint16)
    same(
        metric.statistics(before.records)(weights),
        metric.statistics(after.records)(weights),
    )


def test_another_option_of_the_metric_needs_no_model(tmp_path):
    file = predict('seg').save(tmp_path, metric_of(meta('seg')))

    def at_training_size(task):
        metric = metric_of(task, keep_masks=False)
        metric.size = 'training'
        return metric

    after = read_predictions(file, at_training_size)
    assert after.metrics['Dice_pos'] != predict('seg').metrics['Dice_pos']
    assert after.records[0].codes is None


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.floats(0, 1),
    st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
)
def test_run_lengths_keep_every_pixel(seed, share, shape):
    rng = np.random.default_rng(seed)
    masks = torch.from_numpy((rng.random(shape) < share) * np.uint8(255))
    assert (decode(encode(masks)) == (masks > 0)).all()


def test_a_file_is_small_and_holds_no_objects(tmp_path):
    file = predict('seg').save(tmp_path, metric_of(meta('seg')))
    with np.load(file, allow_pickle=False) as content:
        assert json.loads(content['meta'].tobytes())['version'] == 1
        assert all(content[key].dtype != object for key in content.files)


def test_a_file_that_is_cut_off_is_refused(tmp_path):
    file = predict('loc').save(tmp_path, metric_of(meta('loc')))
    content = file.read_bytes()
    for length in range(0, len(content), 97):
        file.write_bytes(content[:length])
        with pytest.raises(UserError, match='holds no predictions'):
            read_predictions(file, metric_of)


def test_a_file_that_lacks_a_part_is_refused(tmp_path):
    file = predict('cls').save(tmp_path, metric_of(meta('cls')))
    with np.load(file) as content:
        whole = dict(content)
    fewer = json.loads(whole['meta'].tobytes())
    del fewer['patients']
    broken = (
        dict(whole, scores=whole['scores'][:3]),
        {key: value for key, value in whole.items() if key != 'labels'},
        dict(whole, meta=np.frombuffer(json.dumps(fewer).encode(), np.uint8)),
    )
    for columns in broken:
        np.savez(file, **columns)
        with pytest.raises(UserError, match='lacks a part'):
            read_predictions(file, metric_of)


def test_a_task_that_is_not_asked_for_is_left_out(tmp_path):
    file = predict('cls').save(tmp_path, metric_of(meta('cls')))
    assert read_predictions(file, lambda task: None) is None


def test_other_files_are_refused(tmp_path):
    with pytest.raises(UserError, match='has no predictions'):
        find_files(tmp_path)
    with pytest.raises(UserError, match='has no predictions'):
        find_files(tmp_path / 'no.npz')
    file = tmp_path / 'x.npz'
    for content in (b'', b'no zip', None):
        if content is None:
            np.savez(file, other=np.zeros(3))
        else:
            file.write_bytes(content)
        with pytest.raises(UserError, match='holds no predictions'):
            read_predictions(file, metric_of)
    np.save(tmp_path / 'x.npy', np.zeros(3))
    (tmp_path / 'x.npy').rename(file)
    with pytest.raises(UserError, match='holds no predictions'):
        read_predictions(file, metric_of)
    text = json.dumps(dict(format='fx_mm predictions', version=9))
    np.savez(file, meta=np.frombuffer(text.encode(), np.uint8))
    with pytest.raises(UserError, match='version 9'):
        read_predictions(file, metric_of)
