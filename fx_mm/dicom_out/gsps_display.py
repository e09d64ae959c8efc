"""How a presentation state shows the grey values: as the model saw them.

A state takes the place of what the image says of its display, so it must say
all of it.
"""

from collections.abc import Mapping
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
from highdicom.pr import SoftcopyVOILUTTransformation

from fx_mm.image_io.decisions import Decisions
from fx_mm.image_io.dicom_luts import Histogram, Table, read_table
from fx_mm.image_io.dicom_tags import DicomTags

WHITE = 257
"""Grey of 8 bits times it is that of 16."""


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
        lowest = -1 if source.get('PixelRepresentation') else 0
        table = _read_tables(source, 'ModalityLUTSequence', lowest)[0]
        return hd.ModalityLUTTransformation(
            modality_lut=hd.ModalityLUT(
                lut_type='US',  # unspecified
                first_mapped_value=table.first,
                lut_data=table.entries.astype(np.uint16),
            )
        )
    slope, intercept = reading['rescale']
    if reading['mapping'] == 'VOI LUT':  # whose inputs begin at 0 at least
        intercept -= min(reading['range'][0], 0)
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
        tables = _read_tables(source, 'VOILUTSequence', low)
        (table,) = [each for each in tables if _ends(each) == (low, high)][:1]
        grey = table.grey(np.arange(low, high + 1))
        lut = hd.VOILUT(
            first_mapped_value=max(int(low), 0),
            lut_data=grey.astype(np.uint16) * WHITE,
        )
        return SoftcopyVOILUTTransformation(voi_luts=[lut])
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


def _read_tables(
    source: pydicom.Dataset, keyword: str, lowest: float
) -> list[Table]:
    """Read the tables of a sequence as they were when the image was read."""
    seen = Histogram(np.array([lowest]), np.ones(1))
    items = DicomTags(source, Decisions('DICOM')).items(keyword)
    tables = [read_table(item, keyword, seen) for item in items]
    return [table for table in tables if table is not None]


def _ends(table: Table) -> tuple[int, int]:
    """Return the lowest and highest input of a table."""
    return table.first, table.first + len(table.entries) - 1
