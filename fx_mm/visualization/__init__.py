"""Pictures: contact sheets, predictions beside the truth, curves."""

from .contact_sheet import color_of, draw_tile, make_grid
from .curves import plot_curves
from .draw import draw_comparison, draw_result, prediction_sheet

__all__ = [
    'color_of',
    'draw_comparison',
    'draw_result',
    'draw_tile',
    'make_grid',
    'plot_curves',
    'prediction_sheet',
]
