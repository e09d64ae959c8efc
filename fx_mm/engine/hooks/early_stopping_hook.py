"""Ending a training that no longer gets better."""

import math
from typing import TYPE_CHECKING, Any

from mmengine.hooks import EarlyStoppingHook

from fx_mm.engine.hooks.checkpoint_hook import (
    CyclicCheckpointHook,
    check_validated,
    metric_of,
)
from fx_mm.registry import HOOKS
from fx_mm.utils.checks import check_number
from fx_mm.utils.errors import UserError

if TYPE_CHECKING:
    from fx_mm.engine.runner import MultiTaskRunner

WHERE = 'early_stopping.monitor'


@HOOKS.register_module()
class CyclicEarlyStoppingHook(EarlyStoppingHook):
    """Stop when a result of the validation gets no better.

    mmengine's hook, which a resume makes forget how long it has waited, and
    for which an undefined result ends the training. A training that it stops
    closes with its report, of the last weights; ``save_best`` of the
    checkpoint hook keeps the best.

    Args:
        monitor (str): A validation result: ``phantom_b/loc/mAP_40``,
            ``mean/cls/AUC``, ``mean``, or, with ``val_cfg.losses=True``,
            ``phantom_b/loc/val/loss``. Defaults to ``mean``.
        patience (int): Validations without a better result after which the
            training ends. Defaults to 5.
        min_delta (float): By how much a result must be better. Defaults to
            0.
        rule (str, optional): ``greater`` or ``less`` is better. Defaults to
            None: as the metric has it.
        stopping_threshold (float, optional): End once the result is better
            than this. Defaults to None.

    Raises:
        UserError: If an argument makes no sense, or the validation does not
            give that result.

    Examples:
        >>> default_hooks = dict(
        ...     early_stopping=dict(
        ...         type='CyclicEarlyStoppingHook', monitor='mean'))
    """

    _default_greater_keys = CyclicCheckpointHook._default_greater_keys
    _default_less_keys = CyclicCheckpointHook._default_less_keys

    def __init__(
        self,
        monitor: str = 'mean',
        patience: int = 5,
        min_delta: float = 0.0,
        rule: str | None = None,
        stopping_threshold: float | None = None,
    ) -> None:
        check_number('early_stopping.patience', patience, 1, whole=True)
        check_number('early_stopping.min_delta', min_delta, 0)
        try:
            # by the metric alone: a dataset may be called "top"
            rule = rule or self._init_rule(metric_of(monitor))
            super().__init__(
                monitor,
                rule,
                min_delta,
                check_finite=False,
                patience=patience,
                stopping_threshold=stopping_threshold,
            )
        except ValueError as error:
            raise UserError(f'early_stopping.rule: {error}') from error

        self._training = False

    def before_run(self, runner: 'MultiTaskRunner') -> None:
        """Do nothing: mmengine's builds the training of a test."""

    def before_train(self, runner: 'MultiTaskRunner') -> None:
        """Go on where a resumed run was.

        Raises:
            UserError: If the validation does not give the result.
        """
        self._training = True
        check_validated(WHERE, self.monitor, runner.val_loop)
        state = runner.message_hub.runtime_info.get(self._key)
        if state is not None:
            self.best_score, self.wait_count = state
        if self.wait_count >= self.patience:
            runner.train_loop.stop_training = True
            runner.logger.info(
                f'{self.monitor} had stopped getting better; to train on, '
                'raise early_stopping.patience.'
            )

    def after_val_epoch(
        self, runner: 'MultiTaskRunner', metrics: dict[str, Any]
    ) -> None:
        """Stop the training if it is time."""
        if not self._training:
            return
        if self.monitor not in metrics:
            raise UserError(
                f'{WHERE} is "{self.monitor}", which the validation does not '
                f'give; it gives: {", ".join(metrics)}.'
            )
        if math.isfinite(metrics[self.monitor]):
            super().after_val_epoch(runner, metrics)
        else:
            runner.logger.warning(
                f'{WHERE}: {self.monitor} is undefined in this validation, '
                'which is neither better nor counted.'
            )
        state = (self.best_score, self.wait_count)
        runner.message_hub.update_info(self._key, state)

    @property
    def _key(self) -> str:
        return f'early_stopping_{self.monitor}'
