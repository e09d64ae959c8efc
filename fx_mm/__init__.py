"""Foundation X and Ark for the OpenMMLab runner."""

from fx_mm import registry  # noqa: F401  so that a config's imports find it
from fx_mm.version import __version__

__all__ = ['__version__']
