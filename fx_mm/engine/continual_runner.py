"""Trainings whose tasks arrive in stages: one ordinary training each."""

import copy
import json
import os
import shutil
from pathlib import Path
from typing import cast

from mmengine.config import Config
from mmengine.dist import barrier, is_main_process
from torch import nn

from fx_mm.config import ContinualPlan
from fx_mm.config.continual import BUFFER, RECORD
from fx_mm.datasets.presence import presence
from fx_mm.datasets.readers.patients import find_patients
from fx_mm.datasets.rehearsal_buffer import (
    load_buffer,
    save_buffer,
    select_images,
)
from fx_mm.datasets.task_dataset import TaskDataset
from fx_mm.engine.buffer_features import pooled_features
from fx_mm.engine.hooks.stage_hook import StageHook
from fx_mm.engine.runner import MultiTaskRunner, from_main_process
from fx_mm.evaluation.stage_scores import StageScores
from fx_mm.models.loading import load_all_weights
from fx_mm.models.mean_teacher import bare_model
from fx_mm.registry import HOOKS, RUNNERS
from fx_mm.utils.checkpoint import find_checkpoint, load_source
from fx_mm.utils.dist import start_processes
from fx_mm.utils.errors import UserError
from fx_mm.utils.files import write_whole
from fx_mm.visualization.stage_plot import plot_stages


@RUNNERS.register_module()
class ContinualRunner(MultiTaskRunner):
    """The Runner of one stage of a config with ``continual``.

    ``MultiTaskRunner.from_cfg`` makes the runner of the first stage that is
    not finished; its :meth:`train` trains that one and then those behind it.
    A stage is a training of its own in ``stage_N`` of the work directory, so
    it is stopped and resumed as any other. Its end is a record of three
    small files: which images are kept to rehearse (``buffer.json``), what the
    method needs (``ewc.pth``), and ``stage.json``, by which it is finished.
    What follows needs these, the last checkpoint, and of the old images those
    in the buffer.

    Attributes:
        plan (ContinualPlan): The whole run.
        stage (int): The number of the stage, from 0.
    """

    plan: ContinualPlan
    stage: int

    @classmethod
    def from_cfg(
        cls, cfg: Config, synthetic: bool = False
    ) -> 'ContinualRunner':
        """Build the runner of the first stage that is not finished.

        Args:
            cfg (Config): The experiment's config; it is not changed.
                ``resume`` goes on in ``work_dir``.
            synthetic (bool): Must be False.

        Raises:
            UserError: If the config cannot be used, or the work directory
                has finished stages and ``resume`` is not set.
        """
        plan = ContinualPlan(copy.deepcopy(cfg))
        env = cfg.get('env_cfg', {})
        start_processes(cfg.get('launcher', 'none'), env.get('dist_cfg'))
        _check_method(plan)
        done = from_main_process(plan.finished())
        if done and not cfg.get('resume'):
            raise UserError(
                f'{plan.work_dir} has {done} finished stages; go on behind '
                'them with --resume, or choose another --work-dir.'
            )
        number = min(done, len(plan.stages) - 1)
        stage_cfg = plan.stage_config(number)
        newest = None
        if cfg.get('resume'):
            newest = from_main_process(find_checkpoint(stage_cfg.work_dir))
        stage_cfg.resume = newest is not None
        stage_cfg.load_from = newest or stage_cfg.get('load_from')
        runner = cast(ContinualRunner, super().from_cfg(stage_cfg))
        runner.plan, runner.stage = plan, number
        return runner

    def prepare(self) -> None:
        """Build at once what :meth:`train` would build on its way.

        Raises:
            UserError: If the config or its data cannot be used, also what
                would come to light at the end of the stage alone.
        """
        super().prepare()
        if bare_model(self.model).student.base:
            raise UserError(
                'continual does not go with an adapter whose base stays as '
                'it is (model.student.adapter): a stage starts from the '
                'whole model of the one before; train with KindNorms or '
                'KindLoRA, or without adapter.'
            )
        if (self.plan.rehearsal or {}).get('select') != 'balanced':
            return
        for dataset in self.train_loop.dataloader.dataset.datasets:
            if not presence(dataset.task, dataset.data_list).shape[1]:
                raise UserError(
                    'continual.rehearsal.select is "balanced", but the '
                    f'images of {dataset.task.name} have no classes to '
                    'balance; use random or herding.'
                )

    def train(self) -> nn.Module:
        """Train this stage and those behind it.

        Returns:
            nn.Module: The model of the last stage that was trained.
        """
        self.prepare()
        count = len(self.plan.stages)
        self.logger.info(
            f'Stage {self.stage + 1} of {count}: '
            f'{", ".join(self.plan.stages[self.stage])}'
        )
        if self._given:
            self._test_start()
        else:
            super().train()
            if self.train_loop.stopped_by or not self.train_loop.ended:
                self.logger.warning(
                    f'Stage {self.stage + 1} is not finished; go on with '
                    '--resume.'
                )
                return self.model
        self._end_stage()
        if self.stage + 1 == count:
            return self.model
        self._let_go()
        cfg = self.plan.cfg
        cfg.resume = True
        return ContinualRunner.from_cfg(cfg).train()

    def _test_start(self) -> None:
        """Test the checkpoint that stands for the first stage.

        Raises:
            UserError: If it lacks weights of the stage's tasks.
        """
        start = str(self.plan.start)
        self.logger.info(f'In place of its training: {start}')
        checkpoint = load_source(start)
        load_all_weights(bare_model(self.model), checkpoint, start)
        self._has_loaded = True
        self.test()

    @property
    def _given(self) -> bool:
        """Whether a checkpoint takes the place of this stage's training."""
        return self.plan.start is not None and self.stage == 0

    def _let_go(self) -> None:
        """Free what a stage takes before the next one is built."""
        self.model, self.optim_wrapper = nn.Identity(), None
        self._train_loop = self._val_loop = self._test_loop = None

    def _end_stage(self) -> None:
        """Write what later stages need; last of all that it is finished."""
        if is_main_process():
            folder = Path(self.work_dir)
            if self.plan.rehearsal is not None:
                self._keep_images(folder / BUFFER)
            for hook in self.hooks:
                if isinstance(hook, StageHook):
                    hook.end_stage(self)
            record = dict(
                tasks=self.plan.stages[self.stage],
                checkpoint=self._final_checkpoint(folder),
            )
            write_whole(folder / RECORD, json.dumps(record, indent=1) + '\n')
            self._write_scores()
        barrier()

    def _final_checkpoint(self, folder: Path) -> str:
        """Return where the stage's weights are, relative to its folder.

        Raises:
            UserError: If they were not saved.
        """
        start = self.plan.start if self._given else None
        if start is not None:
            return start if '://' in start else os.path.abspath(start)
        checkpoint = find_checkpoint(folder)
        if checkpoint is None:
            raise UserError(
                f'{folder} has no checkpoint for the next stage to go on '
                'from; keep default_hooks.checkpoint.save_last.'
            )
        return os.path.relpath(checkpoint, folder)

    def _keep_images(self, file: Path) -> None:
        """Choose images of the new tasks, and go on with those before."""
        how = dict(self.plan.rehearsal or {})
        how.pop('ratio', None)
        images = {}
        if self.stage:
            images = load_buffer(self.plan.folder(self.stage - 1) / BUFFER)
        for dataset in self.train_loop.dataloader.dataset.datasets:
            if dataset.task.name not in images:
                images[dataset.task.name] = self._choose(dataset)
        save_buffer(file, images, **how)
        counts = ', '.join(f'{len(v)} of {k}' for k, v in images.items())
        self.logger.info(f'{file}: {counts}')

    def _choose(self, dataset: TaskDataset) -> list[str]:
        how = self.plan.rehearsal or {}
        task, names = dataset.task, list(dataset.data_list.column('img_id'))
        n = how['count'] or max(round(how['share'] * len(names)), 1)
        pattern = task.config.get('patient')
        patients = find_patients(task, dataset.ann_file, names, pattern)
        classes = features = None
        if how['select'] != 'random':
            classes = presence(task, dataset.data_list)
        if how['select'] == 'herding':
            features = pooled_features(self, dataset)
        chosen = select_images(
            names, n, how['seed'], patients, classes, features
        )
        return [names[i] for i in chosen]

    def _write_scores(self) -> None:
        """Write the matrix and the measures so far, over all stages."""
        scores = StageScores.read(
            [self.plan.folder(i) for i in range(self.stage + 1)],
            self.plan.stages[: self.stage + 1],
        )
        if scores is None:
            return
        scores.save(self.plan.work_dir)
        plot_stages(scores, self.plan.work_dir / 'continual.png')
        self.logger.info('\n' + scores.text())
        if self.stage + 1 == len(self.plan.stages):
            shutil.copy(
                Path(self.work_dir) / 'results.json', self.plan.work_dir
            )


def _check_method(plan: ContinualPlan) -> None:
    """Refuse a method that is none.

    Raises:
        UserError: Names it.
    """
    if plan.method is None:
        return
    part = HOOKS.get(plan.method['type'])
    if part is None or not issubclass(part, StageHook):
        raise UserError(
            f'continual.method.type is "{plan.method["type"]}"; use EWC, LwF '
            'or FrozenTeacher.'
        )
