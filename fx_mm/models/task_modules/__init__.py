from fx_mm.models.task_modules.matching import StackedMatcher

__all__ = ['StackedMatcher']
