"""Named groups of the model's parameters: what is locked, counted, matched."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from fx_mm.utils.errors import UserError


@dataclass(frozen=True)
class ParamGroup:
    """A named piece of the model. Every parameter is in exactly one.

    Args:
        name (str): Unique name, such as ``localization/encoder`` for a shared
            group or ``phantom_b/loc/head`` for an own group.
        task (str, optional): The task that owns the group
            (``phantom_b/loc``); None for a shared group.
        modules (tuple[str]): Prefixes of the names in
            ``named_parameters()``, without the trailing dot.
        heavy (bool): Whether the pass mode ``lock_plus`` freezes it although
            it is the task's own. Defaults to False.
    """

    name: str
    task: str | None
    modules: tuple[str, ...]
    heavy: bool = False

    def owns(self, parameter: str) -> bool:
        """Whether a parameter (its full name) belongs to this group."""
        return any(
            parameter == prefix or parameter.startswith(prefix + '.')
            for prefix in self.modules
        )

    def under(self, prefix: str) -> 'ParamGroup':
        """The same group seen from the parent module ``prefix``."""
        modules = tuple(f'{prefix}.{module}' for module in self.modules)
        return replace(self, modules=modules)


def check_coverage(groups: Sequence[ParamGroup], names: Iterable[str]) -> None:
    """Refuse a parameter that is not in exactly one group.

    Args:
        groups (Sequence[ParamGroup]): The groups of a model.
        names (Iterable[str]): Names of all its parameters.

    Raises:
        UserError: Names the parameter.
    """
    for name in names:
        owners = [group.name for group in groups if group.owns(name)]
        if len(owners) != 1:
            found = ' and '.join(owners) or 'no group'
            raise UserError(
                f'Parameter "{name}" is in {found} of the model, so a pass '
                'could not lock it rightly; param_groups() of its branch '
                'must name it once.'
            )


FeatureGroups = tuple[tuple[Tensor, ...], ...]
"""Consistency features: groups weigh alike, and so do maps in a group."""
