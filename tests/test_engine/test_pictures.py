"""Pictures of a run reach the backends of the visualizer."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.registry import VISBACKENDS
from mmengine.visualization.vis_backend import BaseVisBackend
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)

SHORT = {
    'tasks': ['phantom_a/cls'],
    'train_cfg.max_cycles': 1,
    'cycle.max_batches': 1,
}


class OnceBackend(BaseVisBackend):
    """Keeps what it gets; takes nothing once closed, as W&B's."""

    def __init__(self, save_dir):
        super().__init__(save_dir)
        self.pictures, self.closed = {}, 0

    @property
    def experiment(self):
        return self

    def _init_env(self):
        """Nothing to set up."""

    def add_scalars(self, scalars, *args, **kwargs):
        assert not self.closed

    def add_image(self, name, image, step=0, **kwargs):
        assert not self.closed
        self.pictures[name] = (image, step)

    def close(self):
        self.closed += 1


@pytest.fixture
def once(monkeypatch):
    """Register the backend for a test; return the config of all three."""
    monkeypatch.setitem(VISBACKENDS.module_dict, 'OnceBackend', OnceBackend)
    names = ('LocalVisBackend', 'TensorboardVisBackend', 'OnceBackend')
    return {'visualizer.vis_backends': [dict(type=name) for name in names]}


def as_rgb(path):
    picture = cv2.imread(str(path))
    assert picture is not None, path
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def test_predictions_and_curves_of_a_training(make_runner, once):
    runner = make_runner(report=True, **SHORT, **once)
    runner.train()
    work_dir = Path(runner.work_dir)
    written = {
        name: as_rgb(work_dir / f'{name}.png')
        for name in ('predictions', 'curves')
    }
    kept = runner.visualizer.get_backend('OnceBackend')
    assert kept.closed == 1, 'after the report, and once'
    assert set(kept.pictures) == set(written)
    folder = Path(runner.log_dir, 'vis_data')
    events = EventAccumulator(str(folder), size_guidance=dict(images=0))
    events.Reload()
    assert set(events.Tags()['images']) == set(written)
    for name, picture in written.items():
        image, step = kept.pictures[name]
        assert step == runner.iter == 1
        assert np.array_equal(image, picture)
        (event,) = events.Images(name)
        assert event.step == 1
        data = np.frombuffer(event.encoded_image_string, np.uint8)
        bgr = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert np.array_equal(bgr[..., ::-1], picture)
        local = folder / 'vis_image' / f'{name}_1.png'
        assert np.array_equal(as_rgb(local), picture)
    assert 'phantom_a/cls/loss' in events.Tags()['scalars']


def test_a_training_without_report_closes_too(make_runner, once):
    runner = make_runner(**SHORT, **once)
    runner.train()
    kept = runner.visualizer.get_backend('OnceBackend')
    assert kept.closed == 1 and not kept.pictures
