"""Where a trained model runs."""

import torch
from mmengine.device import get_device

from fx_mm.utils.errors import UserError


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
