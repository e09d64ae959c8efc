"""Foundation X and Ark for the OpenMMLab runner."""

from fx_mm.version import __version__

__all__ = ['__version__']
