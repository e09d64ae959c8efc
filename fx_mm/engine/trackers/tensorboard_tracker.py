"""TensorBoard."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
from mmengine.config import Config

from fx_mm.engine.trackers.base import Tracker
from fx_mm.registry import VISBACKENDS


@VISBACKENDS.register_module()
class TensorboardTracker(Tracker):
    """Write into ``tensorboard/`` of the work directory.

    A resumed run goes on in the folder of the one before; what that had
    logged behind the checkpoint is not shown any more.

    Args:
        **kwargs: See :class:`Tracker`.

    Examples:
        >>> visualizer = dict(
        ...     vis_backends=[
        ...         dict(type='LocalVisBackend'),
        ...         dict(type='TensorboardTracker')])
    """

    name = 'tensorboard'

    def open(self, run_id: str | None, step: int) -> Any:
        """Open the folder of the run."""
        from torch.utils.tensorboard import SummaryWriter

        self._id = run_id or time.strftime('%Y%m%d_%H%M%S')
        folder = self.work_dir / 'tensorboard' / self._id
        # A validation at the checkpoint may come again, its pass does not.
        return SummaryWriter(folder, purge_step=step + 1 if run_id else None)

    @property
    def run_id(self) -> str:
        """str: Name of the folder."""
        return self._id

    def keep_config(self, config: Config) -> None:
        """Keep the config as a text."""
        self._run.add_text('config', f'```python\n{config.pretty_text}\n```')

    def keep_scalars(self, scalars: Mapping[str, float], step: int) -> None:
        """Write scalars."""
        for name, value in scalars.items():
            self._run.add_scalar(name, value, step)
        self._run.flush()

    def keep_image(self, name: str, image: np.ndarray, step: int) -> None:
        """Write a picture."""
        self._run.add_image(name, image, step, dataformats='HWC')

    def keep_report(self, table: str, files: Sequence[Path]) -> None:
        """Write the table as a text, and pictures; it has no files."""
        self._run.add_text('report', table)
        for file in files:
            if file.suffix == '.png':
                picture = mmcv.imread(str(file), channel_order='rgb')
                self.keep_image(f'report/{file.stem}', picture, 0)

    def finish(self) -> None:
        """Close the file."""
        self._run.close()
