"""Result of every converter: weights under fx_mm's names, and the rest."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class ConvertedWeights:
    """Weights under fx_mm's names; every key of the source is accounted for.

    Attributes:
        state_dict (dict[str, Tensor]): Weights under fx_mm's names.
        unused (dict[str, str]): Key of the source that the model has no use
            for, to the reason.
        missing (tuple[str]): Names of the model without a weight.
    """

    state_dict: dict[str, Tensor] = field(default_factory=dict)
    unused: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    def put(
        self,
        original: str,
        name: str,
        value: Tensor,
        wanted: Mapping[str, Tensor],
    ) -> None:
        """Add a weight if the model has it in this shape.

        Args:
            original (str): Its key in the source.
            name (str): fx_mm's name.
            value (Tensor): The weight.
            wanted (Mapping[str, Tensor]): The model's own weights.
        """
        ours = wanted.get(name)
        if ours is None:
            self.unused[original] = f'the model has no {name}'
        elif ours.shape != value.shape:
            self.unused[original] = (
                f'of the shape {tuple(value.shape)}, but the model has '
                f'{tuple(ours.shape)} for {name}'
            )
        else:
            self.state_dict[name] = value
