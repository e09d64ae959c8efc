"""Pictures: contact sheets, predictions beside the truth, curves."""

from fx_mm.visualization.contact_sheet import color_of, draw_tile, make_grid
from fx_mm.visualization.curves import plot_curves
from fx_mm.visualization.prediction_sheet import prediction_sheet

__all__ = [
    'color_of',
    'draw_tile',
    'make_grid',
    'plot_curves',
    'prediction_sheet',
]
