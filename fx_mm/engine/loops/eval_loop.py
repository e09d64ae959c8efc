"""Evaluation, task by task."""

import contextlib
import math
import os.path as osp
from abc import abstractmethod
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

import torch
from mmengine.dist import all_gather_object
from mmengine.evaluator import Evaluator
from mmengine.runner import BaseLoop
from torch.utils.data import DataLoader

from fx_mm.engine.process_failures import lost_processes, tie_workers
from fx_mm.models.mean_teacher import MeanTeacher, bare_model
from fx_mm.registry import LOOPS
from fx_mm.structures import FXDataSample
from fx_mm.tasks import MEAN
from fx_mm.utils.checks import as_list, check_choice
from fx_mm.utils.dist import ranks_apart
from fx_mm.utils.errors import UserError
from fx_mm.utils.predictors import PREDICTORS

if TYPE_CHECKING:
    from fx_mm.engine.runner import MultiTaskRunner


class _MultiTaskEvalLoop(BaseLoop):
    """Evaluate every task on its own split with its own metric."""

    stage: str

    def __init__(
        self,
        runner: 'MultiTaskRunner',
        dataloader: DataLoader | dict[str, Any],
        evaluator: dict[str, dict[str, Any]],
        predict_on: str | Sequence[str] | None = None,
        amp_dtype: str | None = None,
        tasks: str | Sequence[str] | None = None,
    ) -> None:
        tasks = as_list(tasks)
        if tasks is not None:
            dataloader, evaluator = self._choose(dataloader, evaluator, tasks)
        super().__init__(runner, dataloader)
        tie_workers(self.dataloader, self)
        self.asked = tuple(dict.fromkeys(as_list(predict_on) or ()))
        for name in self.asked:
            check_choice(f'{self.stage}_cfg.predict_on', name, PREDICTORS)
        if predict_on is not None and not self.asked:
            raise UserError(
                f'{self.stage}_cfg.predict_on is empty; name '
                f'{" or ".join(PREDICTORS)}, or leave it out.'
            )
        if amp_dtype not in (None, 'bfloat16', 'float16'):
            raise UserError(
                f'{self.stage}_cfg.amp_dtype is "{amp_dtype}"; it must be '
                '"bfloat16", "float16" or None.'
            )
        self.amp_dtype = amp_dtype
        datasets = self.dataloader.dataset.datasets
        self.evaluators: dict[str, Evaluator] = {}
        for dataset in datasets:
            name = dataset.task.name
            self.evaluators[name] = runner.build_evaluator(evaluator[name])
            self.evaluators[name].dataset_meta = dataset.metainfo
            for metric in self.evaluators[name].metrics:
                # Where processes meet; mmengine's default is a folder of
                # the working directory.
                if metric.collect_device == 'cpu' and not metric.collect_dir:
                    metric.collect_dir = osp.join(runner.work_dir, '.gather')

    @property
    def predict_on(self) -> list[str]:
        """list[str]: Which models predict, by the weights that there are.

        Raises:
            UserError: If one is asked for that there is not.
        """
        model = bare_model(self.runner.model)
        for name in self.asked:
            if name not in model.predictors:
                raise UserError(
                    f'{self.stage}_cfg.predict_on asks for the {name}, but '
                    f'there are weights of the {model.predictors[0]} alone; '
                    'ask for that one, or leave it out.'
                )
        return list(self.asked) or self._usual(model)

    @abstractmethod
    def _usual(self, model: MeanTeacher) -> list[str]:
        """Return which models predict where none is asked for."""

    def _choose(
        self,
        dataloader: Any,
        evaluator: dict[str, dict[str, Any]],
        tasks: Sequence[str],
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Keep only some tasks in the configs of loader and evaluators."""
        if not tasks:
            raise UserError(
                f'{self.stage}_cfg.tasks is empty; name some of: '
                f'{", ".join(evaluator)}, or leave it out for all.'
            )
        for name in tasks:
            if name not in evaluator:
                raise UserError(
                    f'{self.stage}_cfg.tasks names "{name}", which is not '
                    f'active; active: {", ".join(evaluator)}.'
                )
        chosen = [name for name in evaluator if name in tasks]
        dataset = dict(dataloader['dataset'], tasks=chosen)
        sampler = dict(dataloader['batch_sampler'])
        sampler['batch_sizes'] = _only(sampler.get('batch_sizes', {}), tasks)
        loader = dict(dataloader, dataset=dataset, batch_sampler=sampler)
        return loader, _only(evaluator, tasks)

    @lost_processes()
    @torch.no_grad()
    def run(self) -> dict[str, float]:
        """Evaluate with each of the wanted models.

        Returns:
            dict[str, float]: ``dataset/kind/metric`` of the first of
            ``predict_on``, and with the prefix ``student/`` or ``teacher/``
            of the others.
        """
        call = self.runner.call_hook
        call(f'before_{self.stage}')
        call(f'before_{self.stage}_epoch')
        self.runner.model.eval()
        metrics = {}
        for i, name in enumerate(self.predict_on):
            prefix = f'{name}/' if i else ''
            with bare_model(self.runner.model).using(name):
                results = self._run_model()
            results.update(self._means(results))
            metrics.update({prefix + k: v for k, v in results.items()})
        call(f'after_{self.stage}_epoch', metrics=metrics)
        call(f'after_{self.stage}')
        return metrics

    def _predict(self, batch: dict[str, Any]) -> list[FXDataSample]:
        return self.runner.model.val_step(batch)

    def _losses(self) -> dict[str, float]:
        """Return the losses of the batches since the last call."""
        return {}

    def _run_model(self) -> dict[str, float]:
        for index, batch in enumerate(self.dataloader):
            self.runner.call_hook(
                f'before_{self.stage}_iter', batch_idx=index, data_batch=batch
            )
            with self._autocast():
                outputs = self._predict(batch)
            task = outputs[0].task
            self.evaluators[task].process(
                data_samples=outputs, data_batch=batch
            )
            self.runner.call_hook(
                f'after_{self.stage}_iter',
                batch_idx=index,
                data_batch=batch,
                outputs=outputs,
            )
        metrics = {}
        for dataset in self.dataloader.dataset.datasets:
            name = dataset.task.name
            results = self.evaluators[name].evaluate(len(dataset))
            metrics.update({f'{name}/{k}': v for k, v in results.items()})
        return metrics | self._losses()

    def _means(self, results: dict[str, float]) -> dict[str, float]:
        """Return further results that are means of others."""
        return {}

    def _autocast(self) -> contextlib.AbstractContextManager:
        if self.amp_dtype is None:
            return contextlib.nullcontext()
        device = next(self.runner.model.parameters()).device.type
        return torch.autocast(device, dtype=getattr(torch, self.amp_dtype))


def _only(entries: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: each for name, each in entries.items() if name in names}


@LOOPS.register_module()
class MultiTaskValLoop(_MultiTaskEvalLoop):
    """Validate every task.

    Besides ``dataset/kind/metric`` it returns means over the tasks, by which
    the best weights can be chosen: ``mean/kind/metric`` of the headline
    metric of each kind, such as ``mean/cls/AUC``, and ``mean`` of all tasks'.

    Args:
        runner (Runner): The runner.
        dataloader (DataLoader or dict): Over a ``MultiTaskDataset`` with a
            ``TaskSequentialBatchSampler``.
        evaluator (dict): Task name to the config of its metric.
        predict_on (str | list[str], optional): Which models predict:
            ``teacher``, ``student`` or both; the results of the first have
            no prefix. Defaults to None: the one that predicts.
        amp_dtype (str, optional): Autocast type, such as ``bfloat16``.
            Defaults to None, full precision.
        tasks (str | list[str], optional): Tasks to evaluate. Defaults to
            None, all.
        losses (bool): Measure the losses too: ``phantom_b/loc/val/loss_bbox``
            beside the training's ``phantom_b/loc/loss_bbox``, weighted alike,
            averaged over the images (batch by batch), and ``val/loss``,
            their sum. Those of denoising queries and the consistency are of
            training alone. Defaults to False.

    Raises:
        UserError: If an argument is unknown.
    """

    stage = 'val'
    validated_pass = 0

    def __init__(
        self,
        runner: 'MultiTaskRunner',
        dataloader: DataLoader | dict[str, Any],
        evaluator: dict[str, dict[str, Any]],
        predict_on: str | Sequence[str] | None = None,
        amp_dtype: str | None = None,
        tasks: str | Sequence[str] | None = None,
        losses: bool = False,
    ) -> None:
        super().__init__(
            *(runner, dataloader, evaluator, predict_on, amp_dtype, tasks)
        )
        self.losses = losses
        self._sums: dict[str, dict[str, float]] = {}
        self._images: dict[str, int] = {}

    def _predict(self, batch: dict[str, Any]) -> list[FXDataSample]:
        if not self.losses:
            return super()._predict(batch)
        model = bare_model(self.runner.model)
        with ranks_apart():
            outputs, losses = model.val_step_with_losses(batch)
        task, count = outputs[0].task, len(outputs)
        sums = self._sums.setdefault(task, {})
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + float(value) * count
        self._images[task] = self._images.get(task, 0) + count
        return outputs

    def _losses(self) -> dict[str, float]:
        """Average over the images of all ranks."""
        ranks = all_gather_object((self._sums, self._images))
        self._sums, self._images = {}, {}
        means: dict[str, float] = {}
        for task in self.evaluators:
            total = sum(images.get(task, 0) for _, images in ranks)
            for sums, _ in ranks:
                for name, value in sums.get(task, {}).items():
                    key = f'{task}/val/{name}'
                    means[key] = means.get(key, 0.0) + value / total
        return means

    def _usual(self, model: MeanTeacher) -> list[str]:
        return [model.predict_on]

    def run(self) -> dict[str, float]:
        """Evaluate, and remember after which pass."""
        metrics = super().run()
        self.validated_pass = self.runner.epoch
        return metrics

    def _means(self, results: dict[str, float]) -> dict[str, float]:
        """Average the headline metric of each kind, and all of them.

        A mean is NaN if any of its results is, since means over different
        tasks cannot be compared.
        """
        groups: dict[str, list[float]] = {}
        for name in self.evaluators:
            kind = self.runner.tasks[name].kind
            value = results.get(f'{name}/{kind.headline()}', math.nan)
            for key in (f'{MEAN}/{kind.name}/{kind.headline()}', MEAN):
                groups.setdefault(key, []).append(value)
        return {key: fmean(values) for key, values in groups.items()}


@LOOPS.register_module()
class MultiTaskTestLoop(_MultiTaskEvalLoop):
    """Test every task; arguments as of :class:`MultiTaskValLoop`.

    By default all models that there are predict, first the one that the
    checkpoint names.
    """

    stage = 'test'

    def _usual(self, model: MeanTeacher) -> list[str]:
        first = model.predict_on
        return [first, *(n for n in model.predictors if n != first)]
