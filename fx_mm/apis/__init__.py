from ..utils.check_env import check_environment

# Before the imports that would fail with a riddle where it finds something.
check_environment()

from .config import expand_config
from .dry_run import dry_run
from .inference import FoundationXInferencer
from .model import load_model, load_weights
from .report import write_report
from .runner import build_runner, load_config

__all__ = [
    'FoundationXInferencer',
    'build_runner',
    'dry_run',
    'expand_config',
    'load_config',
    'load_model',
    'load_weights',
    'write_report',
]
