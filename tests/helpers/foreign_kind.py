"""A task kind from outside of fx_mm: how bright an image is.

One row, one reader, one branch, one metric and one result: all that a kind
needs. A config takes it in by ``custom_imports``.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.model import ModuleDict
from torch import nn

from fx_mm.datasets.readers import BaseReader
from fx_mm.evaluation.metrics.base import TaskMetric
from fx_mm.evaluation.statistics.bootstrap import unweighted
from fx_mm.image_io.xray import read_xray
from fx_mm.models import Branch, ParamGroup
from fx_mm.registry import METRICS, MODELS, READERS, RESULTS
from fx_mm.tasks import TASK_KINDS, Column, TaskKind
from fx_mm.utils.checks import check_number
from fx_mm.visualization.contact_sheet import draw_tile
from fx_mm.visualization.results import Marks, TaskResult
from fx_mm.visualization.task_plots import name_axes
from fx_mm.visualization.tiles import side_by_side


@TASK_KINDS.register_module(name='bright')
class BrightKind(TaskKind):
    """Mean grey values."""

    name = 'bright'
    annotation = 'brightness'
    branch = 'brightness'
    branch_type = 'BrightBranch'
    metric = 'BrightMetric'
    columns = (Column('Bright error', 'error'),)
    class_metric = 'error'
    curves = ('error',)
    result = 'BrightResult'
    reader = 'BrightReader'
    keys = dict(scale=float)
    defaults = dict(scale=1.0)
    tta = ('flip',)

    @classmethod
    def check_entry(cls, where, config):
        """Refuse a scale that is not above 0."""
        check_number(f'{where}.scale', config['scale'], 1e-9)


@READERS.register_module()
class BrightReader(BaseReader):
    """Reads a list of images with a header; the images say the rest."""

    def __call__(self, ann_file, img_dir, task):
        """Read one split."""
        images = self.images(ann_file, img_dir)
        with open(ann_file, encoding='utf-8') as file:
            for number, line in enumerate(file, 1):
                if number > 1:
                    images.add(line.split(',')[0], number)
        images.finish()
        return [
            dict(
                img_path=path,
                img_id=name,
                gt_bright=np.array([read_xray(path).mean() / 255], np.float32),
            )
            for name, path in zip(images.names, images.paths)
        ]

    @classmethod
    def made_up(cls, task, index, size, rng):
        """Make up ``gt_bright``."""
        return dict(gt_bright=np.array([rng.random()], np.float32))


@MODELS.register_module()
class BrightBranch(Branch):
    """A shared norm and one linear head per dataset."""

    def __init__(self, in_channels, strides, tasks, init_cfg=None):
        super().__init__(tasks, init_cfg)
        self.norm = nn.LayerNorm(in_channels[-1])
        self.scales = {t.dataset: t.config['scale'] for t in tasks}
        self.heads = ModuleDict(
            {t.dataset: nn.Linear(in_channels[-1], 1) for t in tasks}
        )

    def encode(self, pyramid, data_samples):
        """Pool the last stage."""
        return dict(pooled=self.norm(pyramid[-1].float().mean((2, 3))))

    def consistency(self, state):
        """The pooled vector."""
        return ((state['pooled'],),)

    def forward(self, state, dataset, data_samples):
        """Brightness (B, 1)."""
        return self.heads[dataset](state['pooled']) * self.scales[dataset]

    def loss(self, state, dataset, data_samples):
        """Squared error."""
        truth = torch.stack([sample.gt_bright for sample in data_samples])
        pred = self(state, dataset, data_samples)
        return dict(loss_bright=F.mse_loss(pred, truth))

    def infer(self, state, dataset, data_samples):
        """Brightness (B, 1)."""
        return self(state, dataset, data_samples)

    def add_pred_to_datasample(self, answers, data_samples):
        """Write ``pred_bright``."""
        for sample, answer in zip(data_samples, answers):
            sample.pred_bright = answer
        return data_samples

    def param_groups(self):
        """The norm is shared, each head is a dataset's own."""
        return [
            ParamGroup('brightness/norm', None, ('norm',)),
            *(
                ParamGroup(f'{task}/head', task, (f'heads.{dataset}',))
                for dataset, task in self.task_names.items()
            ),
        ]


class Brightness(NamedTuple):
    """What is kept of an image."""

    img_id: str
    truth: float
    pred: float


@METRICS.register_module()
class BrightMetric(TaskMetric):
    """Mean absolute error."""

    record = Brightness

    def process(self, data_batch, data_samples):
        """Keep truth and prediction of a batch."""
        for sample in data_samples:
            truth, pred = sample['gt_bright'], sample['pred_bright']
            self.results.append(
                Brightness(sample['img_id'], truth.item(), pred.item())
            )

    def compute_unique(self, records):
        """Compute the error."""
        return unweighted(self.statistics(records), len(records))

    def details(self, records, thresholds=None):
        """Compute nothing else."""
        return {}

    def statistics(self, records, thresholds=None):
        """Return the error as a function of the images' weights."""
        gaps = np.array([abs(r.truth - r.pred) for r in records])
        (name,) = self.classes

        def compute(weights):
            error = weights.astype(np.float64) @ gaps / weights.sum(1)
            return {'error': error, f'error/{name}': error}

        return compute

    def pack(self, records):
        """Return truth and prediction."""
        return dict(
            truth=np.array([r.truth for r in records]),
            pred=np.array([r.pred for r in records]),
        )

    def unpack(self, columns, img_ids):
        """Return the samples that were saved."""
        for row in zip(img_ids, columns['truth'], columns['pred']):
            img_id, truth, pred = row
            yield dict(img_id=img_id, gt_bright=truth, pred_bright=pred)

    def same_truth(self, own, other):
        """Whether the truth is the same."""
        return own.truth == other.truth

    def notes(self, records, values, predict_on, has_thresholds):
        """Count the images."""
        return [f'The error is over {len(records)} images.']


@RESULTS.register_module()
@dataclass(frozen=True, eq=False)
class BrightResult(TaskResult):
    """The brightness of an image."""

    panels: ClassVar[int] = 1
    task: object
    value: float

    @classmethod
    def from_sample(cls, task, sample):
        """Take ``pred_bright``."""
        return cls(task, sample.pred_bright.item())

    @classmethod
    def has_finding(cls, sample):
        """Whether the image is bright."""
        return sample.gt_bright.item() > 0.5

    @classmethod
    def mark_truth(cls, task, sample, names):
        """List the brightness."""
        return Marks(lines=[f'brightness {sample.gt_bright.item():.2f}'])

    @classmethod
    def draw_beside_truth(cls, task, sample, image, score_thr, size):
        """Draw the image twice, with the numbers below."""
        tile = draw_tile(image, size=size)
        left = f'{sample.gt_bright.item():.2f}'
        right = f'{sample.pred_bright.item():.2f}'
        return side_by_side(tile, tile, left, right)

    def draw(self, image, score_thr, size):
        """Draw the image with the number below."""
        lines = [f'brightness {self.value:.2f}']
        return draw_tile(image, caption_lines=lines, size=size)

    def to_dict(self, score_thr=0.0, files=None):
        """dict: ``brightness``."""
        return dict(kind=self.task.kind.name, brightness=self.value)

    @classmethod
    def plot(cls, axes, metric, records, metrics):
        """Draw prediction over truth."""
        (ax,) = axes
        pairs = [(r.truth, r.pred) for r in records]
        ax.plot(*zip(*pairs), 'o', label=f'error {metrics["error"]:.2f}')
        name_axes(ax, 'brightness', 'true', 'predicted')
