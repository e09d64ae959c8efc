"""Lock shared parts for a pass, then release them."""

from mmengine.hooks import Hook

from fx_mm.registry import HOOKS
from fx_mm.utils.dist import unwrap


@HOOKS.register_module()
class LockReleaseHook(Hook):
    """Apply the freeze plan of each pass (Foundation X, Lock-Release).

    At the start of a pass the model's ``freeze_plan`` names the parts to
    lock; they get no gradient, no weight decay and are in eval mode, and keep
    their optimizer state. Which passes lock is the ``cycle`` of the config;
    in a mixed pass the state holds for all its tasks.
    The state depends on the pass alone, so a resumed run needs no catching
    up: it is applied when the pass it stopped in begins anew.
    """

    priority = 'HIGH'

    def before_train_epoch(self, runner) -> None:
        """Lock what the pass locks and release all else."""
        entry = runner.train_loop.current_pass
        model = unwrap(runner.model).student
        locked = model.freeze_plan(entry.task, entry.mode)
        model.lock(locked)
        runner.logger.debug(
            f'{entry.task} {entry.mode}: locked {", ".join(locked) or "none"}'
        )

    def after_train(self, runner) -> None:
        """Leave the model with nothing locked."""
        unwrap(runner.model).student.lock(())
