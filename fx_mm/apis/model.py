"""Build a model and load its weights."""

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from ..registry import MODELS
from ..tasks import TaskTable
from ..utils.checkpoint import check_meta, load_source
from ..utils.errors import UserError
from .config import expand_config
from .runner import config_errors


def load_model(
    cfg: Config, checkpoint: str, device='cpu', trust: bool = False
) -> torch.nn.Module:
    """Build the model of a config and load a checkpoint into it.

    Args:
        cfg (Config): The experiment's config.
        checkpoint (str): A file or URL.
        device (str or torch.device): Defaults to ``cpu``.
        trust (bool): Unpickle anything in it. Defaults to False.

    Returns:
        nn.Module: In eval mode.

    Raises:
        UserError: If the checkpoint is not readable, or lacks weights that
            an active task needs.
    """
    init_default_scope('fx_mm')
    cfg = expand_config(cfg)
    with config_errors():
        model = MODELS.build(cfg.model)
    loaded = load_source(checkpoint, trust)
    check_meta(loaded, TaskTable.from_cfg(cfg), need_all=True)
    load_weights(model, loaded.get('state_dict', loaded), checkpoint)
    return model.to(device).eval()


def load_weights(model, state_dict: dict, source: str) -> None:
    """Load a state dict; whatever a model needs must be in it.

    Weights of tasks that the model does not have may be left over.

    Raises:
        UserError: Counts and names the missing or misshapen weights.
    """
    try:
        result = model.load_state_dict(state_dict, strict=False)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        wrong = next((x for x in lines if 'size mismatch' in x), lines[-1])
        raise UserError(
            f'Checkpoint "{source}" does not fit the config: {wrong}'
        ) from error
    if result.missing_keys:
        raise UserError(
            f'Checkpoint "{source}" lacks {len(result.missing_keys)} weights '
            f'of the model, such as {result.missing_keys[0]}; '
            'use the config it was trained with.'
        )
