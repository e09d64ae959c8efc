"""Boxes, probabilities and measurements as a structured report (TID 1500)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import highdicom as hd
import pydicom
from highdicom import sr
from highdicom.seg import Segmentation
from pydicom.sr.codedict import codes as standard
from pydicom.sr.coding import Code

from fx_mm.dicom_out.codes import ClassCode, to_text
from fx_mm.dicom_out.gsps import FoundBox, close
from fx_mm.dicom_out.model import FAMILY, MANUFACTURER, Model

CERTAINTY = Code('111012', 'DCM', 'Certainty of Finding')
"""As of chest CAD reports (TID 4104), in percent."""
COUNT = Code('246206008', 'SCT', 'Number of lesions')
AREA = Code('42798000', 'SCT', 'Area')
PERCENT = Code('%', 'UCUM', 'percent')
WIDTH = Code('103355008', 'SCT', 'Width')
HEIGHT = Code('121207', 'DCM', 'Height')
PIXELS = Code('{pixels}', 'UCUM', 'pixels')
MM = Code('mm', 'UCUM', 'millimeter')
MM2 = Code('mm2', 'UCUM', 'square millimeter')
NO_UNITS = Code('1', 'UCUM', 'no units')
PROCEDURE = Code('413815006', 'SCT', 'Chest imaging')


class Statement(NamedTuple):
    """A number that a report gives of a class.

    Attributes:
        task (str): Name of its task.
        name (str): Class name.
        code (ClassCode): What the class is called in coded terms.
        quantity (Code): What the number is.
        value (float): Finite.
        unit (Code): Its unit.
        region (Any, optional): Where in the image, None for all of it.
        sizes (tuple): Further numbers of it: quantity, value, unit.
        site (tuple, optional): Coded location, and its side or None.
    """

    task: str
    name: str
    code: ClassCode
    quantity: Code
    value: float
    unit: Code
    region: Any = None
    sizes: tuple[tuple[Code, float, Code], ...] = ()
    site: tuple[Code, Code | None] | None = None


def make_sr(
    source: pydicom.Dataset,
    statements: Sequence[Statement],
    model: Model,
    evidence: Sequence[pydicom.Dataset],
    series: int,
) -> sr.ComprehensiveSR:
    """Make the report.

    Args:
        source (pydicom.Dataset): See :func:`.source.read_source`.
        statements (Sequence[Statement]): One measurement group each.
        model (Model): Who made them.
        evidence (Sequence[pydicom.Dataset]): What statements refer to beside
            the source: the DICOM SEGs.
        series (int): Number of the series.

    Returns:
        sr.ComprehensiveSR: To be written.
    """
    observer = sr.ObserverContext(
        observer_type=standard.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=model.uid,
            name=model.name,
            manufacturer_name=MANUFACTURER,
            model_name=model.name,
            serial_number=model.digest[:16],
        ),
    )
    report = sr.MeasurementReport(
        observation_context=sr.ObservationContext(
            observer_device_context=observer
        ),
        procedure_reported=PROCEDURE,
        imaging_measurements=[
            _group(statement, source, model) for statement in statements
        ],
        title=standard.DCM.ImagingMeasurementReport,
    )
    return sr.ComprehensiveSR(
        evidence=[source, *evidence],
        content=report,
        series_instance_uid=hd.UID(),
        series_number=series,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=model.name,
        software_versions=model.version,
        device_serial_number=model.digest[:16],
        is_complete=True,
        is_final=False,
        is_verified=False,
        series_description='fx_mm findings',
        specific_character_set=source.SpecificCharacterSet,
    )


def region_of(box: FoundBox, source: pydicom.Dataset) -> sr.ImageRegion:
    """Return a box as a closed line."""
    return sr.ImageRegion(
        graphic_type=sr.GraphicTypeValues.POLYLINE,
        graphic_data=close(box.corners, source),
        source_image=sr.SourceImageForRegion(
            source.SOPClassUID, source.SOPInstanceUID
        ),
    )


def segment_of(
    segmentation: Segmentation, number: int
) -> sr.ReferencedSegmentationFrame:
    """Return the reference to a segment that has a frame.

    A reference names a segment or a frame, not both, and no frame of an
    image that has only one (PS3.3, C.18.4).
    """
    region = sr.ReferencedSegmentationFrame.from_segmentation(
        segmentation, segment_number=number
    )
    for item in region:
        (reference,) = item.ReferencedSOPSequence
        reference.pop('ReferencedFrameNumber', None)
    return region


def _group(
    statement: Statement, source: pydicom.Dataset, model: Model
) -> sr.MeasurementsAndQualitativeEvaluations | (
    sr.PlanarROIMeasurementsAndQualitativeEvaluations
):
    side = statement.code.side
    arguments: dict[str, Any] = dict(
        tracking_identifier=sr.TrackingIdentifier(
            uid=hd.UID(),
            identifier=to_text(f'{statement.task} {statement.name}'),
        ),
        finding_type=statement.code.term,
        finding_category=(
            statement.code.category if statement.code.known else None
        ),
        algorithm_id=sr.AlgorithmIdentification(
            name=f'{MANUFACTURER} {model.name}',
            version=model.version,
            parameters=[
                ', '.join(f'{k}={v}' for k, v in model.parameters.items())
            ],
            family=FAMILY,
        ),
        measurements=[
            sr.Measurement(quantity, _number(value), unit)
            for quantity, value, unit in (
                (statement.quantity, statement.value, statement.unit),
                *statement.sizes,
            )
        ],
    )
    site = statement.site
    if side is not None:
        site = (statement.code.term, side)
    if site is not None:
        arguments['finding_sites'] = [
            sr.FindingSite(site[0], laterality=site[1])
        ]
    region = statement.region
    if region is None:
        image = sr.SourceImageForMeasurementGroup(
            source.SOPClassUID, source.SOPInstanceUID
        )
        return sr.MeasurementsAndQualitativeEvaluations(
            source_images=[image], **arguments
        )
    key = 'referenced_region'
    if isinstance(region, sr.ReferencedSegmentationFrame):
        key = 'referenced_segment'
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        **{key: region}, **arguments
    )


def _number(value: float) -> float:
    """Return a number that fits 16 characters."""
    return float(f'{value:.6g}')
