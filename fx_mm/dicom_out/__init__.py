"""Predictions as DICOM objects, and archives that speak DICOMweb.

The libraries are an extra and imported when they are used.
"""

from fx_mm.dicom_out.delivery import DicomDelivery
from fx_mm.dicom_out.errors import SourceError
from fx_mm.dicom_out.results import DicomResults
from fx_mm.dicom_out.web import DicomWeb, is_web_address

__all__ = [
    'DicomDelivery',
    'DicomResults',
    'DicomWeb',
    'SourceError',
    'is_web_address',
]
