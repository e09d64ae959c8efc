"""A number with its unit, and where it came from."""

from dataclasses import dataclass

from fx_mm.image_io.dicom_geometry import Geometry

PIXELS, MM = 'px', 'mm'


@dataclass(frozen=True)
class Measurement:
    """A number, and where it came from.

    Attributes:
        quantity (str): ``cardiothoracic_ratio``, ``heart_width``,
            ``thoracic_width``, ``left_lung_area``, ``right_lung_area``,
            ``lung_asymmetry`` (area of the left less the right by their
            sum); of a finding ``width``, ``height``, ``area``.
        value (float): NaN where it cannot be measured.
        unit (str): ``px``, ``px2``, ``mm``, ``mm2`` or '' (a ratio).
        task (str): Whose boxes or masks it was taken from.
        reason (str): Why it is NaN.
        spread (tuple[float], optional): Least and greatest value of all
            readings that have one, see
            :mod:`fx_mm.analysis.image_report.spread`.
        readings (int): How many have one.
        factor (float): What pixels were multiplied with for the unit.
        classes (tuple[str]): The classes of the masks.
    """

    quantity: str
    value: float
    unit: str
    task: str
    reason: str = ''
    spread: tuple[float, float] | None = None
    readings: int = 1
    factor: float = 1.0
    classes: tuple[str, ...] = ()


def scale_of(
    geometry: Geometry,
) -> tuple[str, str, tuple[float, float], float]:
    """Return units of lengths and areas, and the factors to them.

    Args:
        geometry (Geometry): With or without a spacing.

    Returns:
        tuple: Unit of lengths, unit of areas, factors of a height and of a
        width, factor of an area.
    """
    if geometry.spacing is None:
        return PIXELS, f'{PIXELS}2', (1.0, 1.0), 1.0
    down, across = geometry.spacing
    return MM, f'{MM}2', (down, across), down * across
