from .foundation_x import Conversion, convert_foundation_x

__all__ = ['Conversion', 'convert_foundation_x']
