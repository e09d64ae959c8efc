"""The processes of a scaling study: pretrain, then fine-tune or probe."""

import copy
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config

from fx_mm.analysis.scaling.study import FINE_TUNE, NOTHING, Study, Target
from fx_mm.analysis.sweep import Run, write_run_config
from fx_mm.config import load_config
from fx_mm.tasks import ClassificationKind, TaskTable, split_name
from fx_mm.utils.checkpoint import find_checkpoint
from fx_mm.utils.errors import UserError


class Cell(NamedTuple):
    """A model that is tested downstream.

    Attributes:
        method (str): Name of the pretraining, or ``nothing``.
        size (str): Name of the model's size.
        data (str): ``share 0.05``, ``phantom_a alone``, ``together``; empty
            of ``nothing``.
        seed (int): Of everything.
    """

    method: str
    size: str
    data: str
    seed: int


@dataclass
class StartedRun(Run):
    """A run that starts from the weights of another one.

    Args:
        training (Run, optional): It is finished when this one starts.
            Defaults to None: it starts from nothing.
    """

    training: Run | None = None

    @property
    def ready(self) -> bool:
        """bool: Whether the other one is finished."""
        return self.training is None or self.training.finished

    def weights(self) -> str | None:
        """Return the last checkpoint of the other run.

        Raises:
            UserError: If there is none.
        """
        if self.training is None:
            return None
        found = find_checkpoint(self.training.folder)
        if found is None:
            raise UserError(f'{self.training.folder} has no checkpoint.')
        return found


@dataclass
class FineTuneRun(StartedRun):
    """A training of a target."""

    def command(self, train: str | Path) -> list[str]:
        """Return the command line; ``train`` is the path of the tool."""
        words = [*super().command(train), '--cfg-options']
        return [*words, f'load_from={self.weights()}']


@dataclass
class EmbedRun(StartedRun):
    """Vectors of the images of a target.

    Args:
        initial (Path): Weights where there is no training.
    """

    initial: Path = Path()

    @property
    def results(self) -> Path:
        """Path: A file that exists once the run is finished."""
        return self.folder / 'embeddings.npz'

    def headlines(self) -> dict[str, float]:
        """Return none: vectors have no metrics."""
        return {}

    def command(self, train: str | Path) -> list[str]:
        """Return the command line; ``train`` is the path of the tool."""
        weights = self.weights() or str(self.initial)
        words = [sys.executable, str(train), str(self.config), weights]
        return [*words, str(self.results)]


@dataclass
class ProbeRun(StartedRun):
    """A linear probe of these vectors."""

    @property
    def results(self) -> Path:
        """Path: A file that exists once the run is finished."""
        return self.folder / 'linear_probe.json'

    def headlines(self) -> dict[str, float]:
        """Return none: the report has them with their intervals."""
        return {}

    def command(self, train: str | Path) -> list[str]:
        """Return the command line; ``train`` is the path of the tool."""
        vectors = self.folder / 'embeddings.npz'
        words = [sys.executable, str(train), str(vectors)]
        return [*words, '--out', str(self.folder), '--resamples', '100']


@dataclass(frozen=True)
class Plan:
    """All runs of a study.

    Attributes:
        pretraining (dict[Cell, Run]): Of every cell but those of
            ``nothing``.
        embedding (dict[tuple[Cell, str], EmbedRun]): Of every linear probe.
        tests (dict[tuple[Cell, str], StartedRun]): Of every cell and target.
        configs (dict[tuple[str, str, str], Config]): Of the pretrainings, by
            (method, size, data).
        targets (dict[tuple[str, str], Config]): Of the targets, by (target,
            size).
    """

    pretraining: dict[Cell, Run]
    embedding: dict[tuple[Cell, str], EmbedRun]
    tests: dict[tuple[Cell, str], StartedRun]
    configs: dict[tuple[str, str, str], Config]
    targets: dict[tuple[str, str], Config]

    def initial_weights(self) -> dict[tuple[Path, int], Config]:
        """Return what is embedded untrained: (file, seed) to config."""
        return {
            (run.initial, cell.seed): self.targets[name, cell.size]
            for (cell, name), run in self.embedding.items()
            if run.training is None
        }


def share_name(share: float) -> str:
    """Return the ``data`` of a cell of a share."""
    return f'share {share:g}'


def plan_runs(
    study: Study, work_dir: Path, data_root: str | None = None
) -> Plan:
    """Write the configs of all runs into their folders.

    Args:
        study (Study): The study.
        work_dir (Path): Folder of all runs.
        data_root (str, optional): Folder that takes the place of ``data/``.
            Defaults to None.

    Raises:
        UserError: If a config does not fit, or a folder holds runs of
            another one.
    """
    planner = _Planner(study, work_dir, data_root)
    sizes, extra = list(study.sizes), study.diversity
    targets = {
        (name, size): planner.target(name, target, size)
        for name, target in study.downstream.items()
        for size in sizes
    }
    configs: dict[tuple[str, str, str], Config] = {}
    for method in study.pretraining:
        for size in sizes:
            for share in study.shares:
                key = (method, size, share_name(share))
                configs[key] = planner.share(method, size, share)
        if method not in extra.get('pretraining', ()):
            continue
        for name, datasets in mixtures(study).items():
            key = (method, extra['size'], name)
            configs[key] = planner.mixture(method, extra['size'], datasets)
    plan = Plan({}, {}, {}, configs, targets)
    nothing = [(NOTHING, size, '') for size in sizes]
    # seed by seed, so that whole curves come early
    for seed in study.seeds:
        for key in [*nothing, *configs]:
            planner.add(plan, Cell(*key, seed))
    return plan


def mixtures(study: Study) -> dict[str, list[str]]:
    """Return the data of each cell of the diversity, and their datasets."""
    if not study.diversity:
        return {}
    datasets = study.diversity['datasets']
    return {f'{name} alone': [name] for name in datasets} | dict(
        together=datasets
    )


class _Planner:
    """Makes runs and writes their configs.

    Args:
        study (Study): The study.
        work_dir (Path): Folder of all runs.
        data_root (str, optional): As of :func:`plan_runs`.
    """

    def __init__(
        self, study: Study, work_dir: Path, data_root: str | None
    ) -> None:
        self.study = study
        self.work_dir = work_dir
        self.data_root = data_root
        self._loaded: dict[tuple[Path, str], Config] = {}

    def load(self, file: Path, size: str) -> Config:
        """Read a config with the options of the study and of a size."""
        key = (file, size)
        if key not in self._loaded:
            options = copy.deepcopy(
                self.study.options | self.study.sizes[size]
            )
            found = load_config(str(file), options, self.data_root)
            self._loaded[key] = found
        return copy.deepcopy(self._loaded[key])

    def target(self, name: str, target: Target, size: str) -> Config:
        """Return the config of a target.

        Raises:
            UserError: If it has not one task, or a probe's has no labels.
        """
        cfg = self.load(target.config, size)
        cfg.report = 'test'
        cfg.save_predictions = True
        tasks = list(TaskTable.from_cfg(cfg))
        if len(tasks) != 1:
            raise UserError(
                f'{target.config} has {len(tasks)} tasks; a target of a '
                f'scaling study, here "{name}", has one.'
            )
        if target.how != FINE_TUNE and tasks[0].kind is not ClassificationKind:
            raise UserError(
                f'{target.config}: {tasks[0].name} has no labels; a linear '
                f'probe needs them. Write how="{FINE_TUNE}".'
            )
        if target.images is not None:
            _draw(cfg, [tasks[0].name], n=target.images)
        return cfg

    def share(self, method: str, size: str, share: float) -> Config:
        """Return the config of a pretraining on a share of the patients."""
        cfg = self.load(self.study.pretraining[method], size)
        _draw(cfg, TaskTable.from_cfg(cfg).names, share=share)
        return cfg

    def mixture(
        self, method: str, size: str, datasets: Sequence[str]
    ) -> Config:
        """Return the config of a pretraining on some datasets.

        Raises:
            UserError: If it does not have one of them.
        """
        file = self.study.pretraining[method]
        cfg = self.load(file, size)
        names = TaskTable.from_cfg(cfg).names
        known = {split_name(name)[0] for name in names}
        for dataset in datasets:
            if dataset not in known:
                raise UserError(
                    f'diversity names "{dataset}", of which {file} has no '
                    f'task; it has {", ".join(sorted(known))}.'
                )
        cfg.tasks = [n for n in names if split_name(n)[0] in datasets]
        for loop in filter(None, (cfg.get('val_cfg'), cfg.get('test_cfg'))):
            asked = loop.get('tasks') or ()
            loop.tasks = [n for n in asked if n in cfg.tasks] or None
        images = self.study.diversity['images'] // len(datasets)
        _draw(cfg, cfg.tasks, n=images)
        return cfg

    def add(self, plan: Plan, cell: Cell) -> None:
        """Add the runs of a cell."""
        data = cell.data.replace(' ', '-') or 'untrained'
        own = self.work_dir / cell.method / cell.size / data
        own /= f'seed_{cell.seed}'
        training = None
        if cell.method != NOTHING:
            cfg = plan.configs[cell.method, cell.size, cell.data]
            name = f'{cell.method}_{cell.size}_{data}_seed-{cell.seed}.py'
            source = self.study.pretraining[cell.method]
            file = _write(cfg, cell.seed, own.with_name(name), own, source)
            training = Run(file, cell.seed, own, cell.method)
            plan.pretraining[cell] = training
        for name, target in self.study.downstream.items():
            cfg, folder = plan.targets[name, cell.size], own / name
            file = own / f'{name}_{cell.size}.py'
            words: dict[str, Any] = dict(
                config=_write(cfg, cell.seed, file, folder, target.config),
                seed=cell.seed,
                folder=folder,
                variant=cell.method,
                training=training,
            )
            if target.how == FINE_TUNE:
                plan.tests[cell, name] = FineTuneRun(**words)
                continue
            initial = folder / 'initial_weights.pth'
            vectors = EmbedRun(**words, initial=initial)
            plan.embedding[cell, name] = vectors
            plan.tests[cell, name] = ProbeRun(**words | dict(training=vectors))


def _draw(cfg: Config, tasks: Sequence[str], **draw: Any) -> None:
    """Let tasks train on a draw of their images."""
    for name in tasks:
        dataset, kind = split_name(name)
        cfg.datasets[dataset].tasks[kind].few_shot = dict(draw)


def _write(
    cfg: Config, seed: int, file: Path, folder: Path, source: Path
) -> Path:
    """Write a config with a seed of order, weights and draws of images."""
    cfg = copy.deepcopy(cfg)
    cfg.merge_from_dict({'randomness.seed': seed})
    for name in TaskTable.from_cfg(cfg).names:
        dataset, kind = split_name(name)
        entry = cfg.datasets[dataset].tasks[kind]
        if entry.get('few_shot'):
            entry.few_shot.seed = seed
    write_run_config(cfg, file, folder, source)
    return file
