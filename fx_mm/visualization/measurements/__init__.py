"""What was measured of an image, beside what was predicted of it."""

from fx_mm.visualization.measurements.chest_frame import ChestFrame, Place
from fx_mm.visualization.measurements.measurement import Measurement
from fx_mm.visualization.measurements.measurements import (
    Finding,
    Measurements,
)

__all__ = ['ChestFrame', 'Finding', 'Measurement', 'Measurements', 'Place']
