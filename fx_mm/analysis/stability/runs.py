"""The processes of a stability study: trainings, tests, zero-shot tests."""

import copy
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from fx_mm.analysis.stability.study import (
    BASE,
    BEST,
    LAST,
    Case,
    Study,
    names_of_tasks,
)
from fx_mm.analysis.sweep import Run, load_compared_config, write_run_config
from fx_mm.evaluation.report.results_file import read_results
from fx_mm.tasks import split_name
from fx_mm.utils.checkpoint import find_checkpoint
from fx_mm.utils.checks import as_list
from fx_mm.utils.errors import UserError


@dataclass
class TestRun(Run):
    """A test of the weights of a training.

    Args:
        training (Run): It is finished when this one starts.
        task (str): The task that is tested.
        checkpoint (str): ``last`` or ``best``.
        predict_on (str, optional): ``teacher`` or ``student``. Defaults to
            None, as the config says.
    """

    training: Run | None = None
    task: str = ''
    checkpoint: str = LAST
    predict_on: str | None = None

    def weights(self) -> str:
        """Return the checkpoint.

        Raises:
            UserError: If there is none.
        """
        if self.training is None:
            raise ValueError('a test needs a training')
        folder = self.training.folder
        if self.checkpoint == BEST:
            found = sorted(folder.glob('best_*.pth'))
            if len(found) != 1:
                raise UserError(
                    f'{folder} has {len(found)} best checkpoints; the '
                    "study's options need a val_cfg and one result in "
                    'default_hooks.checkpoint.save_best.'
                )
            return str(found[0])
        last = find_checkpoint(folder)
        if last is None:
            raise UserError(f'{folder} has no checkpoint.')
        return last

    def command(self, train: str | Path) -> list[str]:
        """Return the command line; ``train`` is the path of a tool."""
        words = [sys.executable, str(train), str(self.config), self.weights()]
        words += ['--work-dir', str(self.folder), '--tasks', self.task]
        words += ['--save-predictions', '--thresholds-from', 'val']
        if self.predict_on:
            words += ['--predict-on', self.predict_on]
        return words

    def predictions(self, split: str) -> Path:
        """Return the file of predictions of the model that predicts."""
        model = read_results(self.results)['predict_on']
        name = f'{self.task.replace("/", "_")}.npz'
        return self.folder / 'predictions' / split / model / name


@dataclass
class UnseenRun(TestRun):
    """A zero-shot test on a dataset that the training did not have."""

    target: Path | None = None

    @property
    def results(self) -> Path:
        """Path: A file that exists once the run is finished."""
        return self.folder / 'zero_shot.json'

    def command(self, train: str | Path) -> list[str]:
        """Return the command line; ``train`` is the path of a tool."""
        words = [sys.executable, str(train), str(self.config), self.weights()]
        words += [str(self.target), '--target-task', self.task]
        return [*words, '--out', str(self.folder), '--resamples', '100']

    def headlines(self) -> dict[str, float]:
        """Return the mean AUC over the classes that a head knows."""
        return {f'{self.task}/AUC': self.auc()}

    def auc(self) -> float:
        """Return that mean; of several heads, their mean is taken."""
        content = json.loads(self.results.read_text(encoding='utf-8'))
        values = []
        for each in content['classes'].values():
            heads = each['heads']
            chosen = heads.get(content['mean_is']) or next(
                iter(heads.values())
            )
            values.append(
                np.nan if chosen['value'] is None else chosen['value']
            )
        return float(np.nanmean(values))


@dataclass(frozen=True)
class Plan:
    """All runs of a study, by (case, arm, seed).

    Attributes:
        trainings (dict): Those of cases that train.
        tests (dict): Of every case.
        unseen (dict): By (dataset, arm, seed).
        configs (dict[str, Config]): Arm to the config of the base.
    """

    trainings: dict[tuple[str, str, int], Run]
    tests: dict[tuple[str, str, int], TestRun]
    unseen: dict[tuple[str, str, int], UnseenRun]
    configs: dict[str, Config]


def plan_runs(
    study: Study, work_dir: Path, data_root: str | None = None
) -> Plan:
    """Write the configs of all runs into their folders.

    Args:
        study (Study): The study.
        work_dir (Path): Folder of all runs.
        data_root (str, optional): Folder that takes the place of ``data/``.
            Defaults to None.

    Returns:
        Plan: Runs that share weights are one object.

    Raises:
        UserError: If a config does not fit, or a folder holds runs of
            another one.
    """
    planner = _Planner(study, work_dir, data_root)
    configs = {arm: planner.load(arm) for arm in study.arms}
    for arm, cfg in configs.items():
        if study.claim.task not in names_of_tasks(cfg):
            raise UserError(
                f'{study.arms[arm]} has no task {study.claim.task}, which '
                'the claim is about.'
            )
    trainings: dict[tuple[str, str, int], Run] = {}
    tests: dict[tuple[str, str, int], TestRun] = {}
    # seed by seed, so that pairs come early
    for seed in study.seeds:
        for case in study.cases:
            for arm in study.arms:
                key = (case.name, arm, seed)
                if not case.changes(arm) or _same_model(case, configs[arm]):
                    tests[key] = tests[BASE, arm, seed]
                    continue
                if case.trains:
                    trainings[key] = planner.training(case, arm, seed)
                training = trainings.get(key) or trainings[BASE, arm, seed]
                tests[key] = planner.test(case, arm, seed, training)
    unseen = {}
    for dataset in study.unseen:
        for seed, arm, run in planner.without(dataset, configs, trainings):
            unseen[dataset, arm, seed] = run
            if run.training is not None:
                key = (f'without {dataset}', arm, seed)
                trainings.setdefault(key, run.training)
    return Plan(trainings, tests, unseen, configs)


def _same_model(case: Case, cfg: Config) -> bool:
    """Whether a case only asks for the model that predicts anyway."""
    usual = as_list(cfg.test_cfg.get('predict_on')) or ['']
    return dict(case.test) == dict(predict_on=usual[0])


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
        self._files: set[Path] = set()

    def weights(self, seed: int) -> Path:
        return self.work_dir / 'initial_weights' / f'seed_{seed}.pth'

    def load(self, arm: str, *options: Any) -> Config:
        """Read an arm's config with the study's options, and others."""
        merged = copy.deepcopy(self.study.options)
        for each in options:
            # merging takes "_delete_" out
            merged |= copy.deepcopy(dict(each))
        cfg = load_compared_config(
            self.study.arms[arm], merged, self.data_root
        )
        cfg.test_cfg.tasks = [self.study.claim.task]
        return cfg

    def config(
        self, case: Case, arm: str, without: str | None = None
    ) -> tuple[Path, Path]:
        """Write the config of a case and an arm.

        Returns:
            tuple[Path, Path]: The file and its folder.
        """
        name = case.folder if without is None else f'without_{without}'
        folder = self.work_dir / name / arm
        file = folder / f'{arm}.py'
        if file not in self._files:
            options = [case.options, case.only.get(arm, {})]
            cfg = self.load(arm, *options, case.test.get('options', {}))
            if without is not None:
                cfg.tasks = names_of_tasks(cfg, without)
            write_run_config(cfg, file, folder, self.study.arms[arm])
            self._files.add(file)
        return file, folder

    def training(
        self, case: Case, arm: str, seed: int, without: str | None = None
    ) -> Run:
        """Return a training of a case, or of one without a dataset."""
        file, folder = self.config(case, arm, without)
        return Run(
            file,
            seed,
            folder / f'seed_{seed}',
            folder.parent.name,
            options=[
                f'randomness.seed={seed}',
                f'load_from={self.weights(seed)}',
            ],
        )

    def test(self, case: Case, arm: str, seed: int, training: Run) -> TestRun:
        """Return the test of a case."""
        file, folder = self.config(case, arm)
        return TestRun(
            file,
            seed,
            folder / f'seed_{seed}' / 'test',
            case.name,
            training=training,
            task=self.study.claim.task,
            checkpoint=case.test.get('checkpoint', LAST),
            predict_on=case.test.get('predict_on'),
        )

    def without(
        self,
        dataset: str,
        configs: dict[str, Config],
        trainings: dict[tuple[str, str, int], Run],
    ) -> Iterator[tuple[int, str, UnseenRun]]:
        """Yield the tests on a dataset that is left out.

        An arm that does not have it needs no further training.

        Raises:
            UserError: If the claim is not about labels, no arm has labels of
                the dataset, or an arm has nothing else.
        """
        target = f'{dataset}/cls'
        owners = [a for a, c in configs.items() if target in c.tasks]
        kind = split_name(self.study.claim.task)[1]
        if kind != 'cls' or self.study.claim.key != 'AUC' or not owners:
            raise UserError(
                f'unseen names "{dataset}"; a hospital that no training has '
                'seen is tested by heads of labels, so the claim must be '
                f'about an AUC and an arm must have the task {target}.'
            )
        file, _ = self.config(self.study.cases[0], owners[0])
        base = self.study.cases[0]
        for seed in self.study.seeds:
            for arm, cfg in configs.items():
                training = trainings[BASE, arm, seed]
                left = names_of_tasks(cfg, dataset)
                if not any(split_name(n)[1] == 'cls' for n in left):
                    raise UserError(
                        f'{self.study.arms[arm]} has no labels but those of '
                        f'{dataset}, which "unseen" leaves out.'
                    )
                if left != list(cfg.tasks):
                    training = self.training(base, arm, seed, dataset)
                folder = self.work_dir / f'unseen_{dataset}' / arm
                folder /= f'seed_{seed}'
                folder.mkdir(parents=True, exist_ok=True)
                yield (
                    seed,
                    arm,
                    UnseenRun(
                        training.config,
                        seed,
                        folder,
                        dataset,
                        training=training,
                        task=target,
                        target=file,
                    ),
                )
