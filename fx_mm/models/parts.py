"""Parts of the model: the unit of locking, counting and matching by name."""

from dataclasses import dataclass

from torch import Tensor

BRANCHES = dict(
    cls=('classification', 'ClassificationBranch'),
    loc=('localization', 'LocalizationBranch'),
    seg=('segmentation', 'SegmentationBranch'),
)
"""Task kind to the model's attribute and the default class of its branch."""


@dataclass(frozen=True)
class Part:
    """A named piece of the model. Every parameter is in exactly one part.

    Args:
        name (str): Unique name, such as ``localization/encoder`` for a shared
            part or ``phantom_b/loc/head`` for an own part.
        task (str, optional): The task that owns the part
            (``phantom_b/loc``); None for a shared part.
        modules (tuple[str]): Prefixes of the names in
            ``named_parameters()``, without the trailing dot.
    """

    name: str
    task: str | None
    modules: tuple[str, ...]

    def owns(self, parameter: str) -> bool:
        """Whether a parameter (its full name) belongs to this part."""
        return any(
            parameter == prefix or parameter.startswith(prefix + '.')
            for prefix in self.modules
        )

    def under(self, prefix: str) -> 'Part':
        """The same part seen from the parent module ``prefix``."""
        return Part(
            self.name,
            self.task,
            tuple(f'{prefix}.{module}' for module in self.modules),
        )


FeatureGroups = tuple[tuple[Tensor, ...], ...]
"""Consistency features: groups weigh alike, and so do maps in a group."""
