"""Build a model and load its weights."""

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from fx_mm.config import PlainConfig, expand_config
from fx_mm.models import with_tasks
from fx_mm.registry import MODELS
from fx_mm.utils.build_errors import build_part
from fx_mm.utils.checkpoint import check_meta, load_source, load_weights
from fx_mm.utils.config_text import read_assignments
from fx_mm.utils.errors import UserError


def load_model(
    cfg: Config,
    checkpoint: str,
    device='cpu',
    trust: bool = False,
    loaded: dict | None = None,
) -> torch.nn.Module:
    """Build the model of a config and load a checkpoint into it.

    Args:
        cfg (Config): The experiment's config.
        checkpoint (str): A file or URL.
        device (str or torch.device): Defaults to ``cpu``.
        trust (bool): Unpickle anything in it. Defaults to False.
        loaded (dict, optional): Its content, where it was loaded before.
            Defaults to None.

    Returns:
        nn.Module: In eval mode.

    Raises:
        UserError: If the checkpoint is not readable, or lacks weights that
            an active task needs.
    """
    init_default_scope('fx_mm')
    cfg = expand_config(cfg)
    model = build_part(MODELS, with_tasks(cfg.model, cfg.task_table))
    if loaded is None:
        loaded = load_source(checkpoint, trust)
    check_meta(loaded, cfg.task_table, need_all=True)
    load_weights(model, loaded.get('state_dict', loaded), checkpoint)
    return model.to(device).eval()


def stored_config(loaded: dict, source: str) -> Config:
    """Read the config that a checkpoint holds, without executing it.

    Args:
        loaded (dict): A loaded checkpoint.
        source (str): Its path, for messages.

    Returns:
        Config: The experiment's config, expanded or not.

    Raises:
        UserError: If there is none, or it is no plain text of literals.
    """
    meta = loaded.get('meta') if isinstance(loaded, dict) else None
    text = meta.get('cfg') if isinstance(meta, dict) else None
    try:
        values = read_assignments(text or '')
    except (SyntaxError, ValueError, TypeError) as error:
        raise UserError(
            f'The config in checkpoint "{source}" cannot be read without '
            f'executing it ({error}); give the config too.'
        ) from error
    if not values.get('datasets') or not values.get('model'):
        raise UserError(
            f'Checkpoint "{source}" does not hold the config of its '
            'training; give the config too.'
        )
    return PlainConfig(values)
