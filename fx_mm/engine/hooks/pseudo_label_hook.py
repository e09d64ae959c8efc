"""Thresholds and weights of pseudo-labels."""

import math
from typing import TYPE_CHECKING, Any

import torch
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook

from fx_mm.models.mean_teacher import bare_model
from fx_mm.models.pseudo_labels import PseudoLabels
from fx_mm.registry import HOOKS
from fx_mm.tasks import ByKind, Task, check_by_kind, for_kind
from fx_mm.utils.checks import check_number
from fx_mm.utils.errors import UserError

if TYPE_CHECKING:
    from fx_mm.engine.runner import MultiTaskRunner

THRESHOLDS = 'pseudo_label_thresholds'
"""Key in checkpoints that training resumes from."""


@HOOKS.register_module()
class PseudoLabelHook(Hook):
    """Train on images without annotation, by what the teacher finds.

    For the tasks with ``pseudo`` in their entry. Boxes and masks must reach
    thresholds that are chosen on the validation images of the task that
    gives the head, for the teacher: before the first pass and after each
    validation, those of the best F1 and Dice. A class with a lower one than
    ``min_score`` gives no labels. The choice is in the checkpoints, and the
    weight is a function of the pass alone, so a resumed run goes on to the
    bit.

    Args:
        weight (float | dict): Of the losses, beside those of annotated
            images; or task kind to the weight. Defaults to 1.
        ramp_passes (int, optional): Passes until the full weight, along
            ``exp(-5 (1 - t)^2)`` (Laine and Aila 2017), all passes of the
            run counted. 0: full from the start. Defaults to None: three
            tenths of the run.
        min_score (float): F1 of boxes or Dice of masks on validation images
            that a class needs. Defaults to 0.5.

    Raises:
        UserError: If a number makes no sense, there is no task with
            ``pseudo`` or no teacher, or the validation lacks a split.

    Examples:
        >>> nih14 = dict(
        ...     data_root='data/nih14/', img_dir='images/',
        ...     tasks=dict(seg=dict(
        ...         pseudo='jsrt/seg', splits=dict(train='images/'))))
        >>> custom_hooks = [
        ...     dict(type='MeanTeacherHook'), dict(type='PseudoLabelHook')]
    """

    def __init__(
        self,
        weight: ByKind = 1.0,
        ramp_passes: int | None = None,
        min_score: float = 0.5,
    ) -> None:
        check_by_kind('PseudoLabelHook.weight', weight, high=math.inf)
        if ramp_passes is not None:
            check_number(
                'PseudoLabelHook.ramp_passes', ramp_passes, 0, whole=True
            )
        check_number('PseudoLabelHook.min_score', min_score, 0, 1)
        self.min_score = min_score
        self.weight = weight
        self.ramp_passes = ramp_passes
        self.labels = PseudoLabels()
        self._loader: Any = None
        self._training = False

    def ramp_at(self, index: int, passes: int) -> float:
        """Return the share of the full weight in pass ``index``."""
        length = self.ramp_passes
        if length is None:
            length = math.ceil(0.3 * passes)
        if index >= length:
            return 1.0
        return math.exp(-5 * (1 - index / length) ** 2)

    def before_train(self, runner: 'MultiTaskRunner') -> None:
        """Choose thresholds that no checkpoint brought."""
        self._training = True
        self._check(runner)
        thresholded = self._thresholded(runner)
        if not self.labels.thresholds.keys() >= set(thresholded):
            self._choose(runner)

    def before_train_epoch(self, runner: 'MultiTaskRunner') -> None:
        """Set the weights of the pass."""
        ramp = self.ramp_at(runner.epoch, runner.max_epochs)
        kinds = {t.kind.name for t in runner.tasks.in_cycle() if t.pseudo}
        self.labels.weights = {
            kind: ramp * for_kind(self.weight, kind) for kind in kinds
        }
        bare_model(runner.model).pseudo_labels = self.labels

    def after_val_epoch(
        self, runner: 'MultiTaskRunner', metrics: dict[str, float]
    ) -> None:
        """Choose thresholds again; in a training alone."""
        if self._training and not runner.train_loop.ended:
            self._choose(runner)

    def before_save_checkpoint(
        self, runner: 'MultiTaskRunner', checkpoint: dict[str, Any]
    ) -> None:
        """Add the thresholds to what training resumes from."""
        if 'optimizer' in checkpoint:
            checkpoint[THRESHOLDS] = dict(self.labels.thresholds)

    def after_load_checkpoint(
        self, runner: 'MultiTaskRunner', checkpoint: dict[str, Any]
    ) -> None:
        """Go on with the thresholds of the checkpoint."""
        if runner.resumed:
            self.labels.thresholds = checkpoint.get(THRESHOLDS, {})

    def _check(self, runner: 'MultiTaskRunner') -> None:
        """Refuse what cannot be labelled.

        Raises:
            UserError: See the class.
        """
        model = bare_model(runner.model)
        labelled = [t for t in runner.tasks.in_cycle() if t.pseudo]
        if not labelled:
            raise UserError(
                'custom_hooks has a PseudoLabelHook, but no active task has '
                '"pseudo" in its entry; add such a task, or leave the hook '
                'out.'
            )
        names = [task.name for task in labelled]
        check_by_kind(
            'PseudoLabelHook.weight', self.weight, names, high=math.inf
        )
        for task in labelled:
            if not model.student.branch(task.kind).can_label:
                raise UserError(
                    f'task {task.name}: {task.kind.annotation} cannot be '
                    'pseudo-labels; remove it from "tasks".'
                )

    @staticmethod
    def _thresholded(runner: 'MultiTaskRunner') -> list[str]:
        """Return the sources whose answers need thresholds."""
        student = bare_model(runner.model).student
        names = [
            str(task.pseudo)
            for task in runner.tasks.in_cycle()
            if task.pseudo and student.branch(task.kind).thresholded
        ]
        return list(dict.fromkeys(names))

    def _choose(self, runner: 'MultiTaskRunner') -> None:
        """Choose the thresholds of all sources on their validation images."""
        names = self._thresholded(runner)
        if not names:
            return
        model = bare_model(runner.model)
        teacher = model.teacher
        if teacher is None:
            return
        tallies: dict[str, list[Any]] = {name: [] for name in names}
        with torch.no_grad():
            for batch in self._open(runner, names):
                data = model.data_preprocessor(batch, False)
                samples = data['data_samples']
                tally = teacher.take_tally(data['inputs'], samples)
                tallies[samples[0].task].append(tally)
        chosen = {}
        for name in names:
            task = runner.tasks[name]
            together = [t for r in all_gather_object(tallies[name]) for t in r]
            branch = teacher.branch(task.kind)
            found = branch.choose_thresholds(together, task)
            chosen[name] = [
                limit if score >= self.min_score else math.nan
                for limit, score in found
            ]
            self._log(runner, task, found)
        self.labels.thresholds = chosen

    def _open(self, runner: 'MultiTaskRunner', names: list[str]) -> Any:
        """Return a loader over the validation images of the sources.

        Raises:
            UserError: If there are none.
        """
        if self._loader is None:
            cfg = runner.cfg.get('val_dataloader')
            if cfg is None:
                raise UserError(
                    'Pseudo-labels of boxes and masks need thresholds from '
                    'validation images, but the config has no validation '
                    '(val_cfg).'
                )
            sizes = runner.tasks.only(names).batch_sizes
            cfg = dict(
                cfg,
                dataset=dict(cfg['dataset'], tasks=names),
                batch_sampler=dict(cfg['batch_sampler'], batch_sizes=sizes),
            )
            cfg.pop('persistent_workers', None)
            self._loader = runner.build_dataloader(cfg)
        return self._loader

    def _log(
        self,
        runner: 'MultiTaskRunner',
        task: Task,
        found: list[tuple[float, float]],
    ) -> None:
        """Say from which scores on classes are labelled, and which are not."""
        used, unused = [], []
        for name, (limit, score) in zip(task.classes, found):
            if score >= self.min_score and not math.isnan(limit):
                used.append(f'{name} from {limit:.2f} ({score:.2f})')
            else:
                unused.append(f'{name} ({score:.2f})')
        text = f'Pseudo-labels by {task.name}: {", ".join(used) or "none"}'
        if unused:
            text += f'; too poor on the validation images: {", ".join(unused)}'
        runner.logger.info(text)
