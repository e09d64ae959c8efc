"""The score of every task after each pass."""

from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from fx_mm.engine.pictures import record_picture
from fx_mm.evaluation.forgetting import ScoreMatrix
from fx_mm.registry import HOOKS
from fx_mm.tasks import MIXED
from fx_mm.utils.errors import UserError
from fx_mm.visualization.forgetting_plot import plot_forgetting

if TYPE_CHECKING:
    from fx_mm.engine.runner import MultiTaskRunner


@HOOKS.register_module()
class ForgettingHook(Hook):
    """Keep what each validation finds, by the pass that it follows.

    Writes ``forgetting.json`` and ``forgetting.csv`` (rows: validations,
    columns: tasks) and ``forgetting.png`` into the work directory after each
    validation, the picture to the visualizer's backends too;
    ``fx_mm.evaluation.forgetting.DEFINITIONS`` says what is in
    them. It validates nothing itself: set ``train_cfg.val_unit`` to ``pass``,
    and ``train_cfg.val_interval`` to the passes between. A resumed run goes
    on with the rows of its work directory.

    Args:
        picture (bool): Whether to draw. Defaults to True.

    Raises:
        UserError: If there is no validation, or nothing to tell apart: each
            validation follows a pass of the same task, or of all at once.

    Examples:
        >>> default_hooks = dict(forgetting=dict(type='ForgettingHook'))
        >>> train_cfg = dict(val_unit='pass', val_interval=1)
    """

    # after the line and the checkpoint of the same validation
    priority = 'LOWEST'

    def __init__(self, picture: bool = True) -> None:
        self.picture = picture

    def before_train(self, runner: 'MultiTaskRunner') -> None:
        """Check the intervals, and take over the rows of a resumed run."""
        loop, val_loop = runner.train_loop, runner.val_loop
        if val_loop is None:
            raise UserError(
                'ForgettingHook needs validations, but the config has no '
                'val_cfg.'
            )
        passes = loop.schedule.passes
        if any(entry.task == MIXED for entry in passes):
            raise UserError(
                'ForgettingHook tells the passes of a task from those of '
                'others, but in a mixed cycle.order every pass holds several '
                'tasks; use cycle.order="cyclic" or "shuffled".'
            )
        several = len({entry.task for entry in passes}) > 1
        if several and loop.val_interval % len(passes) == 0:
            raise UserError(
                'ForgettingHook needs validations within the cycle; set '
                'train_cfg.val_unit="pass" and train_cfg.val_interval to the '
                'passes between two of them.'
            )
        self.matrix = ScoreMatrix(
            list(val_loop.evaluators), val_loop.predict_on
        )
        file = Path(runner.work_dir) / 'forgetting.json'
        if not runner.iter or not file.is_file():
            return
        try:
            self.matrix.read_rows(file, runner.epoch)
        except ValueError as error:
            runner.logger.warning(
                f'The rows before the resume are lost: {error}'
            )

    def after_val_epoch(
        self, runner: 'MultiTaskRunner', metrics: dict[str, float]
    ) -> None:
        """Add a row and write everything."""
        if not runner.epoch:
            return
        loop = runner.train_loop
        last = runner.epoch - 1
        entry = loop.schedule[last]
        cycle = last // loop.schedule.passes_per_cycle + 1
        self.matrix.add(
            runner.epoch, cycle, entry.task, entry.mode, metrics or {}
        )
        if not is_main_process():
            return
        self.matrix.save(runner.work_dir)
        if self.picture:
            path = Path(runner.work_dir) / 'forgetting.png'
            record_picture(
                runner, 'forgetting', plot_forgetting(self.matrix, path)
            )
