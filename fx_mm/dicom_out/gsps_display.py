"""How a presentation state shows the grey values: as the model saw them.

A state takes the place of what the image says of its display, so it must say
all of it.
"""

from collections.abc import Mapping
from typing import Any

import highdicom as hd
import pydicom
from highdicom.pr import SoftcopyVOILUTTransformation


def grey_display(
    reading: Mapping[str, Any], source: pydicom.Dataset
) -> dict[str, Any]:
    """Return the arguments of a grey presentation state.

    Args:
        reading (Mapping): What was decided when the image was read, see
            :func:`fx_mm.apis.read_xray`.
        source (pydicom.Dataset): See :func:`.source.read_source`.

    Returns:
        dict: Modality, VOI and presentation LUT.
    """
    shape = 'INVERSE' if reading['inverted'] else 'IDENTITY'
    return dict(
        modality_lut_transformation=_modality(reading, source),
        voi_lut_transformations=[_voi(reading, source)],
        presentation_lut_transformation=hd.PresentationLUTTransformation(
            presentation_lut_shape=shape
        ),
    )


def _modality(
    reading: Mapping[str, Any], source: pydicom.Dataset
) -> hd.ModalityLUTTransformation | None:
    """Return the LUT or the rescale that was applied; None for neither."""
    if reading['rescale'] is None:
        item = source.ModalityLUTSequence[0]
        return hd.ModalityLUTTransformation(
            modality_lut=hd.ModalityLUT.from_dataset(item)
        )
    slope, intercept = reading['rescale']
    if (slope, intercept) == (1, 0):
        return None
    return hd.ModalityLUTTransformation(
        rescale_slope=slope,
        rescale_intercept=intercept,
        rescale_type='US',  # unspecified
    )


def _voi(
    reading: Mapping[str, Any], source: pydicom.Dataset
) -> SoftcopyVOILUTTransformation:
    """Return the LUT or the window that became black and white.

    PS3.3, C.11.2.1.2 and C.11.2.1.3: the lowest value of a linear window is
    center - 0.5 - (width - 1) / 2, of the others center - width / 2.
    """
    low, high = reading['range'] or (0, 2 ** reading['depth'] - 1)
    if reading['mapping'] == 'VOI LUT':
        (item,) = [
            item
            for item in source.VOILUTSequence
            if _ends(item) == (low, high)
        ][:1]
        return SoftcopyVOILUTTransformation(
            voi_luts=[hd.VOILUT.from_dataset(item)]
        )
    function = 'LINEAR'
    if reading['mapping'] == 'window':
        function = source.get('VOILUTFunction', function)
    if function == 'LINEAR' or low == high:
        width = high - low + 1
        return SoftcopyVOILUTTransformation(
            window_center=low + width / 2, window_width=float(width)
        )
    return SoftcopyVOILUTTransformation(
        window_center=(low + high) / 2,
        window_width=float(high - low),
        voi_lut_function=function,
    )


def _ends(item: pydicom.Dataset) -> tuple[int, int]:
    """Return the lowest and highest input of a LUT."""
    count, first, _ = item.LUTDescriptor
    return first, first + (count or 2**16) - 1
