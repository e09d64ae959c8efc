"""Several processes: starting them, and sums over all of them."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, cast

import torch
import torch.distributed as torch_dist
import torch.multiprocessing as mp
from mmengine.dist import get_world_size, init_dist, is_distributed
from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from fx_mm.utils.errors import UserError

TIMEOUT = 600
"""Seconds a process waits for the others, unless the config says."""
NEEDED = dict(
    pytorch=('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'),
    slurm=(
        'SLURM_PROCID',
        'SLURM_LOCALID',
        'SLURM_NTASKS',
        'SLURM_NODELIST',
    ),
    mpi=(
        'OMPI_COMM_WORLD_RANK',
        'OMPI_COMM_WORLD_LOCAL_RANK',
        'OMPI_COMM_WORLD_SIZE',
        'MASTER_ADDR',
    ),
)
"""What each launcher sets in the environment."""
RANKS = ('RANK', 'LOCAL_RANK', 'WORLD_SIZE')
"""The names for the first three of a launcher in torch."""
PORT = '29500'


def start_processes(
    launcher: str, dist_cfg: dict[str, Any] | None = None
) -> None:
    """Join the processes of a run, by NCCL on GPUs and by gloo on CPUs.

    mmengine's launchers choose a CUDA device without asking whether there is
    one, so they are called here, before the Runner would.

    Args:
        launcher (str): ``pytorch`` (torchrun), ``slurm``, ``mpi``, or
            ``none`` for one process.
        dist_cfg (dict, optional): ``env_cfg.dist_cfg``: ``backend``,
            ``timeout`` in seconds, and what else ``init_process_group``
            takes. Defaults to None.

    Raises:
        UserError: If the program was not started by this launcher, or the
            processes cannot reach each other.
    """
    if is_distributed():
        return
    if launcher == 'none':
        if int(os.environ.get('LOCAL_WORLD_SIZE', 1)) > 1:
            raise UserError(
                'torchrun started several processes, which would all write '
                'the same files; add --launcher pytorch.'
            )
        return
    for name in NEEDED[launcher]:
        if name not in os.environ:
            raise UserError(
                f'--launcher {launcher} needs {name} in the environment; '
                'start the program with tools/dist_train.sh, or with '
                'torchrun, srun or mpirun.'
            )
    cfg = dict(dist_cfg or {})
    cfg.setdefault('timeout', TIMEOUT)
    on_gpus = torch.cuda.is_available()
    if not on_gpus and cfg.get('backend', 'nccl') == 'nccl':
        cfg['backend'] = 'gloo'
    if launcher == 'mpi':
        # mmengine wraps the model for this device, but sets it for SLURM only
        os.environ['LOCAL_RANK'] = os.environ['OMPI_COMM_WORLD_LOCAL_RANK']
    if mp.get_start_method(allow_none=True) is None:
        # init_dist would set "spawn", which the Runner then undoes
        mp.set_start_method('fork')
    try:
        if on_gpus:
            init_dist(launcher, **cfg)
        else:
            _init_on_cpus(launcher, **cfg)
    except RuntimeError as error:
        text = next(iter(str(error).splitlines()), '')
        # a plain RuntimeError; all of torch's own are DistErrors
        if 'Gloo connectFullMesh' in text:
            raise UserError(
                'The processes met, but cannot send each other anything '
                f'({text.split("] ")[-1]}); on several machines set '
                'GLOO_SOCKET_IFNAME on each to the network interface that '
                'reaches the others, and let the firewall pass any port '
                'between them.'
            ) from error
        if isinstance(error, torch_dist.DistError):
            raise UserError(
                f'The processes did not find each other ({text}); see that '
                'all were started, with the same MASTER_ADDR and MASTER_PORT.'
            ) from error
        raise


def _init_on_cpus(
    launcher: str, timeout: float, port: int | None = None, **cfg: Any
) -> None:
    """Do what ``init_dist`` does, without choosing a CUDA device."""
    env = os.environ
    for name, of_launcher in zip(RANKS, NEEDED[launcher]):
        env[name] = env[of_launcher]
    if port is not None:
        env['MASTER_PORT'] = str(port)
    env.setdefault('MASTER_PORT', PORT)
    if 'MASTER_ADDR' not in env:
        ask = ['scontrol', 'show', 'hostnames', env['SLURM_NODELIST']]
        hosts = subprocess.check_output(ask, text=True)
        env['MASTER_ADDR'] = hosts.split()[0]
    torch_dist.init_process_group(timeout=timedelta(seconds=timeout), **cfg)


_apart = False


@contextmanager
def ranks_apart() -> Iterator[None]:
    """Let each rank compute its losses alone, inside of a ``with``.

    For an evaluation, where ranks have different numbers of batches: a rank
    that waits for the others' sums might wait for ever.
    """
    global _apart
    before, _apart = _apart, True
    try:
        yield
    finally:
        _apart = before


def _n_together() -> int:
    """Return how many ranks compute a loss together."""
    return 1 if _apart else get_world_size()


class _SumOverRanks(torch.autograd.Function):
    """All-reduced sum whose gradient needs no second exchange.

    Every rank computes the same loss from the sum, so the gradients that the
    ranks would send each other are equal.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        torch_dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * get_world_size()


def sum_over_ranks(*sums: Tensor) -> tuple[Tensor, ...]:
    """Add up sums of all ranks, for a loss that is not linear in them.

    DistributedDataParallel averages the gradients of the ranks; those of a
    loss of these sums are scaled such that the average is the gradient that
    one process would have with all the data. Every rank must call it. With
    one process, the arguments are returned.

    Args:
        *sums (Tensor): Sums of this rank, of one shape.

    Returns:
        tuple[Tensor]: The sums of all ranks, with gradient.
    """
    if _n_together() == 1:
        return sums
    return _SumOverRanks.apply(torch.stack(sums)).unbind()


def count_per_rank(count: Tensor) -> Tensor:
    """Average a count over the ranks, to divide a sum of this rank by.

    Averaged over the ranks, as DistributedDataParallel does, such quotients
    are the sum of all ranks by the count of all. Every rank must call it.

    Args:
        count (Tensor): What this rank has, an integer of any dtype.

    Returns:
        Tensor: At least 1 divided by the number of ranks, so that nothing
        at all gives 0 and no division by it.
    """
    world_size = _n_together()
    if world_size == 1:
        return count.clamp(min=1)
    total = count.detach().float()
    torch_dist.all_reduce(total)
    return total.clamp(min=1) / world_size


def unwrap(model: nn.Module) -> nn.Module:
    """Return the model inside a DistributedDataParallel wrapper."""
    return cast(nn.Module, model.module) if is_model_wrapper(model) else model
