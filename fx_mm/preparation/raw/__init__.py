"""Official releases, grouped by how they write their annotations."""

from fx_mm.preparation.raw import box_lists, label_tables, masks

__all__ = ['box_lists', 'label_tables', 'masks']
