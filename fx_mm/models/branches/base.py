"""What the three branches have in common."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor

from fx_mm.models.parts import FeatureGroups, Part

State = dict[str, Any]


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
    def encode(self, pyramid: tuple[Tensor, ...], data_samples: list) -> State:
        """Run the shared part on the backbone maps."""

    @abstractmethod
    def consistency(self, state: State) -> FeatureGroups:
        """Features that student and teacher should agree on."""

    @abstractmethod
    def forward(self, state: State, dataset: str, data_samples: list) -> Any:
        """Raw outputs of the own part of a dataset."""

    @abstractmethod
    def loss(
        self, state: State, dataset: str, data_samples: list
    ) -> dict[str, Tensor]:
        """Losses of a batch of one dataset."""

    @abstractmethod
    def infer(self, state: State, dataset: str, data_samples: list) -> Any:
        """What the views of an image are merged by: probabilities or boxes."""

    @abstractmethod
    def write(self, answers: Any, data_samples: list) -> list:
        """Write what :meth:`infer` gave into the data samples."""

    def predict(self, state: State, dataset: str, data_samples: list) -> list:
        """Infer and write into the data samples."""
        answers = self.infer(state, dataset, data_samples)
        return self.write(answers, data_samples)

    @abstractmethod
    def parts(self) -> list[Part]:
        """The parts, with names of modules relative to the branch."""
