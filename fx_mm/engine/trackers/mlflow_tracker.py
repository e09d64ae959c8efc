"""MLflow."""

import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from fx_mm.engine.trackers.base import Tracker, load_library
from fx_mm.registry import VISBACKENDS

BATCH = 1000
"""Metrics that a call takes."""


@VISBACKENDS.register_module()
class MLflowTracker(Tracker):
    """Write to MLflow, by default into ``mlflow.db`` of the work directory.

    mmengine's backend writes files, which MLflow 3.14 and later refuse, and
    drops all scalars of a call where one name has a character that MLflow
    does not take; here such a character becomes ``_``.

    Args:
        tracking_uri (str, optional): A database
            (``sqlite:////data/mlflow.db``) or server. Defaults to None:
            ``MLFLOW_TRACKING_URI``, or the work directory.
        experiment (str): Name of the experiment. Defaults to ``fx_mm``.
        **kwargs: See :class:`Tracker`.

    Examples:
        >>> visualizer = dict(
        ...     vis_backends=[
        ...         dict(type='LocalVisBackend'),
        ...         dict(type='MLflowTracker')])
    """

    name = 'mlflow'

    def __init__(
        self,
        tracking_uri: str | None = None,
        experiment: str = 'fx_mm',
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._uri = tracking_uri
        self._experiment = experiment
        self._mlflow = load_library('mlflow')

    def open(self, run_id: str | None, step: int) -> Any:
        """Open a run; the client knows no other."""
        uri = self._uri or os.environ.get('MLFLOW_TRACKING_URI')
        location = None
        if not uri:
            folder = self.work_dir.absolute()
            folder.mkdir(parents=True, exist_ok=True)
            uri = f'sqlite:///{folder}/mlflow.db'
            location = (folder / 'mlartifacts').as_uri()
        client = self._mlflow.MlflowClient(uri)
        if run_id:
            client.update_run(run_id, status='RUNNING')
            self._id = run_id
            return client
        experiment = client.get_experiment_by_name(self._experiment)
        number = (
            client.create_experiment(self._experiment, location)
            if experiment is None
            else experiment.experiment_id
        )
        run = client.create_run(number, run_name=self.work_dir.name)
        self._id = run.info.run_id
        return client

    @property
    def run_id(self) -> str:
        """str: The run's id."""
        return self._id

    def keep_config(self, config: Config) -> None:
        """Keep the config as a file."""
        self._run.log_text(self._id, config.pretty_text, 'config.py')

    def keep_scalars(self, scalars: Mapping[str, float], step: int) -> None:
        """Log scalars."""
        now = int(time.time() * 1000)
        metrics = [
            self._mlflow.entities.Metric(_allowed(name), value, now, step)
            for name, value in scalars.items()
        ]
        for start in range(0, len(metrics), BATCH):
            self._run.log_batch(self._id, metrics[start : start + BATCH])

    def keep_image(self, name: str, image: np.ndarray, step: int) -> None:
        """Log a picture."""
        file = f'images/{_allowed(name)}_{step}.png'
        self._run.log_image(self._id, image, file)

    def keep_report(self, table: str, files: Sequence[Path]) -> None:
        """Log the files; the table is one of them."""
        for file in files:
            self._run.log_artifact(self._id, str(file), 'report')

    def finish(self) -> None:
        """End the run."""
        self._run.set_terminated(self._id)


def _allowed(name: str) -> str:
    """Return a name with what MLflow takes: letters, digits, ``_-.: /``."""
    return re.sub(r'[^\w\-.: /]', '_', name)
