from fx_mm.utils.check_env import check_environment

# Before the imports that would fail with an obscure error where it finds
# something.
check_environment()

from fx_mm.apis.dry_run import dry_run
from fx_mm.apis.inference import FoundationXInferencer
from fx_mm.config import expand_config, load_config
from fx_mm.engine.closing_report import ReportOptions, report_predictions
from fx_mm.engine.runner import MultiTaskRunner, build_runner
from fx_mm.image_io.masks import read_mask
from fx_mm.image_io.xray import read_xray
from fx_mm.models import load_model
from fx_mm.visualization.results import (
    ClsResult,
    ImageResult,
    LocResult,
    SegResult,
)

__all__ = [
    'ClsResult',
    'FoundationXInferencer',
    'ImageResult',
    'LocResult',
    'MultiTaskRunner',
    'ReportOptions',
    'SegResult',
    'build_runner',
    'dry_run',
    'expand_config',
    'load_config',
    'load_model',
    'read_mask',
    'read_xray',
    'report_predictions',
]
