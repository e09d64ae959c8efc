"""The stages, in order of worth."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from fx_mm.analysis.gpu_check.job import Job

HERE = __name__.rpartition('.')[0]


@dataclass(frozen=True)
class Stage:
    """One stage.

    Args:
        name (str): In the report.
        place (str): Module and function, ``package.module:function``.
        seconds (float): When it is stopped, at the latest.
        optional (bool): Whether all is well without it.
    """

    name: str
    place: str
    seconds: float
    optional: bool = False

    def load(self) -> Callable[[Job], None]:
        """Import its function."""
        module, function = self.place.split(':')
        return getattr(importlib.import_module(module), function)


STAGES = (
    Stage('operators', f'{HERE}.operators:run', 120),
    Stage('numerics', f'{HERE}.numerics:run', 120),
    Stage('golden', f'{HERE}.golden:run', 60),
    Stage('training', f'{HERE}.training:run', 180),
    Stage('steps', f'{HERE}.steps:run', 150),
    Stage('stock', f'{HERE}.stock:run', 120),
    Stage('kernels', f'{HERE}.kernels:run', 60),
    Stage('loader', f'{HERE}.loader:run', 90),
    Stage('variants', f'{HERE}.variants:run', 120),
    Stage('demo', f'{HERE}.demo:run', 300),
    Stage('compiled', f'{HERE}.compiled:run', 240),
    Stage('large', f'{HERE}.steps:run_large', 120),
    Stage('ablation', f'{HERE}.demo:run_ablation', 3600, optional=True),
)
"""Imported in a process of their own, one after the other."""
