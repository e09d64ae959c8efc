"""Which device a model runs on, and how precisely."""

import torch
from mmengine.device import get_device

from fx_mm.utils.errors import UserError


def allow_tf32(allowed: bool) -> None:
    """Let a GPU round float32 to 10 bits in products, or not.

    Args:
        allowed (bool): torch's own default is True in convolutions, and False
            in other products.
    """
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def synchronize() -> None:
    """Wait for all that a GPU was told to do, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def find_device(name: str | torch.device | None = None) -> torch.device:
    """Return a device that is there.

    Args:
        name (str | torch.device, optional): Defaults to None: a GPU if there
            is one.

    Raises:
        UserError: If it is not there.
    """
    name = get_device() if name is None else name
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f'device is "{name}", which this torch cannot use '
            f'({str(error).splitlines()[0][:100]}); use "cpu".'
        ) from error
    return device
