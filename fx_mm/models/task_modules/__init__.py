from .matching import BoxL1Cost, FiniteHungarianAssigner

__all__ = ['BoxL1Cost', 'FiniteHungarianAssigner']
