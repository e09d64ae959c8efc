"""What the branches of all task kinds have in common."""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn

from fx_mm.datasets.records import Records
from fx_mm.models.branches.evidence import Evidence
from fx_mm.models.losses.distillation import consistency_loss
from fx_mm.models.param_groups import FeatureGroups, ParamGroup
from fx_mm.structures import FXDataSample
from fx_mm.tasks import Task

State = dict[str, Any]
Extract = Callable[..., tuple[Tensor, ...]]
"""From images (B, 3, H, W), and perhaps :class:`HiddenPatches`, to maps."""
Encode = Callable[[tuple[Tensor, ...], list[FXDataSample]], State]
"""From maps to the state; see :meth:`Branch.encode`."""


class Branch(BaseModule):
    """One task kind: a shared part and one own part per dataset.

    ``encode`` computes what the datasets share; its result feeds the losses,
    the predictions and the consistency features, so nothing runs twice.

    Args:
        tasks (Iterable[Task]): The tasks of this kind.
        init_cfg (dict, optional): Initialisation config. Defaults to None.

    Attributes:
        graph_outputs (tuple[str]): Names of what :meth:`graph` returns,
            behind the task's name; of a single output ``()``.
        fixed_shapes (tuple[str]): Submodules of the shared part that see
            the same shapes in each batch of a task, and so can be compiled.
        thresholded (bool): Whether answers become truth above thresholds,
            or as they are.
    """

    graph_outputs: tuple[str, ...] = ()
    fixed_shapes: tuple[str, ...] = ()
    thresholded: bool = True

    def __init__(
        self, tasks: Iterable[Task], init_cfg: dict[str, Any] | None = None
    ) -> None:
        super().__init__(init_cfg)
        self.task_names = {task.dataset: task.name for task in tasks}

    @property
    def datasets(self) -> tuple[str, ...]:
        """tuple[str]: Names of the datasets with a task of this kind."""
        return tuple(self.task_names)

    def head_groups(self) -> list[ParamGroup]:
        """The own part of each dataset, where it is ``heads.DATASET``."""
        return [
            ParamGroup(f'{task}/head', task, (f'heads.{dataset}',))
            for dataset, task in self.task_names.items()
        ]

    def take_statistics(self, task: Task, records: Records) -> None:
        """Keep in buffers what a task's training data say of its scale.

        Called before a training, and before a checkpoint is loaded, whose
        buffers then count. By default nothing is kept.

        Args:
            task (Task): The task.
            records (Records): Its training data.

        Raises:
            UserError: If nothing can be learned of them.
        """

    def take_backbone(self, backbone: nn.Module) -> None:
        """Check and learn what the branch needs to know of the backbone.

        Called once, when the model is built; by default nothing.

        Args:
            backbone (nn.Module): The backbone.

        Raises:
            UserError: If the branch cannot work with it.
        """

    def see(
        self,
        extract: Extract,
        encode: Encode,
        inputs: Tensor,
        data_samples: list[FXDataSample],
        as_target: bool,
    ) -> State:
        """Run the backbone on what the branch shows it, then the shared part.

        Args:
            extract (Callable): Runs the backbone.
            encode (Callable): Runs :meth:`encode`, or finds its result.
            inputs (Tensor): Images (B, 3, H, W).
            data_samples (list[FXDataSample]): Their samples.
            as_target (bool): Whether what the state gives is the target of
                another model, as the teacher's.

        Returns:
            dict: By default :meth:`encode` of the images as they are.
        """
        return encode(extract(inputs), data_samples)

    @abstractmethod
    def encode(
        self, pyramid: tuple[Tensor, ...], data_samples: list[FXDataSample]
    ) -> State:
        """Run the shared part on the backbone maps."""

    @abstractmethod
    def consistency(self, state: State) -> FeatureGroups:
        """Features that student and teacher should agree on."""

    def consistency_loss(
        self, student: FeatureGroups, teacher: FeatureGroups, dataset: str
    ) -> Tensor:
        """Return how far the student is from the teacher.

        Called on the student's branch, once per step.

        Args:
            student (tuple[tuple[Tensor]]): Its features, with gradient.
            teacher (tuple[tuple[Tensor]]): The same of the teacher.
            dataset (str): Dataset of the batch.

        Returns:
            Tensor: Scalar; by default the mean squared error.
        """
        return consistency_loss(student, teacher)

    @abstractmethod
    def forward(
        self, state: State, dataset: str, data_samples: list[FXDataSample]
    ) -> Any:
        """Raw outputs of the own part of a dataset."""

    @abstractmethod
    def loss(
        self, state: State, dataset: str, data_samples: list[FXDataSample]
    ) -> dict[str, Tensor]:
        """Losses of a batch of one dataset."""

    def fit_truth(
        self, data_samples: list[FXDataSample]
    ) -> list[FXDataSample]:
        """Return samples of a test with their truth as training has it.

        Metrics compare in pixels of the original image, losses in those of
        the input.

        Args:
            data_samples (list[FXDataSample]): With ``ori_shape``,
                ``img_shape`` and ``scale_factor``; they are not changed.

        Returns:
            list[FXDataSample]: By default the same: the truth has no place.
        """
        return data_samples

    @abstractmethod
    def infer(
        self, state: State, dataset: str, data_samples: list[FXDataSample]
    ) -> Any:
        """What the views of an image are merged by: probabilities or boxes."""

    def merge_flips(
        self, plain: Any, mirrored: Any, data_samples: list[FXDataSample]
    ) -> Any:
        """Merge what :meth:`infer` returned for images and mirror images.

        Args:
            plain (Any): Of the images.
            mirrored (Any): Of their mirror images.
            data_samples (list[FXDataSample]): With ``img_shape``, the part of
                the image that is no padding, and ``ori_shape``.

        Returns:
            Any: Like one of them; by default their mean.
        """
        return (plain.float() + mirrored.float()) / 2

    @abstractmethod
    def add_pred_to_datasample(
        self, answers: Any, data_samples: list[FXDataSample]
    ) -> list[FXDataSample]:
        """Write what :meth:`infer` returned into the data samples."""

    def predict(
        self, state: State, dataset: str, data_samples: list[FXDataSample]
    ) -> list[FXDataSample]:
        """Infer and write into the data samples."""
        answers = self.infer(state, dataset, data_samples)
        return self.add_pred_to_datasample(answers, data_samples)

    def explain(
        self,
        pyramid: tuple[Tensor, ...],
        dataset: str,
        data_samples: list[FXDataSample],
        score_thr: float,
    ) -> list[Evidence]:
        """Show what the findings of an image rest on.

        Args:
            pyramid (tuple[Tensor]): Backbone maps of one image.
            dataset (str): Dataset of the head.
            data_samples (list[FXDataSample]): One sample.
            score_thr (float): Findings with a lower score are left out.

        Returns:
            list[Evidence]: One per finding; by default none.
        """
        return []

    def graph(
        self, state: State, dataset: str, data_samples: list[Any]
    ) -> tuple[Tensor, ...]:
        """Predict in tensors of fixed shape, for an exported graph.

        Args:
            state (dict): Result of :meth:`encode`.
            dataset (str): Dataset of the head.
            data_samples (list): One object with ``img_shape`` and
                ``batch_input_shape`` for the whole batch.

        Returns:
            tuple[Tensor]: By default the single result of :meth:`infer`;
            several where :attr:`graph_outputs` names them.
        """
        return (self.infer(state, dataset, data_samples),)

    def distillation_output(
        self, state: State, dataset: str, data_samples: list[FXDataSample]
    ) -> Any:
        """Return what a model that learns something else should keep.

        By default the consistency features, the same for all datasets.
        """
        return self.consistency(state)

    def distillation_loss(
        self, output: Any, target: Any, dataset: str, temperature: float
    ) -> Tensor:
        """Return how far an output is from that of an earlier model.

        Args:
            output (Any): Of :meth:`distillation_output`, with gradient.
            target (Any): The same of the earlier model, without.
            dataset (str): Whose output it is.
            temperature (float): Of probabilities; above 0.

        Returns:
            Tensor: Scalar, 0 where both agree.
        """
        return consistency_loss(output, target)

    def tally(
        self, answers: Any, data_samples: list[FXDataSample], task: Task
    ) -> Any:
        """Compare answers of a validation with the truth.

        Args:
            answers (Any): What :meth:`infer` returned.
            data_samples (list[FXDataSample]): With the truth.
            task (Task): Their task.

        Returns:
            Any: What :meth:`choose_thresholds` takes a list of.
        """
        raise NotImplementedError

    def choose_thresholds(
        self, tallies: list[Any], task: Task
    ) -> list[tuple[float, float]]:
        """Choose what an answer must reach to be another image's truth.

        Args:
            tallies (list): Of :meth:`tally`, of all validation images.
            task (Task): The task.

        Returns:
            list[tuple[float, float]]: Threshold of each class, and how good
            the answers are from it on, 0 to 1: F1 of boxes, Dice of masks.
            NaN and 0 where nothing right is found.
        """
        raise NotImplementedError

    def take_as_truth(
        self,
        answers: Any,
        data_samples: list[FXDataSample],
        thresholds: Tensor,
    ) -> Tensor:
        """Write answers into training samples as their truth.

        Args:
            answers (Any): What :meth:`infer` returned.
            data_samples (list[FXDataSample]): Their truth is replaced.
            thresholds (Tensor): (C,), NaN for classes that get none.

        Returns:
            Tensor: bool (B,), of which images anything is known now; the
            others carry no loss.
        """
        raise NotImplementedError

    @property
    def can_label(self) -> bool:
        """bool: Whether its answers can be the truth of other images."""
        return type(self).take_as_truth is not Branch.take_as_truth

    @abstractmethod
    def param_groups(self) -> list[ParamGroup]:
        """The groups, with names of modules relative to the branch."""
