"""Load, check and expand a config.

Who only loads one, as preparing does, needs no torch: what imports it is
imported where it is used.
"""

from fx_mm.config.continual import ContinualPlan
from fx_mm.config.data import config_of_data, refuse_other_types
from fx_mm.config.expand import expand_config
from fx_mm.config.federated import FederatedPlan
from fx_mm.config.file import load_config
from fx_mm.config.plain import PlainConfig

__all__ = [
    'ContinualPlan',
    'FederatedPlan',
    'PlainConfig',
    'config_of_data',
    'expand_config',
    'load_config',
    'refuse_other_types',
]
