"""The share of images without boxes, in the paper's 20 tasks."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fx_mm.apis import expand_config, load_config
from fx_mm.datasets.samplers import CyclicBatchSampler
from fx_mm.tasks import LocalizationKind, TaskTable

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / 'configs/foundation_x/foundation-x_swin-b_150c.py'


class Images(SimpleNamespace):
    def __len__(self):
        return len(self.empty)


def sampler_of(**options):
    """Return the sampler of the config, and which images have no box."""
    options = {key.replace('__', '.'): v for key, v in options.items()}
    cfg = expand_config(load_config(str(CONFIG), options))
    # three of four images are normal, as in the official releases
    datasets = [
        Images(
            task=task,
            empty=(np.arange(200) % 4 > 0)
            if task.kind is LocalizationKind
            else np.zeros(200, bool),
        )
        for task in TaskTable.from_cfg(cfg)
    ]
    kwargs = dict(cfg.train_dataloader.batch_sampler)
    assert kwargs.pop('type') == 'CyclicBatchSampler'
    source = SimpleNamespace(
        dataset=SimpleNamespace(datasets=datasets), seed=0
    )
    return CyclicBatchSampler(source, batch_size=1, **kwargs), datasets


@pytest.mark.parametrize(
    ('share', 'free'), [(0.0, 0), (0.25, 6), (0.5, 12), (1.0, 24)]
)
def test_every_batch_of_every_localization_task(share, free):
    sampler, datasets = sampler_of(task_defaults__loc__box_free_share=share)
    tasks = set()
    assert len(sampler.schedule.passes) == 29
    for index in range(29):
        for batch in sampler.pass_batches(index):
            data = datasets[batch[0].task]
            assert len(batch) == 24
            if data.task.kind is LocalizationKind:
                tasks.add(data.task.name)
                assert sum(data.empty[key.image] for key in batch) == free
    assert len(tasks) == 6


def test_one_task_alone_and_none():
    key = 'datasets__node21__tasks__loc__box_free_share'
    sampler, datasets = sampler_of(**{key: 0.25})
    shares = {}
    for index in range(29):
        for batch in sampler.pass_batches(index):
            data = datasets[batch[0].task]
            if data.task.kind is LocalizationKind:
                free = sum(data.empty[key.image] for key in batch)
                shares.setdefault(data.task.name, set()).add(free)
    assert shares.pop('node21/loc') == {6}
    # as they come: about 18 of 24
    assert len(shares) == 5
    assert all(12 < max(values) <= 24 for values in shares.values())
    assert all(len(values) > 1 for values in shares.values())
