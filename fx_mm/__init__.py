"""Foundation X and Ark for the OpenMMLab runner."""

import os

# How often a thread of OpenMP looks for work before it sleeps. As it is, two
# threads of which one waits for a core spin for each other: a step takes 4
# times as long beside other work. Read when torch is loaded; measured in
# docs/benchmarks.md.
if 'OMP_WAIT_POLICY' not in os.environ:
    os.environ.setdefault('GOMP_SPINCOUNT', '1000')

from fx_mm import registry  # noqa: E402,F401  so that a config finds it
from fx_mm.version import __version__  # noqa: E402

__all__ = ['__version__']
