"""Environment and operators: a GPU's results against the CPU's."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from mmcv.ops import nms
from mmcv.ops.multi_scale_deform_attn import (
    multi_scale_deformable_attn_pytorch,
)
from mmengine.config import Config
from torch import Tensor

from fx_mm.analysis.gpu_check.configs import DEMO, all_configs
from fx_mm.analysis.gpu_check.job import Job
from fx_mm.config import load_config
from fx_mm.models.layers import dino_config
from fx_mm.models.layers.dino_config import DINO
from fx_mm.ops.sampling import available_kernels, sample_levels
from fx_mm.tasks import LocalizationKind, TaskTable
from fx_mm.utils.collect_env import collect_env

TOLERANCES = {
    torch.float32: 1e-4,
    torch.bfloat16: 3e-2,
    torch.float16: 3e-2,
}
"""Largest difference, as a share of the largest value."""
ROWS = ('PyTorch', 'mmcv operators', 'CPU', 'numpy', 'fx_mm')
"""Of the environment, what the table shows."""


class Attention(NamedTuple):
    """Sizes of one deformable attention.

    Attributes:
        shapes (tuple[tuple[int, int]]): Height and width of each level.
        queries (int): Number of queries.
        heads (int): Number of heads.
        dims (int): Width of a head.
        points (int): Points per head and level.
    """

    shapes: tuple[tuple[int, int], ...]
    queries: int
    heads: int
    dims: int
    points: int

    @property
    def name(self) -> str:
        """str: Largest level, queries, heads, width and points."""
        return (
            f'attention {self.shapes[0][0]} px, {self.queries} queries, '
            f'{self.heads} x {self.dims}, {self.points} points'
        )

    def draw(
        self, batch: int, device: str, dtype: torch.dtype
    ) -> list[Tensor]:
        """Draw value, locations and weights, the same on every device.

        Some points lie outside. None is so near to the centre of a cell, where
        the gradient jumps, that rounding could move it across.
        """
        generator = torch.Generator().manual_seed(0)

        def rand(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=generator)

        tokens = sum(height * width for height, width in self.shapes)
        levels = len(self.shapes)
        value = rand(batch, tokens, self.heads, self.dims) - 0.5
        size = torch.tensor(self.shapes).flip(-1)[:, None]
        lead = (batch, self.queries, self.heads, levels, self.points, 2)
        cells = (rand(*lead) * (size + 4)).floor() - 2
        locations = (cells + 0.1 + 0.8 * rand(*lead) + 0.5) / size
        weights = rand(
            *(batch, self.queries, self.heads, levels * self.points)
        ).softmax(-1)
        weights = weights.unflatten(-1, (levels, self.points))
        # rounded once, for all devices and dtypes
        return [
            value.bfloat16().to(device, dtype).requires_grad_(),
            locations.to(device).requires_grad_(),
            weights.to(device).requires_grad_(),
        ]


def attentions(cfg: Config) -> Iterator[Attention]:
    """Yield the attentions of a config, none if it has no boxes."""
    given = cfg.model.student.get('localization')
    tasks = TaskTable.from_cfg(cfg).of_kind(LocalizationKind)
    if not given or not len(tasks):
        return
    stages = given.get('stages', (1, 2, 3))
    dino = dino_config(
        {key: given.get(key) for key in DINO}, [1 for _ in stages]
    )
    encoder = dino['encoder']['layer_cfg']['self_attn_cfg']
    decoder = dino['decoder']['layer_cfg']['cross_attn_cfg']
    for size in {task.config['img_size'] for task in tasks}:
        # further levels come from convolutions of stride 2
        sides = [-(-size // 2 ** (2 + stage)) for stage in stages]
        while len(sides) < dino['num_feature_levels']:
            sides.append(-(-sides[-1] // 2))
        shapes = tuple((side, side) for side in sides)
        tokens = sum(side * side for side in sides)
        for layer, queries in (
            (encoder, tokens),
            (decoder, dino['num_queries']),
        ):
            yield Attention(
                shapes,
                queries,
                layer['num_heads'],
                layer['embed_dims'] // layer['num_heads'],
                layer.get('num_points', 4),
            )


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference, as a share of the largest value."""
    difference = (ours.double().cpu() - theirs.double().cpu()).abs().max()
    return float(difference / theirs.double().abs().max().clamp(min=1e-30))


def with_gradients(output: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    """Return an output and the gradients of its inputs.

    What comes back is weighted by fixed numbers, so that no gradient is
    constant.
    """
    weights = torch.linspace(-1, 1, output.numel(), device=output.device)
    weights = weights.view(output.shape).to(output.dtype)
    return [output.detach(), *torch.autograd.grad(output, inputs, weights)]


def check_attention(job: Job, attention: Attention) -> None:
    """Compare values and gradients with mmcv's in float64 on the CPU."""
    truth = attention.draw(1, 'cpu', torch.float64)
    value, locations, weights = (x.double() for x in truth)
    sizes: Any = attention.shapes
    expected = with_gradients(
        multi_scale_deformable_attn_pytorch(value, sizes, locations, weights),
        truth,
    )
    for kernel in available_kernels(torch.device(job.device)):
        for dtype, tolerance in TOLERANCES.items():
            inputs = attention.draw(1, job.device, dtype)
            value, locations, weights = inputs
            output = sample_levels(
                value, attention.shapes, locations, weights, kernel
            )
            found = with_gradients(output, inputs)
            error = max(map(relative_error, found, expected))
            name = str(dtype).removeprefix('torch.')
            job.check(f'{kernel}, {attention.name}, {name}', error, tolerance)


def check_nms(job: Job) -> None:
    """Compare mmcv's non-maximum suppression, where it was compiled."""
    generator = torch.Generator().manual_seed(0)
    boxes = 50 * torch.rand(500, 4, generator=generator)
    boxes[:, 2:] += boxes[:, :2] + 1
    scores = torch.rand(500, generator=generator)
    _, expected = nms(boxes, scores, 0.5)
    _, found = nms(boxes.to(job.device), scores.to(job.device), 0.5)
    same = torch.equal(found.cpu(), expected)
    job.require('the CPU keeps the same boxes', same)


def run(job: Job) -> None:
    """Report the environment and compare the operators."""
    rows = collect_env()
    for name, text in rows.items():
        if name in ROWS or name.startswith('GPU'):
            job.note(name, text)
    if job.device == 'cpu' or 'CUDA' in rows['mmcv operators']:
        with job.part("mmcv's nms"):
            check_nms(job)
    files = all_configs(job)
    if job.tiny:
        files = [job.home / 'configs' / DEMO]
    found: dict[Attention, None] = {}
    for file in files:
        found |= dict.fromkeys(attentions(load_config(str(file))))
    for attention in sorted(found):
        with job.part(attention.name):
            check_attention(job, attention)
