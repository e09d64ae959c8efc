"""A checkpoint of a tiny model with random weights."""

from pathlib import Path

import torch

from fx_mm.apis import expand_config, load_config
from fx_mm.models import build_model

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/real/foundation-x_tiny_real-overfit.py'
TASKS = ['real_nih/cls', 'real_tbx11k/loc', 'real_lungs/seg']


def write_checkpoint(folder):
    """Random weights, the student's other than the teacher's."""
    torch.manual_seed(0)
    cfg = expand_config(load_config(str(CONFIG)))
    model = build_model(cfg)
    for parameter in model.student.parameters():
        parameter.data.add_(0.01 * torch.randn_like(parameter))
    path = folder / 'iter_7.pth'
    # the text is what training writes: the expanded config
    meta = dict(cfg=cfg.pretty_text)
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return str(path)
