"""Masks as DICOM SEG: a segment per class, on the pixels of the source."""

import copy
from collections.abc import Sequence

import highdicom as hd
import numpy as np
import pydicom
from highdicom.seg import (
    SegmentAlgorithmTypeValues,
    Segmentation,
    SegmentationTypeValues,
    SegmentDescription,
)
from highdicom.sr import CodedConcept

from fx_mm.dicom_out.codes import ClassCode, to_text
from fx_mm.dicom_out.model import Model


def make_seg(
    source: pydicom.Dataset,
    task: str,
    classes: Sequence[str],
    codes: Sequence[ClassCode],
    masks: np.ndarray,
    model: Model,
    series: int,
) -> Segmentation:
    """Make the DICOM SEG of one task.

    An empty mask is a segment without a frame, or, where all are empty, with
    an empty one, since there must be a frame.

    Args:
        source (pydicom.Dataset): See :func:`.source.read_source`.
        task (str): Its name, for the description.
        classes (Sequence[str]): Class names.
        codes (Sequence[ClassCode]): One per class.
        masks (np.ndarray): bool of shape (C, H, W).
        model (Model): Who made them.
        series (int): Number of the series.

    Returns:
        Segmentation: To be written.
    """
    described = []
    for number, (name, code) in enumerate(zip(classes, codes), 1):
        segment = SegmentDescription(
            segment_number=number,
            segment_label=to_text(name),
            segmented_property_category=code.category,
            segmented_property_type=code.term,
            algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=model.algorithm,
            tracking_uid=hd.UID(),
            tracking_id=to_text(f'{task} {name}'),
        )
        if code.side is not None:
            (kind,) = segment.SegmentedPropertyTypeCodeSequence
            kind.SegmentedPropertyTypeModifierCodeSequence = [
                CodedConcept.from_code(code.side)
            ]
        described.append(segment)
    # with a spacing and no thickness, which a projection lacks, highdicom
    # writes what it cannot read; that of the source holds for its pixels
    plain = copy.deepcopy(source)
    plain.pop('PixelSpacing', None)
    segmentation = Segmentation(
        source_images=[plain],
        pixel_array=masks.transpose(1, 2, 0)[None].astype(np.uint8),
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=described,
        series_instance_uid=hd.UID(),
        series_number=series,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        content_label='FX_MM_SEG',
        content_description=to_text(f'masks of {task}'),
        series_description=to_text(f'fx_mm masks {task}'),
        **model.equipment,
    )
    # the grid is the source's, and so is what its rows and columns point to
    segmentation.PatientOrientation = source.get('PatientOrientation', '')
    return segmentation
