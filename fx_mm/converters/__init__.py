from fx_mm.converters.converted_weights import ConvertedWeights
from fx_mm.converters.foundation_x import convert_foundation_x

__all__ = ['ConvertedWeights', 'convert_foundation_x']
