"""Loss and gradients of every kind: a GPU's against the CPU's."""

from typing import Any

import torch
from mmcv.cnn.bricks import DropPath
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from torch import Tensor, nn

from fx_mm.analysis.gpu_check.choices import Choices
from fx_mm.analysis.gpu_check.configs import demo, swin
from fx_mm.analysis.gpu_check.job import Job
from fx_mm.datasets.synthetic import SyntheticTask
from fx_mm.models import MeanTeacher, build_model
from fx_mm.tasks import Task, TaskTable
from fx_mm.utils.device import allow_tf32

DEMO = 'demo'
FULL, HALF = 1e-3, 3e-2
"""Largest relative difference in float32, and in 16 bits."""
SCALE = 1024.0
"""Of a loss in float16, whose small gradients would vanish."""
JUMPS = 1e-2
"""The same of Swin-B's gradients in float32. They jump where a sampled point
meets the centre of a cell, or a value a ReLU's 0: rounding moves some of the
millions across.
"""
NOISE = 0.02
"""Moves weights that start at 0 and hide gradients."""
BATCH = 8
"""With two images, normed features are nearly opposite, and gradients cancel.
"""


def without_chance(cfg: Config) -> MeanTeacher:
    """Build a model in which a difference stays as small as it is.

    It draws nothing, as each device has its own generator, and takes no
    maximum of a map, where two values that are nearly equal change places.
    """
    student = cfg.model.student
    noise = dict(label_noise_scale=0.0, box_noise_scale=1e-9)
    branch = student.localization
    branch.dn_cfg = dict(branch.get('dn_cfg') or {}, **noise)
    student.classification.pool = student.regression.pool = 'avg'
    student.backbone.pop('init_cfg', None)
    torch.manual_seed(0)
    model = build_model(cfg)
    model.init_weights()
    for parameter in model.student.parameters():
        parameter.data.add_(NOISE * torch.randn_like(parameter))
    model.train()
    for module in model.modules():
        if isinstance(module, DropPath | nn.Dropout | nn.Dropout2d):
            module.eval()
    return model


def loss_and_gradients(
    model: MeanTeacher,
    batch: dict[str, Any],
    choices: Choices,
    dtype: torch.dtype | None = None,
) -> tuple[float, dict[str, Tensor]]:
    """Do one step without the optimizer.

    Args:
        model (MeanTeacher): On its device.
        batch (dict): Samples of one task.
        choices (Choices): Of queries and matches.
        dtype (torch.dtype, optional): Of autocast. Defaults to float32.

    Returns:
        tuple: The loss, and the gradients by name, on the CPU.
    """
    model.zero_grad(set_to_none=True)
    scale = SCALE if dtype == torch.float16 else 1.0
    device = next(model.parameters()).device.type
    autocast = torch.autocast(device, dtype, enabled=dtype is not None)
    with autocast, choices.kept(model):
        data = model.data_preprocessor(batch, True)
        loss, _ = model.parse_losses(model(**data, mode='loss'))
    (scale * loss).backward()
    gradients = {
        name: parameter.grad.double().cpu() / scale
        for name, parameter in model.student.named_parameters()
        if parameter.grad is not None
    }
    return loss.item(), gradients


def worst_part(
    model: MeanTeacher,
    ours: dict[str, Tensor],
    theirs: dict[str, Tensor],
) -> float:
    """Return the largest relative difference of a part's gradients.

    The parts are the groups of the model, such as the backbone or a head.
    """
    if ours.keys() != theirs.keys():
        return float('nan')
    worst = 0.0
    for group in model.student.param_groups():
        names = [name for name in theirs if group.owns(name)]
        if not names:
            continue
        a, b = (
            torch.cat([each[name].flatten() for name in names])
            for each in (ours, theirs)
        )
        worst = max(worst, float((a - b).norm() / b.norm().clamp(min=1e-30)))
    return worst


def check_task(job: Job, model: MeanTeacher, task: Task, label: str) -> None:
    """Compare one step in three precisions with float32 on the CPU."""
    count = task.config['batch_size']
    images = SyntheticTask(task)
    batch = pseudo_collate([images[i] for i in range(count)])
    model.cpu()
    choices = Choices()
    loss, gradients = loss_and_gradients(model, batch, choices)
    model.to(job.device)
    for dtype, limit in (
        (None, FULL),
        (torch.bfloat16, HALF),
        (torch.float16, HALF),
    ):
        precision = str(dtype or torch.float32).removeprefix('torch.')
        name = f'{label} {task.kind.name}, {precision}'
        other, others = loss_and_gradients(model, batch, choices, dtype)
        job.check(f'{name}, loss', abs(other - loss) / abs(loss), limit)
        finite = all(value.isfinite().all() for value in others.values())
        job.require(f'{name}, gradients finite', finite)
        error = worst_part(model, others, gradients)
        if dtype is None:
            bound = FULL if label == DEMO else JUMPS
            job.check(f'{name}, gradients', error, bound)
        else:
            job.figure(f'{name}, gradients', error)


def run(job: Job) -> None:
    """Compare every kind, of the demo's model and of Swin-B at 224 px."""
    allow_tf32(False)
    cfgs = {DEMO: demo(job)}
    if not job.tiny:
        cfgs['Swin-B'] = swin(job)
    for label, cfg in cfgs.items():
        for entry in cfg.task_defaults.values():
            entry.batch_size = BATCH
        with job.part(label):
            model = without_chance(cfg)
            for task in TaskTable.from_cfg(cfg):
                with job.part(f'{label} {task.kind.name}'):
                    check_task(job, model, task, label)
