"""Models from the shipped configs and batches of random truth."""

import dataclasses
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.structures import InstanceData, PixelData

from fx_mm.models import with_tasks
from fx_mm.registry import MODELS
from fx_mm.structures import FXDataSample
from fx_mm.tasks import Task, TaskTable

CONFIGS = Path(__file__).parents[2] / 'configs' / '_base_' / 'models'
FINDINGS = ('nodule', 'effusion', 'mass')
EXCLUSIVE = dict(label_type='multi-class')
TASKS = (
    Task('a', 'cls', FINDINGS),
    Task('b', 'cls', ('x', 'y'), config=EXCLUSIVE),
    Task('a', 'loc', FINDINGS),
    Task('b', 'loc', ('opacity',)),
    Task('a', 'seg', ('lungs', 'heart')),
    Task('b', 'seg', FINDINGS),
)
TINY = {
    'student.backbone.embed_dims': 16,
    'student.backbone.drop_path_rate': 0.0,
    'student.localization.neck.out_channels': 32,
    'student.segmentation.decoder.channels': 16,
    'student.segmentation.decoder.ppm_channels': 16,
    'student.segmentation.decoder.pool_channels': 16,
}


def with_options(task, **options):
    """A task whose entry has further options."""
    return dataclasses.replace(task, config={**task.config, **options})


def plain_cfg(name='foundation-x_swin-tiny-phantom', **options):
    """Model config of a shipped file with changes, keys with dots."""
    cfg = Config.fromfile(CONFIGS / f'{name}.py').model
    holder = Config(dict(model=cfg))
    options = {key.replace('__', '.'): v for key, v in options.items()}
    holder.merge_from_dict(
        {f'model.{key}': value for key, value in options.items()}
    )
    return holder.model


def model_cfg(name='foundation-x_swin-tiny-phantom', tasks=TASKS, **options):
    """The same for a model of these tasks (a sequence or a table)."""
    if not isinstance(tasks, TaskTable):
        tasks = TaskTable(tasks)
    return with_tasks(plain_cfg(name, **options), tasks)


def build(tiny=True, tasks=TASKS, seed=0, noise=0.0, **options):
    """MeanTeacher of the demo's config; tiny for speed.

    Layers that start at zero (box regression, sampling offsets) hide
    gradients; ``noise`` moves all weights.
    """
    torch.manual_seed(seed)
    options = {**(TINY if tiny else {}), **options}
    model = MODELS.build(model_cfg(tasks=tasks, **options))
    model.init_weights()
    with torch.no_grad():
        for parameter in model.student.parameters():
            parameter.add_(noise * torch.randn_like(parameter))
    model.reset_teacher()
    return model.train()


def batch(task, size=64, n=2, boxes=2, seed=0, tasks=TASKS):
    """Inputs (n, 3, size, size) and samples with truth of one task."""
    generator = torch.Generator().manual_seed(seed)
    rand = lambda *shape: torch.rand(*shape, generator=generator)  # noqa: E731
    entry = next(t for t in tasks if t.name == task)
    kind, classes = entry.kind.name, len(entry.classes)
    samples = []
    for index in range(n):
        sample = FXDataSample(
            metainfo=dict(
                task=task,
                dataset=entry.dataset,
                kind=kind,
                img_id=str(index),
                img_path=f'{index}.png',
                ori_shape=(2 * size, 3 * size),
                img_shape=(size, size),
                batch_input_shape=(size, size),
                pad_shape=(size, size),
                scale_factor=(1 / 3, 1 / 2),
            )
        )
        if kind == 'cls':
            score = (rand(classes) > 0.5).float()
            if entry.label_type == 'multi-class':
                score = torch.eye(classes)[index % classes]
            sample.gt_score = score
        elif kind == 'reg':
            sample.gt_value = 40 + 40 * rand(classes)
        elif kind == 'ssl':
            pass
        elif kind == 'report':
            sample.gt_report = f'A {entry.classes[index % classes]}. No more.'
            sample.question = 'What is there?'
        elif kind == 'loc':
            centers = 0.3 + 0.4 * rand(boxes, 2)
            sides = 0.1 + 0.3 * rand(boxes, 2)
            corners = torch.cat(
                [centers - sides / 2, centers + sides / 2], dim=1
            )
            labels = torch.randint(classes, (boxes,), generator=generator)
            sample.gt_instances = InstanceData(
                bboxes=corners * size, labels=labels
            )
        else:
            masks = (rand(classes, size, size) > 0.5).to(torch.uint8)
            sample.gt_sem_seg = PixelData(data=masks)
        samples.append(sample)
    return rand(n, 3, size, size) - 0.5, samples


def rectangle(task, shape, **kwargs):
    """A batch of images of any height and width, see :func:`batch`."""
    height, width = shape
    inputs, samples = batch(task, size=max(shape), **kwargs)
    for sample in samples:
        sample.set_metainfo(
            dict(img_shape=shape, batch_input_shape=shape, pad_shape=shape)
        )
        if 'gt_instances' in sample:
            found = sample.gt_instances
            scale = torch.tensor([width, height] * 2) / max(shape)
            found.bboxes = found.bboxes * scale
        if 'gt_sem_seg' in sample:
            data = sample.gt_sem_seg.data[:, :height, :width]
            sample.gt_sem_seg = PixelData(data=data)
    return inputs[..., :height, :width].contiguous(), samples


def backward(model, task, **kwargs):
    """Losses of a batch, after their backward."""
    # DropPath may drop a block for both images: the same ones each time
    torch.manual_seed(1)
    losses = model(*batch(task, **kwargs), mode='loss')
    sum(v for k, v in losses.items() if 'loss' in k).backward()
    return losses


def with_gradient(model):
    """Names of the student's parameters that learn something."""
    return {
        name
        for name, p in model.student.named_parameters()
        if p.grad is not None and p.grad.abs().sum() > 0
    }


def move_adapter(student, size=0.1):
    """Change what an adapter holds, the same each time."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in student.adapter.parameters():
            parameter.add_(size * torch.randn_like(parameter))


def outputs(student, task):
    with torch.no_grad():
        out = student(*batch(task))
    return out if isinstance(out, tuple) else (out,)
