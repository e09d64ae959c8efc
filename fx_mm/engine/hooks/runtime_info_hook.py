"""What the message hub keeps."""

from typing import TYPE_CHECKING, Any

from mmengine.hooks import RuntimeInfoHook

from fx_mm.registry import HOOKS

if TYPE_CHECKING:
    from fx_mm.engine.runner import MultiTaskRunner


@HOOKS.register_module()
class CyclicRuntimeInfoHook(RuntimeInfoHook):
    """Keep the message hub small.

    The stock hook appends every loss of every iteration to a buffer that
    is copied at each append and saved in each checkpoint; the pass log
    keeps means instead.
    """

    def before_train_iter(
        self,
        runner: 'MultiTaskRunner',
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
    ) -> None:
        """Update the iteration alone."""
        runner.message_hub.update_info('iter', runner.iter)

    def after_train_iter(self, *args: Any, **kwargs: Any) -> None:
        """Record nothing; see :class:`PassLogHook`."""

    def after_val_epoch(self, *args: Any, **kwargs: Any) -> None:
        """Record nothing; see :class:`PassLogHook`."""

    def after_test_epoch(self, *args: Any, **kwargs: Any) -> None:
        """Record nothing; see :class:`PassLogHook`."""
