from .matching import StackedMatcher

__all__ = ['StackedMatcher']
