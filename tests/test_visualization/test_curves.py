"""Curves from mmengine's scalars file."""

import json

import cv2
import pytest
from matplotlib.figure import Figure

from fx_mm.utils.errors import UserError
from fx_mm.visualization.curves import (
    _draw_metrics,
    plot_curves,
    read_scalars,
)


def write(path, records, tail=''):
    lines = [json.dumps(record) for record in records]
    path.write_text('\n'.join(lines) + '\n' + tail)
    return path


RECORDS = [
    {'a/cls/loss': 0.7, 'a/cls/loss_bce': 0.6, 'lr': 1e-4, 'step': 10},
    {'a/cls/loss': float('nan'), 'step': 20},
    {'a/cls/loss': 0.5, 'step': 30, 'cycle': 2},
    {'a/cls/AUC': 0.6, 'student/a/cls/AUC': 0.55, 'step': 30},
    {'b/loc/loss': 12.0, 'step': 35},
    {'b/loc/mAP_40': float('nan'), 'b/loc/AP_40/mass': 0.1, 'step': 40},
]


def test_reads_what_is_finite_and_survives_half_a_line(tmp_path):
    path = write(tmp_path / 'scalars.json', RECORDS, '{"a/cls/loss": 0.')
    curves = read_scalars([path])
    assert curves['a/cls/loss'] == [(10, 0.7), (30, 0.5)]
    assert curves['student/a/cls/AUC'] == [(30, 0.55)]
    assert 'b/loc/mAP_40' not in curves


def test_a_resumed_run_replaces_the_overlap(tmp_path):
    first = write(
        tmp_path / '1.json',
        [{'a/cls/loss': 3.0, 'step': 1}, {'a/cls/loss': 2.0, 'step': 2}],
    )
    second = write(
        tmp_path / '2.json',
        [{'a/cls/loss': 1.5, 'step': 2}, {'a/cls/loss': 1.0, 'step': 3}],
    )
    assert read_scalars([first, second])['a/cls/loss'] == [
        (1, 3.0),
        (2, 1.5),
        (3, 1.0),
    ]


@pytest.mark.parametrize('n_tasks', [1, 3])
def test_draws_every_task(tmp_path, n_tasks):
    records = [
        {f'd{i}/{kind}/loss': 1.0 / step, 'step': step}
        for step in range(1, 5)
        for i, kind in enumerate(('cls', 'loc', 'seg')[:n_tasks])
    ]
    path = write(tmp_path / 'scalars.json', records + RECORDS[:1])
    out = plot_curves(path, tmp_path / 'new' / 'curves.png')
    height, width = cv2.imread(str(out)).shape[:2]
    assert (height, width) == (260 * (n_tasks + 2) // 2 // 260 * 260, 1600)


def test_means_over_tasks_are_no_task(tmp_path):
    records = [
        {'a/cls/AUC': 0.6, 'mean/cls/AUC': 0.6, 'mean': 0.6, 'step': 1},
        {'student/mean/cls/AUC': 0.5, 'step': 1},
    ]
    path = write(tmp_path / 'scalars.json', records)
    out = plot_curves(path, tmp_path / 'curves.png')
    assert cv2.imread(str(out)).shape[:2] == (260, 800)


def test_tells_what_to_give_instead(tmp_path):
    with pytest.raises(UserError, match='does not exist'):
        plot_curves(tmp_path / 'scalars.json', tmp_path / 'c.png')
    empty = write(tmp_path / 'scalars.json', [{'lr': 0.1, 'step': 1}])
    with pytest.raises(UserError, match='no loss or metric of a task'):
        plot_curves(empty, tmp_path / 'c.png')
    assert not (tmp_path / 'c.png').exists()


@pytest.mark.parametrize(
    ('values', 'bottom'),
    [((0.2, 0.8), 0), ((-0.4, 0.8), -0.4), ((-31, 0), -1)],
)
def test_the_axis_shows_what_is_below_zero(values, bottom):
    ax = Figure().subplots()
    curve = list(enumerate(values))
    _draw_metrics(ax, 'a/reg', {('R2', 'teacher'): curve})
    assert ax.get_ylim() == (bottom, 1)


def drawn(tmp_path, monkeypatch, records):
    """Title of each panel to its lines by label."""
    shown = {}

    def keep(figure, *args, **kwargs):
        for ax in figure.axes:
            if ax.get_visible():
                lines = {line.get_label(): line for line in ax.lines}
                shown[ax.get_title()] = lines

    monkeypatch.setattr(Figure, 'savefig', keep)
    path = write(tmp_path / 'scalars.json', records)
    plot_curves(path, tmp_path / 'curves.png')
    return shown


def test_the_losses_that_matter(tmp_path, monkeypatch):
    parts = [
        f'{inner}loss_{of}'
        for inner in ('', 'd0.', 'd1.', 'dn_', 'd0.dn_', 'enc_')
        for of in ('cls', 'bbox', 'iou')
    ]
    release = {f'b/loc/{part}': 1.0 for part in parts}
    release |= {'b/loc/loss': 18.0, 'b/loc/loss_consistency': 0.1, 'step': 9}
    lock = {f'b/loc/lock/{part}': 2.0 for part in parts}
    lock |= {'b/loc/lock/loss': 36.0, 'step': 5}
    shown = drawn(tmp_path, monkeypatch, [lock, release])
    assert list(shown['b/loc: loss']) == [
        'total',
        'loss_cls',
        'loss_bbox',
        'loss_iou',
        'loss_consistency',
        'total, lock passes',
    ]
    assert list(shown['b/loc: loss']['total'].get_ydata()) == [18]
    assert list(shown['b/loc: loss']['total, lock passes'].get_ydata()) == [36]
    # a single point is seen too
    assert shown['b/loc: loss']['total'].get_marker() == '.'


def test_a_class_named_loss_is_no_loss(tmp_path, monkeypatch):
    records = [
        {'a/cls/loss': 0.7, 'a/cls/AUC/Volume loss': 0.6, 'step': 1},
        {'a/cls/AUC': 0.6, 'a/cls/AUC/loss': 0.6, 'step': 1},
    ]
    shown = drawn(tmp_path, monkeypatch, records)
    assert list(shown['a/cls: loss']) == ['total']
    assert list(shown['a/cls: validation']) == ['AUC, teacher']


def test_the_headline_metric_of_both_models(tmp_path, monkeypatch):
    records = [
        {f'{model}b/loc/{name}': 0.5 for name in ('mAP', 'mAP_50', 'mAP_40')}
        | {'step': 1}
        for model in ('', 'student/')
    ]
    shown = drawn(tmp_path, monkeypatch, records)
    assert list(shown['b/loc: validation']) == [
        'mAP_40, teacher',
        'mAP_40, student',
    ]


def test_twenty_tasks(tmp_path, monkeypatch):
    names = [
        f'dataset_{i}/{kind}' for i in range(10) for kind in ('cls', 'seg')
    ]
    records = [
        {f'{name}/loss': 1 / step, f'{name}/loss_cls': 0.5, 'step': step + i}
        for step in (1, 100)
        for i, name in enumerate(names)
    ]
    shown = drawn(tmp_path, monkeypatch, records)
    losses = [lines for title, lines in shown.items() if 'loss' in title]
    assert len(shown) == 40 and len(losses) == 20
    colors = {lines['loss_cls'].get_color() for lines in losses}
    assert len(colors) == 1, 'a part has one colour in all panels'
