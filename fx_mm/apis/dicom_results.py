"""Predictions go out as DICOM."""

from fx_mm.apis.inference import FoundationXInferencer
from fx_mm.dicom_out import DicomDelivery, DicomResults
from fx_mm.utils.checkpoint import local_path


def open_dicom(
    infer: FoundationXInferencer, target: str, score_thr: float
) -> DicomDelivery:
    """Return what delivers the predictions of an inferencer as DICOM.

    Args:
        infer (FoundationXInferencer): Predicts; its config may have
            ``dicom_codes``.
        target (str): A folder, or the address of an archive.
        score_thr (float): Boxes with a lower score are left out.

    Returns:
        DicomDelivery: To be called with each result.

    Raises:
        UserError: If a package is missing, or the target or ``dicom_codes``
            cannot be used.
    """
    model = infer.cfg.model
    results = DicomResults(
        (model.get('student') or model).type,
        local_path(infer.checkpoint),
        infer.predict_on,
        score_thr,
        infer.cfg.get('dicom_codes'),
    )
    return DicomDelivery(results, target)
