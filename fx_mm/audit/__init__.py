"""Audit the data before training: leaks, copies, odd things.

``audit.json``, schema 2:

- ``schema`` (int); ``config`` (str); ``quick`` (bool): no image was read.
- ``ok`` (bool): no leak and no error that is not allowed.
- ``counts``: level to number of findings that are not allowed.
- ``allowed``: names of findings that are; ``unused_allow``: what was allowed
  and not found; ``unused_levels``: likewise of ``audit.levels``.
- ``scanned``: ``images`` and ``masks`` read.
- ``tasks``: ``dataset/kind`` to split to ``images``, ``patients`` (None where
  unknown), ``none`` (images without a positive class), ``classes`` (name to
  ``positive``, ``negative``, ``unknown`` and ``prevalence``) and ``together``
  (numbers of images with both classes, in the order of ``classes``).
- ``findings``: ``name``, ``check``, ``places``, ``level``, ``message``,
  ``count``, ``examples`` (at most 20), ``allowed``; see
  :class:`~.findings.Finding`.
- ``images``: path to what was decided while the image was read (``format``,
  ``depth``, ``orientation``, ``inverted``, ``mapping``, ``range``,
  ``warnings``, ...; see :func:`fx_mm.apis.read_xray`), or ``error``.
- ``masks``: list of ``file``, ``classes`` and what was decided:
  ``mask_format``, ``values`` (the first 32), ``orientation``, ``warnings``; or
  ``error``.
"""

from fx_mm.audit.findings import Finding
from fx_mm.audit.run import audit, quick_audit, warn_of_leaks

__all__ = ['Finding', 'audit', 'quick_audit', 'warn_of_leaks']
