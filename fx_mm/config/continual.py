"""A config whose tasks arrive in stages, and the config of each stage."""

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from fx_mm.config.some_tasks import keep_cycle, keep_evaluation
from fx_mm.tasks import split_name
from fx_mm.utils.checks import as_list, check_choice, check_number
from fx_mm.utils.errors import UserError
from fx_mm.utils.value_types import check_entry

KEYS: dict[str, Any] = dict(
    stages=Sequence[Sequence[str]],
    rehearsal=dict | None,
    method=dict | None,
    start=str | None,
)
REHEARSAL_KEYS: dict[str, Any] = dict(
    share=float | None,
    count=int | None,
    select=str,
    ratio=float,
    seed=int,
)
RECORD = 'stage.json'
BUFFER = 'buffer.json'


class ContinualPlan:
    """What a config's ``continual`` says: which tasks arrive when.

    Args:
        cfg (Config): The experiment's config, not expanded.

    Raises:
        UserError: If a key or value of ``continual`` makes no sense.

    Attributes:
        stages (list[list[str]]): The new tasks of each stage.
        rehearsal (dict, optional): ``share`` or ``count``, ``select``,
            ``ratio``, ``seed``; None: nothing is rehearsed.
        method (dict, optional): Config of a :class:`StageHook`.
        start (str, optional): A checkpoint in place of the first stage.
    """

    def __init__(self, cfg: Config) -> None:
        self.cfg = cfg
        section = cfg['continual']
        check_entry('continual', section, KEYS)
        self.stages = [list(stage) for stage in section.get('stages') or ()]
        tasks = [task for stage in self.stages for task in stage]
        if not self.stages or not all(self.stages):
            raise UserError(
                'continual.stages must be a list of lists of tasks, at least '
                'one each, such as [["nih14/cls"], ["rsna/loc"]].'
            )
        if len(set(tasks)) < len(tasks):
            twice = next(task for task in tasks if tasks.count(task) > 1)
            raise UserError(
                f'continual.stages has "{twice}" twice; a task arrives once.'
            )
        chosen = as_list(cfg.get('tasks'))
        if chosen and set(chosen) != set(tasks):
            odd = sorted(set(chosen) ^ set(tasks))
            raise UserError(
                f'"tasks" and continual.stages differ in {", ".join(odd)}; '
                'set tasks=None, which takes those of the stages.'
            )
        self.rehearsal = self._read_rehearsal(section.get('rehearsal'))
        self.method = section.get('method')
        if self.method is not None and 'type' not in self.method:
            raise UserError(
                'continual.method has no "type"; use EWC, LwF or '
                'FrozenTeacher.'
            )
        self.start = section.get('start')
        if self.start and cfg.get('load_from'):
            raise UserError(
                'load_from and continual.start are both set; the latter is '
                'what the second stage goes on from, so remove load_from.'
            )

    @staticmethod
    def _read_rehearsal(
        given: Mapping[str, Any] | None,
    ) -> dict[str, Any] | None:
        from fx_mm.datasets.rehearsal_buffer import SELECTIONS

        if given is None:
            return None
        where = 'continual.rehearsal'
        check_entry(where, given, REHEARSAL_KEYS)
        rehearsal = dict(share=None, count=None, select='random', seed=0)
        rehearsal.update(given)
        share, count = rehearsal['share'], rehearsal['count']
        if (share is None) == (count is None):
            raise UserError(
                f'{where} needs one of share=0.05 (of the images of each '
                'task) and count=200 (images of each task).'
            )
        if share is not None:
            check_number(f'{where}.share', share, 0, 1)
        else:
            check_number(f'{where}.count', count, 0, whole=True)
        check_choice(f'{where}.select', rehearsal['select'], SELECTIONS)
        check_number(f'{where}.seed', rehearsal['seed'], 0, whole=True)
        return rehearsal if share or count else None

    @property
    def work_dir(self) -> Path:
        """Path: Of the whole run."""
        return Path(self.cfg.work_dir)

    def folder(self, number: int) -> Path:
        """Return the work directory of a stage, counted from 0."""
        return self.work_dir / f'stage_{number + 1}'

    def tasks_until(self, number: int) -> list[str]:
        """Return the tasks of a stage and all before it."""
        return [task for stage in self.stages[: number + 1] for task in stage]

    def finished(self) -> int:
        """Return how many stages are finished, from the first on.

        Raises:
            UserError: If the folder of one has other tasks.
        """
        for number, tasks in enumerate(self.stages):
            folder = self.folder(number)
            if not (folder / RECORD).is_file():
                return number
            found = read_record(folder)['tasks']
            if sorted(found) != sorted(tasks):
                raise UserError(
                    f'{folder} is a finished stage with {", ".join(found)}, '
                    f'but continual.stages has {", ".join(tasks)} there; add '
                    'stages behind those that are finished, or choose '
                    'another --work-dir.'
                )
        return len(self.stages)

    def stage_config(self, number: int) -> Config:
        """Return the config of a stage, an ordinary training.

        Its model has the tasks so far. It trains the new ones and, of those
        before, the images in the buffer; ``load_from`` is the checkpoint of
        the stage before.

        Args:
            number (int): From 0.
        """
        cfg = copy.deepcopy(self.cfg)
        cfg.pop('continual')
        new, active = self.stages[number], self.tasks_until(number)
        old = active[: len(active) - len(new)]
        trained = active if self.rehearsal else new
        cfg.tasks = active
        cfg.work_dir = str(self.folder(number))
        name = cfg.get('experiment_name') or Path(cfg.filename or 'run').stem
        cfg.experiment_name = f'{name}_stage_{number + 1}'
        cfg.train_cfg.tasks = trained
        keep_cycle(cfg, trained)
        if self.rehearsal and old:
            if 'ratio' in self.rehearsal:
                cfg.cycle.rehearsal_ratio = self.rehearsal['ratio']
            for task in old:
                dataset, kind = split_name(task)
                entry = cfg.datasets[dataset].tasks[kind]
                entry.rehearsal = str(self.folder(number - 1) / BUFFER)
        for stage in ('val_cfg', 'test_cfg'):
            self._choose_evaluation(cfg, stage, active)
        if number:
            cfg.load_from = read_record(self.folder(number - 1))['checkpoint']
        elif self.start:
            cfg.load_from = self.start
        if self.method is not None:
            before = str(self.folder(number - 1)) if number else None
            hook = dict(copy.deepcopy(dict(self.method)), before=before)
            cfg.custom_hooks = [*(cfg.get('custom_hooks') or ()), hook]
        return cfg

    def _choose_evaluation(
        self, cfg: Config, stage: str, active: Sequence[str]
    ) -> None:
        """Evaluate what there is by now, with the model that learns."""
        keep_evaluation(cfg, stage, active)
        section = cfg.get(stage)
        if section is None:
            return
        if self.method is not None and self.method['type'] == 'FrozenTeacher':
            section.setdefault('predict_on', 'student')


def read_record(folder: str | Path) -> dict[str, Any]:
    """Read what a finished stage says of itself.

    Returns:
        dict: ``tasks``, those that were new, and ``checkpoint``, a path.

    Raises:
        UserError: If it says nothing.
    """
    file = Path(folder) / RECORD
    try:
        content = json.loads(file.read_text(encoding='utf-8'))
        checkpoint = str(content['checkpoint'])
        if '://' not in checkpoint:
            # beside it, so that a run can be moved
            checkpoint = str(file.parent / checkpoint)
        return dict(tasks=list(content['tasks']), checkpoint=checkpoint)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f'{folder} is no finished stage of a continual training: {error}'
        ) from error
