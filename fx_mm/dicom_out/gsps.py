"""Boxes as a presentation state: graphics that viewers draw on the image.

OHIF and others show no boxes of structured reports.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import highdicom as hd
import numpy as np
import pydicom
from highdicom.pr import (
    AnnotationUnitsValues,
    GraphicAnnotation,
    GraphicLayer,
    GraphicObject,
    GraphicTypeValues,
    GrayscaleSoftcopyPresentationState,
    TextJustificationValues,
    TextObject,
)

from fx_mm.dicom_out.codes import to_text
from fx_mm.dicom_out.gsps_display import grey_display
from fx_mm.dicom_out.model import Model

PIXEL = AnnotationUnitsValues.PIXEL


class FoundBox(NamedTuple):
    """A box of a result.

    Attributes:
        task (str): Name of its task.
        label (int): Index of the class.
        name (str): Class name.
        score (float): 0 to 1.
        corners (np.ndarray): x1, y1, x2, y2 in pixels of the source, in
            which the first pixel's upper left corner is (0, 0).
    """

    task: str
    label: int
    name: str
    score: float
    corners: np.ndarray


def make_gsps(
    source: pydicom.Dataset,
    boxes: Sequence[FoundBox],
    reading: Mapping[str, Any],
    model: Model,
    series: int,
) -> GrayscaleSoftcopyPresentationState:
    """Make the presentation state: the boxes on the image as it was read.

    Args:
        source (pydicom.Dataset): See :func:`.source.read_source`; a grey
            image.
        boxes (Sequence[FoundBox]): Perhaps none.
        reading (Mapping): What was decided when the image was read, see
            :func:`fx_mm.apis.read_xray`.
        model (Model): Who made them.
        series (int): Number of the series.

    Returns:
        GrayscaleSoftcopyPresentationState: To be written.
    """
    layer = GraphicLayer(
        'FX_MM', order=1, description='boxes of a model with their scores'
    )
    annotations = []
    if boxes:
        graphics = [_outline(box, source) for box in boxes]
        texts = [_caption(box, source) for box in boxes]
        annotations.append(
            GraphicAnnotation(
                [source],
                layer,
                graphic_objects=graphics,
                text_objects=texts,
            )
        )
    arguments: dict[str, Any] = dict(
        referenced_images=[source],
        series_instance_uid=hd.UID(),
        series_number=series,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        content_label='FX_MM_BOXES',
        content_description='boxes of a model',
        graphic_layers=[layer] if annotations else None,
        graphic_annotations=annotations or None,
        series_description='fx_mm boxes',
        specific_character_set=source.SpecificCharacterSet,
        **model.equipment,
    )
    state = GrayscaleSoftcopyPresentationState(
        **arguments, **grey_display(reading, source)
    )
    # it has no side, of which a series would have to tell
    state.BodyPartExamined = 'CHEST'
    return state


def _outline(box: FoundBox, source: pydicom.Dataset) -> GraphicObject:
    """Return a closed line along the box."""
    return GraphicObject(
        GraphicTypeValues.POLYLINE,
        close(box.corners, source),
        units=PIXEL,
        tracking_id=to_text(f'{box.task} {box.name}'),
        tracking_uid=hd.UID(),
    )


def _caption(box: FoundBox, source: pydicom.Dataset) -> TextObject:
    x1, y1 = close(box.corners, source)[0]
    return TextObject(
        to_text(f'{box.name} {box.score:.2f}'),
        units=PIXEL,
        anchor_point=(x1, y1),
        anchor_point_visible=False,
        text_justification=TextJustificationValues.LEFT,
    )


def close(corners: np.ndarray, source: pydicom.Dataset) -> np.ndarray:
    """Return a box as a closed line within the image.

    In graphics and reports the upper left corner of the first pixel is
    (0, 0), as in ours (PS3.3, C.10.5 and C.18.6).

    Args:
        corners (np.ndarray): x1, y1, x2, y2 in pixels.
        source (pydicom.Dataset): With Rows and Columns.

    Returns:
        np.ndarray: x and y of five points, float64 of shape (5, 2).
    """
    limits = [source.Columns, source.Rows] * 2
    x1, y1, x2, y2 = np.clip(np.asarray(corners, float), 0, limits)
    return np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2), (x1, y1)])
