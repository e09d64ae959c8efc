from fx_mm.utils.check_env import check_environment

# Before the imports that would fail with a riddle where it finds something.
check_environment()

from fx_mm.apis.dry_run import dry_run
from fx_mm.apis.inference import FoundationXInferencer
from fx_mm.apis.model import load_model, load_weights
from fx_mm.apis.report import write_report
from fx_mm.config import expand_config, load_config
from fx_mm.engine.runner import build_runner

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
