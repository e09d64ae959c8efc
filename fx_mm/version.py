"""The one place that holds the package's version."""

__version__ = '0.3.0'
