"""What all trackers do alike."""

import importlib
import json
import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.visualization import BaseVisBackend

from fx_mm.config import PlainConfig
from fx_mm.utils.credentials import hide_credentials, hide_in_text
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import write_whole

if TYPE_CHECKING:
    from fx_mm.engine.runner import MultiTaskRunner

IDS = 'trackers.json'
"""File of the work directory with each tracker's id of the training."""


class Tracker(BaseVisBackend):
    """A backend of mmengine's visualizer that goes on after a resume.

    The run is opened where a training begins, or when the first thing is to
    be kept. Its id is written into the work directory with the first scalars,
    which a training has and a test does not; a training that is resumed goes
    on under it. What fails later, such as a server that is gone, is a
    warning: the training goes on.

    Args:
        save_dir (str, optional): Set by the visualizer: ``vis_data`` in the
            log folder of the work directory.
    """

    name: str

    def __init__(self, save_dir: str | None = None) -> None:
        super().__init__(save_dir or '.')
        self._config: Config | None = None
        self._run: Any = None
        self._noted = False
        self._failed = False

    # ------------------------------------------------- what a subclass does

    @abstractmethod
    def open(self, run_id: str | None, step: int) -> Any:
        """Open a run.

        Args:
            run_id (str, optional): The run to go on with; None for a new one.
            step (int): Iteration of what is kept first.

        Returns:
            Any: What the other methods find in :attr:`experiment`.
        """

    @property
    @abstractmethod
    def run_id(self) -> str:
        """str: Id of the open run."""

    @abstractmethod
    def keep_config(self, config: Config) -> None:
        """Keep the config, which comes without credentials."""

    @abstractmethod
    def keep_scalars(self, scalars: Mapping[str, float], step: int) -> None:
        """Keep scalars of an iteration."""

    @abstractmethod
    def keep_image(self, name: str, image: np.ndarray, step: int) -> None:
        """Keep a picture, uint8 RGB (H, W, 3)."""

    @abstractmethod
    def keep_report(self, table: str, files: Sequence[Path]) -> None:
        """Keep the closing table (Markdown) and files."""

    @abstractmethod
    def finish(self) -> None:
        """Close the run."""

    # ------------------------------------------------------ what all do alike

    @property
    def work_dir(self) -> Path:
        """Path: The work directory of the run."""
        if self._config is not None and self._config.get('work_dir'):
            return Path(self._config.work_dir)
        return Path(self._save_dir)

    def _init_env(self) -> None:
        """Do nothing: a run is opened when there is something to keep."""

    def prepare(self, step: int) -> None:
        """Open the run.

        Args:
            step (int): Iterations that are over.

        Raises:
            UserError: If it cannot be opened.
        """
        self._opened(step)

    @property
    def experiment(self) -> Any:
        """Any: The library's object of the open run."""
        return self._opened(0)

    def _opened(self, step: int) -> Any:
        if self._run is None:
            resumed = self._config is not None and self._config.get('resume')
            run_id = self._ids().get(self.name) if resumed else None
            try:
                self._run = self.open(run_id, step)
            except Exception as error:  # whatever a library or server raises
                raise UserError(
                    f'The tracker {self.name} cannot open a run '
                    f'({_said(error)}); check its options, or remove it from '
                    'visualizer.vis_backends.'
                ) from error
            if self._config is not None:
                shown = hide_credentials(self._config.to_dict())
                self.keep_config(PlainConfig(shown))
        return self._run

    def _ids(self) -> dict[str, str]:
        file = self.work_dir / IDS
        return json.loads(file.read_text()) if file.is_file() else {}

    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Remember the config until the run is opened."""
        self._config = config

    def add_graph(self, *args: Any, **kwargs: Any) -> None:
        """Keep no graph: it would be one per task."""

    def add_image(
        self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any
    ) -> None:
        """Keep a picture."""
        self._try('keep_image', name, image, step, step=step)

    def add_scalar(
        self, name: str, value: Any, step: int = 0, **kwargs: Any
    ) -> None:
        """Keep a scalar."""
        self.add_scalars({name: value}, step)

    def add_scalars(
        self,
        scalar_dict: dict[str, Any],
        step: int = 0,
        file_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Keep scalars, and under which id."""
        scalars = {key: float(value) for key, value in scalar_dict.items()}
        self._try('keep_scalars', scalars, step, step=step)
        if not self._noted and self._run is not None:
            self._noted = True
            ids = self._ids() | {self.name: self.run_id}
            write_whole(self.work_dir / IDS, json.dumps(ids, indent=2))

    def add_report(
        self,
        metrics: Mapping[str, float],
        table: str,
        files: Sequence[Path],
        step: int,
    ) -> None:
        """Keep the closing report.

        Args:
            metrics (Mapping[str, float]): Of the closing evaluation, kept as
                scalars named ``report/...``.
            table (str): Markdown.
            files (Sequence[Path]): Artefacts.
            step (int): The iteration.
        """
        scalars = {f'report/{key}': float(v) for key, v in metrics.items()}
        self._try('keep_scalars', scalars, step, step=step)
        self._try('keep_report', table, files, step=step)

    def close(self) -> None:
        """Close the run, if there is one."""
        if self._run is not None:
            self._try('finish', step=0)
            self._run = None

    def _try(self, method: str, *args: Any, step: int) -> None:
        """Open the run, whose failure is an error; then do one thing."""
        self._opened(step)
        try:
            getattr(self, method)(*args)
        except Exception as error:  # whatever a library or a server raises
            if not self._failed:
                print_log(
                    f'{self.name}: {method} failed, and may fail again '
                    f'without another warning: {_said(error)}',
                    logger='current',
                    level=logging.WARNING,
                )
            self._failed = True


def _said(error: Exception) -> str:
    """Return what an error says, without the credentials of an address."""
    return hide_in_text(str(error))


def load_library(name: str) -> ModuleType:
    """Import a tracker's library.

    Raises:
        UserError: Says what to install.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f'The tracker needs {name} ({error}); install it with '
            'pip install "onedl-fx-mm[tracking]".'
        ) from error


def report_to_trackers(
    runner: 'MultiTaskRunner', metrics: Mapping[str, float]
) -> None:
    """Hand the closing report of a run to its trackers.

    Args:
        runner (MultiTaskRunner): With the report in its work directory.
        metrics (Mapping[str, float]): Of the closing evaluation.
    """
    folder = Path(runner.work_dir)
    names = ('results.json', 'results.csv', 'results.md', 'curves.png')
    files = [folder / name for name in (*names, 'predictions.png')]
    files += sorted(folder.glob('plots/*/*.png'))
    files = [file for file in files if file.is_file()]
    table = (folder / 'results.md').read_text(encoding='utf-8')
    for backend in trackers_of(runner):
        backend.add_report(metrics, table, files, runner.iter)


def trackers_of(runner: 'MultiTaskRunner') -> list[Tracker]:
    """Return the trackers of a run's visualizer."""
    cfg = runner.cfg.get('visualizer') or {}
    found = []
    for entry in cfg.get('vis_backends') or ():
        name = entry.get('name') or entry['type'].split('.')[-1]
        try:
            backend = runner.visualizer.get_backend(name)
        except KeyError:
            continue
        if isinstance(backend, Tracker):
            found.append(backend)
    return found
