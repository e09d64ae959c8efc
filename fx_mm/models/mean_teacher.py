"""MeanTeacher: a student, its moving average, and their consistency."""

import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast

import torch
from mmengine.config import ConfigDict
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fx_mm.models.foundation_x import FoundationX
from fx_mm.models.pseudo_labels import LabelledBatch, PseudoLabels
from fx_mm.registry import MODELS
from fx_mm.structures import FXDataSample
from fx_mm.tasks import (
    ByKind,
    Task,
    TaskTable,
    check_by_kind,
    for_kind,
    split_name,
)
from fx_mm.utils.checks import check_choice
from fx_mm.utils.dist import unwrap
from fx_mm.utils.errors import UserError
from fx_mm.utils.predictors import PREDICTORS

ExtraLoss = Callable[[Tensor, list[FXDataSample]], dict[str, Tensor]]
"""Takes a batch's images and samples; its losses are added as they are."""


def bare_model(model: nn.Module) -> 'MeanTeacher':
    """Return a run's model without the wrapper of several processes."""
    return cast(MeanTeacher, unwrap(model))


def with_tasks(model: Mapping[str, Any], tasks: TaskTable) -> ConfigDict:
    """Return the config of a model with the tasks that it is built for.

    Args:
        model (Mapping): Config of :class:`MeanTeacher`; it is not changed.
        tasks (TaskTable): The active tasks.
    """
    student = ConfigDict(model['student'], tasks=tasks)
    return ConfigDict(dict(model), student=student)


@MODELS.register_module()
class MeanTeacher(BaseModel):
    """Student, teacher and the loss ``(1 - w) * task + w * consistency``.

    Foundation X, section 3.3; Ark, section 3. The teacher takes no gradient
    and is always in eval mode. It runs without autograd, only as deep as the
    consistency features, and not at all if no trainable parameter could
    receive that gradient or if ``w`` is 0. The factor ``1 - w`` stays where
    the teacher does not run, so that rates and clipping keep their meaning
    across passes.

    A run without :class:`MeanTeacherHook` has a student alone, see
    :meth:`keep_predictors`: what nothing moves must not predict.

    Args:
        student (dict): Config of :class:`FoundationX`.
        consistency_weight (float | dict): ``w``, or task kind to ``w``; may
            be set at any time, by a schedule for example. Defaults to 0.5.
        compile_backbone (bool): Compile the backbones with
            ``torch.compile``, see :meth:`FoundationX.compile_parts`. Names of
            weights stay. Defaults to False.
        compile_branches (bool): The same for the encoder of boxes and the
            decoder of masks. Defaults to False.
        data_preprocessor (dict, optional): Config of the preprocessor.
            Defaults to None.
        init_cfg (dict, optional): Initialisation config. Defaults to None.

    Attributes:
        extra_losses (list[Callable]): What a run adds to each batch's losses,
            see :data:`ExtraLoss`; none of it is in a checkpoint.
        pseudo_labels (PseudoLabels, optional): Labels batches of tasks
            without annotation; set by :class:`PseudoLabelHook`.
    """

    student: FoundationX
    teacher: FoundationX | None

    def __init__(
        self,
        student: dict[str, Any],
        consistency_weight: ByKind = 0.5,
        compile_backbone: bool = False,
        compile_branches: bool = False,
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        if isinstance(data_preprocessor, dict):
            data_preprocessor = MODELS.build(data_preprocessor)
        super().__init__(data_preprocessor, init_cfg)
        self.student = MODELS.build(copy.deepcopy(student))
        self.consistency_weight = consistency_weight
        self._compiled = dict(
            backbone=compile_backbone, branches=compile_branches
        )
        self.student.compile_parts(**self._compiled)
        self.teacher = None
        self.extra_losses: list[ExtraLoss] = []
        self.pseudo_labels: PseudoLabels | None = None
        self.keep_predictors(PREDICTORS)

    # ------------------------------------------------------ student, teacher

    @property
    def consistency_weight(self) -> ByKind:
        """Weight of the consistency loss, in 0..1, perhaps by task kind."""
        return self._consistency_weight

    @consistency_weight.setter
    def consistency_weight(self, value: ByKind) -> None:
        tasks = self.student.task_names
        check_by_kind('model.consistency_weight', value, tasks)
        self._consistency_weight = value

    @property
    def needs_teacher(self) -> bool:
        """Whether a task has a consistency loss."""
        return any(
            for_kind(self.consistency_weight, split_name(task)[1]) > 0
            for task in self.student.task_names
        )

    @property
    def predictors(self) -> tuple[str, ...]:
        """Whose weights there are: teacher, student or both."""
        return self._predictors

    def keep_predictors(self, names: Collection[str]) -> None:
        """Keep the weights of student and teacher, or of one of them alone.

        Weights that are alone are in the submodule ``student``, also if they
        were published as a teacher's. The first of ``PREDICTORS`` that there
        is predicts from now on. A teacher that comes back is the student's
        copy.

        Args:
            names (Collection[str]): ``'teacher'``, ``'student'`` or both.
        """
        self._predictors = tuple(name for name in PREDICTORS if name in names)
        self._predict_on = self._predictors[0]
        self._pairs: tuple[list[Tensor], ...] | None = None
        if len(self._predictors) == 1:
            self.teacher = None
        elif self.teacher is None:
            # What an adapter leaves as it is, both have in common.
            base = set(self.student.base_weights)
            common = {
                id(p): p
                for name, p in self.student.named_parameters()
                if name in base
            }
            self.teacher = copy.deepcopy(self.student, common)
            self.teacher.requires_grad_(False)
            self.teacher.eval()
            self.teacher.compile_parts(**self._compiled)

    def drop_adapter(self) -> None:
        """Be a model without adapter, for weights that it is merged into.

        One that cannot be merged stays.
        """
        adapter = self.student.adapter
        if adapter is not None and adapter.mergeable:
            self.teacher = None  # which has its base in common
            self.student.drop_adapter()
            self.keep_predictors(self.predictors)

    @property
    def predict_on(self) -> str:
        """Which model predicts: ``'teacher'`` or ``'student'``.

        Raises:
            UserError: If it is set to one that there is not.
        """
        return self._predict_on

    @predict_on.setter
    def predict_on(self, value: str) -> None:
        check_choice('predict_on', value, PREDICTORS)
        if value not in self.predictors:
            raise UserError(
                f'predict_on asks for the {value}, but the model has none: '
                f'it holds the {self.predictors[0]} alone; ask for that one, '
                'or leave predict_on out.'
            )
        self._predict_on = value

    @contextmanager
    def using(self, predict_on: str) -> Iterator['MeanTeacher']:
        """Let the student or the teacher predict inside of a ``with``."""
        before = self.predict_on
        self.predict_on = predict_on
        try:
            yield self
        finally:
            self.predict_on = before

    @property
    def active(self) -> FoundationX:
        """The model that predicts."""
        if self.teacher is None or self.predict_on == 'student':
            return self.student
        return self.teacher

    @property
    def models(self) -> tuple[FoundationX, ...]:
        """The student and, if there is one, the teacher."""
        if self.teacher is None:
            return (self.student,)
        return self.student, self.teacher

    def _collect(self) -> tuple[list[Tensor], ...]:
        """Parameters and buffers of teacher and student, in equal order."""
        if self.teacher is None:
            raise RuntimeError('the model has no teacher')
        if self._pairs is None:
            lists = []
            for kind in ('named_parameters', 'named_buffers'):
                theirs = dict(getattr(self.teacher, kind)())
                ours = dict(getattr(self.student, kind)())
                if theirs.keys() != ours.keys():
                    raise RuntimeError('student and teacher differ in names')
                apart = [n for n in theirs if theirs[n] is not ours[n]]
                lists += [[x[n] for n in apart] for x in (theirs, ours)]
            self._pairs = tuple(lists)
        return self._pairs

    @torch.no_grad()
    def update_teacher(self, decay: float) -> None:
        """Move the teacher: ``decay * teacher + (1 - decay) * student``.

        The whole model moves, whatever the task, and buffers are copied, but
        for values that are not finite: a batch of such may have left them.

        Args:
            decay (float): Weight of the OLD teacher (paper: 0.80).
        """
        theirs, ours, their_buffers, our_buffers = self._collect()
        torch._foreach_lerp_(theirs, ours, 1.0 - decay)
        for buffer, source in zip(their_buffers, our_buffers):
            if source.is_floating_point():
                source = torch.where(source.isfinite(), source, buffer)
            buffer.copy_(source)

    @torch.no_grad()
    def reset_teacher(self) -> None:
        """Make the teacher, if there is one, equal to the student."""
        if self.teacher is None:
            return
        theirs, ours, their_buffers, our_buffers = self._collect()
        for target, source in zip(theirs + their_buffers, ours + our_buffers):
            target.copy_(source)

    @torch.no_grad()
    def restore_buffers(self) -> None:
        """Replace values of the student's buffers that are not finite.

        A batch that is not finite leaves its trace in running statistics;
        the teacher has those of the last update. Without one they start
        again, and settle in a few steps.
        """
        if self.teacher is None:
            for module in self.student.modules():
                if (
                    isinstance(module, _BatchNorm)
                    and module.track_running_stats
                ):
                    cast(Tensor, module.running_mean).nan_to_num_(0, 0, 0)
                    cast(Tensor, module.running_var).nan_to_num_(1, 1, 1)
            return
        _, _, theirs, ours = self._collect()
        for buffer, source in zip(ours, theirs):
            if buffer.is_floating_point():
                buffer.copy_(torch.where(buffer.isfinite(), buffer, source))

    def init_weights(self) -> None:
        """Initialise the student and copy it to the teacher."""
        self.student.init_weights()
        self.reset_teacher()
        self._is_init = True

    def train(self, mode: bool = True) -> nn.Module:
        """Set the mode of the student; the teacher stays in eval mode."""
        super().train(mode)
        if self.teacher is not None:
            self.teacher.eval()
        return self

    def _apply(self, *args: Any, **kwargs: Any) -> nn.Module:
        # .to() replaces buffers, so the collected lists are stale
        self._pairs = None
        return super()._apply(*args, **kwargs)

    # ------------------------------------------------------------- forward

    def forward(
        self,
        inputs: Tensor,
        data_samples: list[FXDataSample] | None = None,
        mode: str = 'tensor',
        teacher_inputs: Tensor | None = None,
    ) -> Any:
        """Forward in mmengine's modes, see :meth:`FoundationX.forward`.

        ``'loss'`` is :meth:`loss`; in the other modes the model that
        :attr:`predict_on` names runs on ``inputs``, and nothing is compiled:
        the last batch of an evaluation has a size of its own.
        """
        if mode == 'loss':
            samples = cast('list[FXDataSample]', data_samples)
            return self.loss(inputs, samples, teacher_inputs)
        with self._no_compiling():
            return self.active(inputs, data_samples, mode)

    def _no_compiling(self) -> AbstractContextManager[Any]:
        """Return a context in which nothing is compiled."""
        if not any(self._compiled.values()):
            return nullcontext()
        return torch.compiler.set_stance('eager_on_recompile')

    def loss(
        self,
        inputs: Tensor,
        data_samples: list[FXDataSample],
        teacher_inputs: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Weighted task losses and ``loss_consistency``.

        Args:
            inputs (Tensor): Images (B, 3, H, W).
            data_samples (list[FXDataSample]): Samples of one task.
            teacher_inputs (Tensor, optional): The teacher's views
                (B, 3, h, w) of the images, see ``TeacherView``. Defaults to
                None: it sees what the student sees.

        Returns:
            dict[str, Tensor]: The student's losses times ``1 - w``,
            ``loss_consistency`` times ``w`` if the teacher ran, and
            :attr:`extra_losses`.
        """
        batch = None
        if data_samples[0].get('pseudo') is not None:
            batch = self._label(inputs, data_samples, teacher_inputs)
            inputs, data_samples, teacher_inputs = batch[:3]
        weight = self._weight_for(data_samples)
        extra: dict[str, Tensor] = {}
        shared = self.student.sharing_features()
        with shared if self.extra_losses else nullcontext():
            losses, features = self.student.loss_and_features(
                inputs, data_samples
            )
            for add in self.extra_losses:
                extra.update(add(inputs, data_samples))
        if batch is not None:
            losses = _times(losses, batch.weight)
            extra['pseudo_share'] = batch.share
        if weight == 0:
            if not losses:
                raise UserError(
                    f'task {data_samples[0].task} learns from the teacher '
                    'alone, but its consistency weight is 0; set '
                    'model.consistency_weight above 0.'
                )
            return losses | extra
        if self.teacher is None:
            raise RuntimeError(
                'the model has no teacher to be consistent with'
            )
        losses = self._weighted(losses, data_samples)
        if any(x.requires_grad for group in features for x in group):
            if teacher_inputs is None:
                teacher_inputs = inputs
            with torch.no_grad():
                targets = self.teacher.features(teacher_inputs, data_samples)
            loss = self.student.consistency_loss(
                features, targets, data_samples[0].task
            )
            losses['loss_consistency'] = weight * loss
        return losses | extra

    def _label(
        self,
        inputs: Tensor,
        data_samples: list[FXDataSample],
        teacher_inputs: Tensor | None,
    ) -> LabelledBatch:
        """Let the teacher label a batch without annotation."""
        if self.pseudo_labels is None or self.teacher is None:
            raise RuntimeError('nothing labels images without annotation')
        views = inputs if teacher_inputs is None else teacher_inputs
        return self.pseudo_labels(self.teacher, inputs, data_samples, views)

    @torch.no_grad()
    def val_step_with_losses(
        self, data: dict[str, Any]
    ) -> tuple[list[FXDataSample], dict[str, Tensor]]:
        """Predict as ``val_step``, and measure the losses of the same model.

        Backbone and shared part of the branch run once for both.

        Args:
            data (dict): What the data preprocessor takes, with the truth.

        Returns:
            tuple: The samples with predictions; the losses by name, times
            ``1 - w`` as in training, and ``loss``, their sum.
        """
        data = self.data_preprocessor(data, False)
        inputs, samples = data['inputs'], data['data_samples']
        with self._no_compiling(), self.active.sharing_features():
            losses = self.active.test_losses(inputs, samples)
            answers = self.active(inputs, samples, 'predict')
        if not losses:  # a kind that learns from the teacher alone
            return answers, {}
        _, logged = self.parse_losses(self._weighted(losses, samples))
        return answers, logged

    def _weighted(
        self, losses: dict[str, Tensor], data_samples: list[FXDataSample]
    ) -> dict[str, Tensor]:
        """Weigh a task's losses by ``1 - w``."""
        return _times(losses, 1 - self._weight_for(data_samples))

    def _weight_for(self, data_samples: list[FXDataSample]) -> float:
        kind = split_name(data_samples[0].task)[1]
        return for_kind(self.consistency_weight, kind)

    def extract_feat(
        self, inputs: Tensor, task: Task | None = None
    ) -> tuple[Tensor, ...]:
        """Backbone maps of the model that :attr:`predict_on` names."""
        return self.active.extract_feat(inputs, task)

    # ------------------------------------------------------------- loading

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: Any
    ) -> None:
        """Accept a checkpoint of a plain :class:`FoundationX`.

        Keys without ``student.`` in front belong to the student, and to the
        teacher too unless the checkpoint has teacher weights. What a
        checkpoint holds of a teacher alone goes to both.
        """
        student, teacher, others = (
            prefix + name + '.'
            for name in ('student', 'teacher', 'data_preprocessor')
        )
        keys = [key for key in state_dict if key.startswith(prefix)]
        if not any(key.startswith(student) for key in keys):
            plain = [
                key for key in keys if not key.startswith((teacher, others))
            ]
            for key in plain:
                name = student + key.removeprefix(prefix)
                state_dict[name] = state_dict.pop(key)
            if not plain:
                _copy_below(state_dict, teacher, student)
        if self.teacher is None:
            for key in keys:
                if key.startswith(teacher):
                    del state_dict[key]
        elif not any(key.startswith(teacher) for key in keys):
            _copy_below(state_dict, student, teacher)
        super()._load_from_state_dict(state_dict, prefix, *args)


def _times(
    losses: dict[str, Tensor], factor: float | Tensor
) -> dict[str, Tensor]:
    """Multiply the losses, and leave what else is logged."""
    return {
        key: value * factor if 'loss' in key else value
        for key, value in losses.items()
    }


def _copy_below(
    state_dict: dict[str, Tensor], source: str, target: str
) -> None:
    """Add the weights of one model as those of another one."""
    for key in list(state_dict):
        if key.startswith(source):
            state_dict[target + key.removeprefix(source)] = state_dict[key]
