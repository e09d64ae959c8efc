"""One training step of every task kind on a GPU: ``tools/gpu_smoke.py``.

Nothing of fx_mm was developed on a GPU, so this is the first thing to run on
one. It compares mmcv's operators and the backbone with the CPU's results,
trains the demo's model for one step per task on made-up images, predicts, and
prints time and peak memory. It needs no data.
"""

import argparse
import time
from pathlib import Path

import torch
from mmcv.ops import nms
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttention
from mmengine.dataset import pseudo_collate
from mmengine.logging import MMLogger

from fx_mm.apis import load_config
from fx_mm.datasets.synthetic import SyntheticTask
from fx_mm.models import MeanTeacher, build_model
from fx_mm.tasks import Task, TaskTable
from fx_mm.utils.cli import run_tool
from fx_mm.utils.errors import UserError

CONFIG = Path('configs', 'phantom', 'foundation-x_tiny_phantom.py')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'config',
        nargs='?',
        default=str(Path(__file__).resolve().parent.parent / CONFIG),
    )
    parser.add_argument(
        '--device',
        default='cuda',
        help='"cpu" tries this script itself; default: %(default)s',
    )
    return parser.parse_args()


def check_device(name: str) -> torch.device:
    """Return the device.

    Raises:
        UserError: If it is not there.
    """
    if name.startswith('cuda') and not torch.cuda.is_available():
        built = torch.version.cuda
        why = (
            f'torch {torch.__version__} is built for CUDA {built}, but it '
            'finds no GPU or no driver; look at `nvidia-smi`'
            if built
            else f'torch {torch.__version__} is built without CUDA; install '
            'a CUDA build and run `make setup`'
        )
        raise UserError(f'There is no CUDA here: {why}.')
    return torch.device(name)


def compare(
    name: str, ours: torch.Tensor, theirs: torch.Tensor, tolerance: float
) -> None:
    """Print the largest difference between the device and the CPU.

    Raises:
        UserError: If it is above the tolerance.
    """
    error = (ours.float().cpu() - theirs.float().cpu()).abs().max().item()
    print(f'{name:<28}largest difference from the CPU {error:.1e}')
    if not error <= tolerance:
        raise UserError(
            f'{name} has other results on this device than on the CPU '
            f'(difference {error:.1e}, at most {tolerance:.0e} expected); '
            'report it with `python -m fx_mm.utils.collect_env`.'
        )


def check_operators(device: torch.device) -> None:
    """Compare mmcv's deformable attention and NMS with the CPU's."""
    generator = torch.Generator().manual_seed(0)

    def rand(*shape):
        return torch.rand(*shape, generator=generator)

    shapes = torch.tensor([[16, 16], [8, 8]])
    torch.manual_seed(0)
    layer = MultiScaleDeformableAttention(
        64, num_heads=4, num_levels=2, batch_first=True
    )
    layer.init_weights()
    layer.eval()
    inputs = dict(
        query=rand(2, 30, 64),
        value=rand(2, 320, 64),
        reference_points=rand(2, 30, 2, 2),
        spatial_shapes=shapes,
        level_start_index=torch.tensor([0, 256]),
    )
    expected = layer(**inputs)
    moved = {key: value.to(device) for key, value in inputs.items()}
    try:
        result = layer.to(device)(**moved)
    except (RuntimeError, AttributeError) as error:
        raise UserError(
            "mmcv's deformable attention does not run on this device "
            f'({str(error).splitlines()[0]}): its operators are compiled for '
            'the CPU only; run `FX_MM_CUDA=1 bash tools/setup_env.sh`.'
        ) from error
    compare('deformable attention', result, expected, 1e-4)
    boxes = rand(500, 4) * 50
    boxes[:, 2:] += boxes[:, :2] + 1
    scores = rand(500)
    expected = nms(boxes, scores, 0.5)[1]
    result = nms(boxes.to(device), scores.to(device), 0.5)[1]
    compare('non-maximum suppression', result, expected, 0)


def train_step(
    model: MeanTeacher,
    batch: dict[str, list],
    dtype: torch.dtype | None,
    device: torch.device,
) -> float:
    """Do one step with AdamW and one of the teacher.

    Returns:
        float: The loss.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4)
    with torch.autocast(device.type, dtype, enabled=dtype is not None):
        data = model.data_preprocessor(batch, True)
        loss, _ = model.parse_losses(model(**data, mode='loss'))
    loss.backward()
    optimizer.step()
    model.update_teacher(0.8)
    return loss.item()


def run_task(
    model: MeanTeacher,
    task: Task,
    dtype: torch.dtype | None,
    device: torch.device,
) -> str:
    """Train one step, predict, and return the row of the table.

    Raises:
        UserError: If the loss is not finite.
    """
    count = task.config['batch_size']
    images = SyntheticTask(task)
    batch = pseudo_collate([images[i] for i in range(count)])
    train_step(model.train(), batch, dtype, device)
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
        torch.cuda.synchronize(device)
    begin = time.perf_counter()
    loss = train_step(model, batch, dtype, device)
    seconds = time.perf_counter() - begin
    memory = '-'
    if device.type == 'cuda':
        gib = torch.cuda.max_memory_allocated(device) / 2**30
        memory = f'{gib:.2f} GiB'
    if not torch.isfinite(torch.tensor(loss)):
        raise UserError(f'The loss of {task.name} is {loss} on {device}.')
    with torch.no_grad():
        model.eval().test_step(batch)
    return f'{task.name:<16}{loss:>10.4f}{seconds:>10.3f} s{memory:>12}'


def main() -> None:
    args = parse_args()
    device = check_device(args.device)
    # without a log file, mmengine prints how it filled each parameter
    MMLogger.get_instance('gpu_smoke', log_level='ERROR')
    cfg = load_config(args.config)
    print(f'torch {torch.__version__} on {device}')
    if device.type == 'cuda':
        print(torch.cuda.get_device_name(device))
    check_operators(device)

    torch.manual_seed(0)
    model = build_model(cfg)
    model.init_weights()
    model.eval()
    images = torch.rand(2, 3, 128, 128)
    with torch.no_grad():
        expected = model.extract_feat(images)
        model.to(device)
        result = model.extract_feat(images.to(device))
    for level, (ours, theirs) in enumerate(zip(result, expected)):
        compare(f'backbone, level {level}', ours, theirs, 1e-2)

    dtype = cfg.optim_wrapper.get('amp_dtype')
    dtype = getattr(torch, dtype) if dtype else None
    print(f'\n{"task":<16}{"loss":>10}{"step":>12}{"memory":>12}')
    for task in TaskTable.from_cfg(cfg):
        print(run_task(model, task, dtype, device))
    print(f'\nEvery task trains and predicts on {device}.')


if __name__ == '__main__':
    run_tool(main)
