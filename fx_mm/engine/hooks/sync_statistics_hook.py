"""One set of running statistics for all processes."""

from typing import TYPE_CHECKING

from mmengine.dist import all_reduce_params
from mmengine.hooks import Hook
from torch import nn

from fx_mm.registry import HOOKS

if TYPE_CHECKING:
    from fx_mm.engine.runner import MultiTaskRunner


@HOOKS.register_module()
class SyncStatisticsHook(Hook):
    """Average the running statistics of BatchNorm over the processes.

    At the end of a pass, before the teacher copies them, and before a stop
    signal's checkpoint. mmengine's SyncBuffersHook averages every buffer,
    which fails on those of integers, such as Swin's position index.
    """

    # Before MeanTeacherHook (NORMAL).
    priority = 'HIGH'

    def after_train_epoch(self, runner: 'MultiTaskRunner') -> None:
        """Average the statistics of student and teacher."""
        all_reduce_params(
            [
                statistic
                for module in runner.model.modules()
                if isinstance(module, nn.modules.batchnorm._NormBase)
                and module.running_mean is not None
                for statistic in (module.running_mean, module.running_var)
            ],
            op='mean',
        )

    def after_stop_signal(self, runner: 'MultiTaskRunner') -> None:
        """Average them before the checkpoint."""
        self.after_train_epoch(runner)
