"""Predictions as DICOM objects, and archives that speak DICOMweb.

The libraries are an extra and imported when they are used.
"""

from fx_mm.dicom_out.results import DicomResults
from fx_mm.dicom_out.source import SourceError

__all__ = ['DicomResults', 'SourceError']
