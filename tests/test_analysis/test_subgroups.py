"""AUC by group, the gaps, and what is read for them."""

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fx_mm.analysis.reports import write_scores
from fx_mm.analysis.subgroups import (
    ALL,
    MEAN,
    age_groups,
    compare_groups,
    labels_of,
    read_metadata,
    read_scores,
    sex_groups,
)
from fx_mm.evaluation.metrics.cls_metric import ClsMetric, ClsRecord
from fx_mm.evaluation.report.predictions import TaskPredictions
from fx_mm.evaluation.statistics.multiplicity import adjust
from fx_mm.utils.errors import UserError


def test_groups():
    sexes = sex_groups(['F', 'female', 'M', '', 'Male', 'unknown'])
    assert sexes['female'].tolist() == [True, True] + [False] * 4
    assert sexes['male'].sum() == 2
    ages = age_groups(['17', '018Y', '40', '79', '80', '', '16month'])
    assert {
        name: mask.nonzero()[0].tolist() for name, mask in ages.items()
    } == {
        'below 18': [0, 6],
        '18 to 39': [1],
        '40 to 59': [2],
        '60 to 79': [3],
        'from 80': [4],
    }
    assert list(age_groups(['1'], [65])) == ['below 65', 'from 65']


def test_gaps_are_differences_of_aucs():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 2, (120, 2)).astype(float)
    labels[:4, 0] = np.nan
    strength = np.repeat([2.0, 0.0], 60)[:, None]
    scores = np.nan_to_num(labels) * strength + rng.normal(size=(120, 2))
    women, men = np.arange(120) < 60, np.arange(120) >= 60
    men[-3:] = False  # unknown
    groups = dict(female=women, male=men)
    report = compare_groups(
        labels, scores, ['A', 'B'], groups, resamples=300, seed=5
    )
    assert list(report) == ['A', 'B', MEAN]
    values = {}
    for c, name in enumerate('AB'):
        for group, mask in (*groups.items(), (ALL, women | men)):
            chosen = mask & ~np.isnan(labels[:, c])
            value = roc_auc_score(labels[chosen, c], scores[chosen, c])
            values[name, group] = value
            found = report[name][group]
            assert found.auc.value == pytest.approx(value)
            assert found.positive == labels[chosen, c].sum()
            assert found.negative == (1 - labels[chosen, c]).sum()
        gap = values[name, 'female'] - values[name, 'male']
        female, male = (report[name][g].gap for g in groups)
        assert female.value == pytest.approx(gap)
        assert male.value == pytest.approx(-gap)
        assert (male.low, male.high) == pytest.approx(
            (-female.high, -female.low)
        )
        assert female.low > 0.1  # the model only works for women
        female, male = (report[name][g] for g in groups)
        assert female.p == male.p == 2 / 301
        # two classes; two groups have one gap
        assert female.p_adjusted == male.p_adjusted == 4 / 301
    mean = report[MEAN]['female'].gap
    gaps = [report[name]['female'].gap.value for name in 'AB']
    assert mean.value == pytest.approx(sum(gaps) / 2)
    assert math.isnan(report['A'][ALL].gap.value)
    assert math.isnan(report['A'][ALL].p)
    summary = report[MEAN]['female']
    assert summary.p_adjusted == summary.p == 2 / 301
    corrected = compare_groups(
        labels, scores, ['A', 'B'], groups, 300, 5, bca=True
    )
    gap, plain = (each['A']['female'].gap for each in (corrected, report))
    assert gap.value == plain.value
    assert gap[1:] == pytest.approx(plain[1:], abs=0.05)
    assert gap != plain


def test_a_group_without_both_outcomes_is_undefined():
    labels = np.array([[1.0], [1.0], [0.0], [1.0]])
    scores = np.array([[0.9], [0.8], [0.1], [0.7]])
    first = np.array([True, True, False, False])
    report = compare_groups(
        labels, scores, ['A'], dict(x=first, y=~first), resamples=20
    )
    assert math.isnan(report['A']['x'].auc.value)
    assert math.isnan(report['A']['x'].gap.value)
    assert report['A']['y'].auc.value == 1.0
    assert report['A']['x'].negative == 0
    assert math.isnan(report['A']['x'].p_adjusted)


def test_all_gaps_of_several_groups_are_adjusted_together():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (150, 2)).astype(float)
    scores = labels + rng.normal(size=(150, 2))
    third = np.arange(150) % 3
    groups = {str(number): third == number for number in range(3)}
    for correction in ('holm', 'bh'):
        report = compare_groups(
            labels, scores, 'AB', groups, 100, correction=correction
        )
        for titles in ('AB', [MEAN]):
            family = [report[t][name] for t in titles for name in groups]
            expected = adjust([each.p for each in family], correction)
            found = [each.p_adjusted for each in family]
            assert found == expected.tolist()


def test_scores_of_all_forms(tmp_path):
    names = ['a/1.png', '2.png']
    file = write_scores(
        tmp_path / 's.csv',
        names,
        {'A': [0.1, math.nan], 'x/cls/A': [0.5, 0.5]},
        {'A': [1.0, math.nan]},
    )
    found = read_scores(file)
    assert found.classes == ['A'] and found.names == names
    assert found.labels[0, 0] == 1 and np.isnan(found.labels[1, 0])
    assert found.scores[0, 0] == pytest.approx(0.1)

    file.write_text('image,x/cls/A,y/cls/B,error\n/data/a/1.png,0.25,0.5,\n')
    found = read_scores(file, 'x/cls')
    assert (found.classes, found.labels) == (['A'], None)
    assert found.scores.tolist() == [[0.25]]
    table = tmp_path / 't.csv'
    table.write_text('image,sex,A\n9.png,M,1\na/1.png,F,-1\n')
    metadata = read_metadata(table, found.names)
    assert metadata['sex'] == ['F']
    assert np.isnan(labels_of(metadata, ['A'])).all()
    assert labels_of(read_metadata(table, ['9.png']), ['A']).tolist() == [
        [1.0]
    ]

    meta = dict(task='x/cls', dataset='x', kind='cls', classes=['A', 'B'])
    meta['label_type'] = 'multi-label'
    records = [
        ('1.png', np.array([1.0, np.nan]), np.array([0.3, 0.6])),
        ('2.png', np.array([0.0, 1.0]), np.array([0.2, 0.4])),
    ]
    metric = ClsMetric()
    metric.dataset_meta = meta
    file = TaskPredictions(
        meta,
        'teacher',
        'test',
        [ClsRecord(*record) for record in records],
        ['p', 'q'],
    ).save(tmp_path, metric)
    found = read_scores(file)
    assert found.classes == ['A', 'B'] and found.patients == ['p', 'q']
    assert found.scores.tolist() == [[0.3, 0.6], [0.2, 0.4]]
    assert np.isnan(found.labels[0, 1])


def test_mistakes(tmp_path):
    file = tmp_path / 's.csv'
    file.write_text('name,A\n1.png,0.5\n')
    with pytest.raises(UserError, match='no column "image"'):
        read_scores(file)
    file.write_text('image,A\n1.png,high\n')
    with pytest.raises(UserError, match='row 2: a score is not a number'):
        read_scores(file)
    with pytest.raises(UserError, match='no column "x/cls/..."'):
        read_scores(file, 'x/cls')
    with pytest.raises(UserError, match='no row for image "7.png"'):
        read_metadata(file, ['7.png'])
    with pytest.raises(UserError, match='no column "B"'):
        labels_of(dict(A=['1']), ['B'])
