"""What the three branches have in common."""

from abc import abstractmethod
from typing import Any, Dict, List, Sequence, Tuple

from mmengine.model import BaseModule
from torch import Tensor

from ..parts import FeatureGroups, Part

State = Dict[str, Any]


class Branch(BaseModule):
    """One task kind: a shared part and one own part per dataset.

    ``encode`` computes what the datasets share; its result feeds the losses,
    the predictions and the consistency features, so nothing runs twice.

    Args:
        tasks (Sequence[dict]): The tasks of this kind, each with ``dataset``,
            ``classes`` and the options of the kind.
        init_cfg (dict, optional): Initialisation config. Defaults to None.
    """

    kind = ''

    def __init__(self, tasks: Sequence[dict], init_cfg=None) -> None:
        super().__init__(init_cfg)
        self.datasets = tuple(task['dataset'] for task in tasks)

    def task_name(self, dataset: str) -> str:
        """Name of the task, such as ``phantom_b/loc``."""
        return f'{dataset}/{self.kind}'

    @abstractmethod
    def encode(self, pyramid: Tuple[Tensor, ...], data_samples: List) -> State:
        """Run the shared part on the backbone maps."""

    @abstractmethod
    def consistency(self, state: State) -> FeatureGroups:
        """Features that student and teacher should agree on."""

    @abstractmethod
    def forward(self, state: State, dataset: str, data_samples: List) -> Any:
        """Raw outputs of the own part of a dataset."""

    @abstractmethod
    def loss(
        self, state: State, dataset: str, data_samples: List
    ) -> Dict[str, Tensor]:
        """Losses of a batch of one dataset."""

    @abstractmethod
    def predict(self, state: State, dataset: str, data_samples: List) -> List:
        """Write the predictions into the data samples."""

    @abstractmethod
    def parts(self) -> List[Part]:
        """The parts, with names of modules relative to the branch."""
