from fx_mm.converters.conversion import Conversion
from fx_mm.converters.foundation_x import convert_foundation_x

__all__ = ['Conversion', 'convert_foundation_x']
