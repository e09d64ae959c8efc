"""Weights & Biases."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from fx_mm.engine.trackers.base import Tracker, load_library
from fx_mm.registry import VISBACKENDS


@VISBACKENDS.register_module()
class WandbTracker(Tracker):
    """Write to Weights & Biases; the horizontal axis is the iteration.

    mmengine's backend counts its own calls as steps, starts a run of its own
    after a resume, and refuses a config that changed.

    Args:
        init_kwargs (dict, optional): Arguments of ``wandb.init``, such as
            ``dict(project='cxr', mode='offline')``. Defaults to None.
        **kwargs: See :class:`Tracker`.

    Examples:
        >>> visualizer = dict(
        ...     vis_backends=[
        ...         dict(type='LocalVisBackend'),
        ...         dict(
        ...             type='WandbTracker',
        ...             init_kwargs=dict(project='cxr', mode='offline'))])
    """

    name = 'wandb'

    def __init__(
        self, init_kwargs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._init_kwargs = dict(init_kwargs or {})
        self._wandb = load_library('wandb')

    def open(self, run_id: str | None, step: int) -> Any:
        """Start a run, or go on with one."""
        options = dict(dir=str(self.work_dir), **self._init_kwargs)
        if run_id:
            options |= dict(id=run_id, resume='allow')
        run = self._wandb.init(**options)
        run.define_metric('iteration')
        run.define_metric('*', step_metric='iteration')
        return run

    @property
    def run_id(self) -> str:
        """str: The run's id."""
        return self._run.id

    def keep_config(self, config: Config) -> None:
        """Keep the config as values that runs can be sorted by."""
        plain = json.loads(json.dumps(config.to_dict(), default=str))
        self._run.config.update(plain, allow_val_change=True)

    def keep_scalars(self, scalars: Mapping[str, float], step: int) -> None:
        """Log scalars."""
        self._run.log({**scalars, 'iteration': step})

    def keep_image(self, name: str, image: np.ndarray, step: int) -> None:
        """Log a picture."""
        self._run.log({name: self._wandb.Image(image), 'iteration': step})

    def keep_report(self, table: str, files: Sequence[Path]) -> None:
        """Log the table, and the files as an artifact."""
        artifact = self._wandb.Artifact(f'report-{self._run.id}', 'report')
        for file in files:
            artifact.add_file(str(file), file.name)
            if file.name == 'results.csv':
                with file.open(encoding='utf-8', newline='') as lines:
                    columns, *rows = csv.reader(lines)
                content = self._wandb.Table(columns=columns, data=rows)
                self._run.log({'report': content})
        self._run.log_artifact(artifact)

    def finish(self) -> None:
        """Close the run."""
        self._run.finish()
