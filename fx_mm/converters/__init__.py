from .conversion import Conversion
from .foundation_x import convert_foundation_x

__all__ = ['Conversion', 'convert_foundation_x']
