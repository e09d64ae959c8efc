"""The Runner of configs that train one model on many tasks."""

import copy
import os.path as osp
from collections.abc import Callable
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dist import (
    broadcast_object_list,
    is_distributed,
    is_main_process,
)
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from fx_mm.audit import warn_of_leaks
from fx_mm.config import PlainConfig, expand_config
from fx_mm.engine.closing_report import ClosingReport, ReportOptions
from fx_mm.engine.hooks import (
    LockReleaseHook,
    MeanTeacherHook,
    PseudoLabelHook,
)
from fx_mm.engine.optimizers.constructor import check_trained
from fx_mm.engine.start_summary import (
    QuietStart,
    import_quietly,
    start_summary,
)
from fx_mm.models import with_tasks
from fx_mm.models.loading import load_all_weights
from fx_mm.models.mean_teacher import bare_model
from fx_mm.phantom import draw_phantoms
from fx_mm.registry import RUNNERS
from fx_mm.tasks import TaskTable
from fx_mm.utils.build_errors import build_errors
from fx_mm.utils.checkpoint import (
    find_checkpoint,
    load_source,
    register_loaders,
)
from fx_mm.utils.device import allow_tf32
from fx_mm.utils.dist import start_processes
from fx_mm.utils.errors import UserError
from fx_mm.utils.memory import keep_freed_memory


@RUNNERS.register_module()
class MultiTaskRunner(Runner):
    """mmengine's Runner for configs with ``datasets`` and ``tasks``.

    ``runner_type='fx_mm.MultiTaskRunner'`` in a config lets the unchanged
    ``tools/train.py`` and ``tools/test.py`` of mmdet, mmseg and mmpretrain
    run it: :meth:`from_cfg` expands the config, :meth:`train` draws phantoms
    that the config asks for, looks for leaks, trains and closes with the
    report, :meth:`test` refuses a checkpoint that does not fit and writes the
    report.

    Args:
        *args: As of mmengine's Runner.
        cfg (PlainConfig): The expanded config.
        **kwargs: As of mmengine's Runner.

    Attributes:
        tasks (TaskTable): The active tasks, built once per run.
        report_options (ReportOptions): What the report has besides the table.
        trust (bool): Whether a checkpoint to test may hold any pickle.
        loaded_from (str): The checkpoint that was loaded, or is just being
            loaded; empty before.

    Raises:
        UserError: If the config or its data cannot be used.
    """

    # mmengine's own are unions of a config and what is built from it
    _train_loop: Any
    _val_loop: Any
    _test_loop: Any
    optim_wrapper: Any

    def __init__(self, *args: Any, cfg: PlainConfig, **kwargs: Any) -> None:
        self.tasks: TaskTable = cfg.task_table
        self.report_options = ReportOptions(
            save_predictions=cfg.get('save_predictions', False)
        )
        self.trust = False
        self.loaded_from = ''
        self._testing = False
        self._ready = False
        self._quiet_start = QuietStart()
        with self._quiet_start, build_errors():
            super().__init__(*args, cfg=cfg, **kwargs)
        if not self._has_hook(MeanTeacherHook):
            bare_model(self.model).keep_predictors(('student',))
        if self._resume:
            # The file of the first weights may be gone by now.
            backbone: Any = bare_model(self.model).student.backbone
            backbone.init_cfg = None

    @classmethod
    def from_cfg(
        cls, cfg: Config, synthetic: bool = False
    ) -> 'MultiTaskRunner':
        """Build a runner from a config that is not expanded yet.

        Args:
            cfg (Config): The experiment's config; it is not changed.
            synthetic (bool): Train on made-up samples. Defaults to False.

        Raises:
            UserError: If the config cannot be used.
        """
        if cfg.get('continual') and cfg.get('train_cfg') and not synthetic:
            # which is below this class
            return RUNNERS.get('ContinualRunner').from_cfg(cfg)
        register_loaders()
        import_quietly()
        if not torch.cuda.is_available():
            keep_freed_memory()
        cfg = expand_config(cfg, synthetic)
        env = cfg.get('env_cfg', {})
        start_processes(cfg.get('launcher', 'none'), env.get('dist_cfg'))
        if cfg.get('resume'):
            found = cfg.get('load_from') or find_checkpoint(cfg.work_dir)
            # On a disk of several machines, some may not see the newest yet.
            cfg.load_from = from_main_process(found)
            cfg.resume = cfg.load_from is not None
        start = cfg.get('load_from')
        local = start and '://' not in start
        if local and not osp.isfile(osp.expanduser(start)):
            raise UserError(f'load_from is "{start}", which does not exist.')
        if is_distributed():
            _expand_wrapper(cfg)
        return super().from_cfg(cfg)

    # ------------------------------------------------------------- building

    def setup_env(self, env_cfg: dict[str, Any]) -> None:
        """Set the process up, TF32 off unless ``env_cfg.tf32`` is True.

        torch's own default has it in convolutions, which are then off by 1e-3
        in float32.
        """
        super().setup_env(env_cfg)
        allow_tf32(bool(env_cfg.get('tf32')))

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Build the logger; mmengine's report of a start goes to its file."""
        logger = super().build_logger(*args, **kwargs)
        self._quiet_start.apply(logger)
        return logger

    def build_model(self, model: nn.Module | dict[str, Any]) -> nn.Module:
        """Build the model for the run's tasks."""
        if isinstance(model, dict):
            model = with_tasks(model, self.tasks)
        return super().build_model(model)

    def build_dataloader(
        self,
        dataloader: DataLoader | dict[str, Any],
        *args: Any,
        **kwargs: Any,
    ) -> DataLoader:
        """Build a loader over the run's tasks, or over those it names."""
        if isinstance(dataloader, dict):
            dataset = dict(dataloader['dataset'])
            names = dataset.get('tasks')
            if dataset.get('split') == 'train':
                dataset['tasks'] = self.tasks.in_cycle(names)
            else:
                names = self.tasks.names if names is None else names
                dataset['tasks'] = self.tasks.only(names)
            pin = torch.cuda.is_available()
            dataloader = {'pin_memory': pin, **dataloader, 'dataset': dataset}
        return super().build_dataloader(dataloader, *args, **kwargs)

    def prepare(self) -> None:
        """Build at once what :meth:`train` would build on its way.

        So a mistake shows before anything is run. Idempotent.

        Raises:
            UserError: If the config or its data cannot be used.
        """
        if self._ready:
            return
        self._draw_phantoms()
        # The closing table of a training must not look at the test split,
        # unless the config says so.
        if self._test_dataloader is not None:
            split = self.cfg.get('report', 'val')
            self._test_dataloader['dataset']['split'] = split
        with self._quiet_start, build_errors():
            self._train_loop = self.build_train_loop(self._train_loop)
            wrapper = self.build_optim_wrapper(self.optim_wrapper)
            self.optim_wrapper = wrapper
            # whatever constructor the config names
            check_trained(self.model, wrapper)
            if self._val_loop is not None:
                self._val_loop = self.build_val_loop(self._val_loop)
            if self._test_loop is not None:
                self._test_loop = self.build_test_loop(self._test_loop)
        self._take_statistics()
        self._check_hooks()
        # The real schedulers record the rate after auto-scaling, so here they
        # are only tried.
        trial = OptimWrapper(torch.optim.SGD([torch.zeros(1)], lr=1.0))
        with build_errors():
            for scheduler in self.param_schedulers or []:
                self._build_param_scheduler(ConfigDict(scheduler), trial)
        self._audit()
        self._ready = True

    def init_model_weights(self) -> None:
        """Initialise the weights as :meth:`train` does at its beginning."""
        self._init_model_weights()

    @property
    def resumed(self) -> bool:
        """bool: Whether the run goes on from a checkpoint."""
        return bool(self._resume)

    @property
    def tested_checkpoint(self) -> str | None:
        """str, optional: What a test was asked to load; none in training."""
        return self._load_from if self._testing else None

    @property
    def predict_on(self) -> str:
        """str: Which model predicts: the first that the test measures.

        Without a test, the first that the validation measures. Checkpoints
        say so to the tools that predict.
        """
        for loop in (self._test_loop, self._val_loop):
            names = getattr(loop, 'predict_on', None)
            if names:
                return names[0]
        return bare_model(self.model).predict_on

    # -------------------------------------------------------------- running

    def train(self) -> nn.Module:
        """Train, and close with the report once the end is reached."""
        self.prepare()
        self.logger.info(start_summary(self))
        model = super().train()
        if self.train_loop.ended and self._test_loop is not None:
            self.test()
        else:
            super().call_hook('after_run')
        return model

    def val(self) -> dict[str, float]:
        """Validate the checkpoint that the config names."""
        self._draw_phantoms()
        self._testing = not self._ready
        metrics = super().val()
        super().call_hook('after_run')
        return metrics

    def test(self) -> dict[str, float]:
        """Evaluate, print the table and write the report.

        Returns:
            dict[str, float]: The headline metrics.

        Raises:
            UserError: If the checkpoint does not fit the config, or
                predictions that :attr:`report_options` name do not.
        """
        self._testing = not self._ready
        if self._testing:
            self._draw_phantoms()
        if self._test_loop is not None:
            self._test_loop = self.build_test_loop(self._test_loop)
            if self._testing:
                self.logger.info(start_summary(self, train=False))
        self.load_or_resume()
        report = ClosingReport(self, self.report_options)
        headlines = super().test()
        if is_main_process():
            report.write(headlines)
        super().call_hook('after_run')
        return headlines

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call a point of all hooks, ``after_run`` after the report alone.

        There the visualizer closes: Weights & Biases takes no picture of the
        report after it.
        """
        if fn_name != 'after_run':
            super().call_hook(fn_name, **kwargs)

    def load_checkpoint(
        self,
        filename: str,
        map_location: str | Callable[..., Any] = 'cpu',
        strict: bool = False,
        revise_keys: list[tuple[str, str]] = [(r'^module.', '')],
    ) -> dict[str, Any]:
        """Load weights; for a test, all that the model needs must be there.

        Raises:
            UserError: Names what does not fit.
        """
        self.loaded_from = filename
        if not self._testing:
            return super().load_checkpoint(
                filename, map_location, strict, revise_keys
            )
        checkpoint = load_source(filename, self.trust)
        load_all_weights(bare_model(self.model), checkpoint, filename)
        self._has_loaded = True
        return checkpoint

    # -------------------------------------------------------------- helpers

    def _has_hook(self, kind: type[Hook]) -> bool:
        return any(isinstance(hook, kind) for hook in self.hooks)

    def _draw_phantoms(self) -> None:
        """Draw the phantoms that the config asks for, if they are missing."""
        if not self._synthetic:
            draw_phantoms(self.cfg)

    @property
    def _synthetic(self) -> bool:
        loader = self.cfg.get('train_dataloader') or {}
        kind = (loader.get('dataset') or {}).get('type')
        return kind == 'SyntheticDataset'

    def _take_statistics(self) -> None:
        """Show each task's training data to its branch.

        Raises:
            UserError: If nothing can be learned of them.
        """
        if self._synthetic:
            return
        model = bare_model(self.model)
        for dataset in self._train_loop.dataloader.dataset.datasets:
            if dataset.rehearses or dataset.task.pseudo:
                continue  # the checkpoint, or its source, has them
            for part in model.models:
                branch = part.branch(dataset.task.kind)
                branch.take_statistics(dataset.task, dataset.data_list)

    def _audit(self) -> None:
        """Look for leaks on the main process; all stop together.

        Raises:
            UserError: If there is one and ``audit.on_leak`` is ``stop``.
        """
        if self._synthetic:
            return
        refusal = None
        if is_main_process():
            try:
                loops = (self._train_loop, self._val_loop, self._test_loop)
                built = [
                    each
                    for loop in loops
                    if loop is not None
                    for each in loop.dataloader.dataset.datasets
                    if not each.rehearses
                ]
                warn_of_leaks(self.cfg, built, self.logger)
            except UserError as error:
                refusal = str(error)
        refusal = from_main_process(refusal)
        if refusal is not None:
            raise UserError(refusal)

    def _check_hooks(self) -> None:
        """Refuse lock passes or a teacher without the hook that makes them so.

        A ``custom_hooks`` of a user's config replaces the list of its base.

        Raises:
            UserError: Names the hooks.
        """
        loops = [self._train_loop, self._val_loop, self._test_loop]
        schedule = getattr(loops[0], 'schedule', None)
        if schedule is None:
            return
        locks = any(entry.mode != 'release' for entry in schedule.passes)
        asked = any('teacher' in getattr(loop, 'asked', ()) for loop in loops)
        unlabelled = any(
            dataset.task.pseudo
            for dataset in loops[0].dataloader.dataset.datasets
        )
        annotated = '"tasks" to those without "pseudo" in their entry'
        needs = (
            (PseudoLabelHook, unlabelled, annotated),
            (MeanTeacherHook, unlabelled, annotated),
            (LockReleaseHook, locks, 'cycle.lock to "none"'),
            (
                MeanTeacherHook,
                asked or bare_model(self.model).needs_teacher,
                'model.consistency_weight to 0, and leave predict_on out of '
                'val_cfg and test_cfg',
            ),
        )
        missing = [
            (hook.__name__, instead)
            for hook, needed, instead in needs
            if needed and not self._has_hook(hook)
        ]
        if missing:
            names = [name for name, _ in missing]
            entries = ', '.join(f'dict(type="{name}")' for name in names)
            raise UserError(
                f'custom_hooks has no {" and no ".join(names)}, which this '
                'config needs (a list of yours takes the place of that of '
                f'the base config); write {entries} into it, or to do '
                'without set '
                + ', and '.join(instead for _, instead in missing)
                + '.'
            )


def build_runner(
    cfg: Config,
    resume: bool | str = False,
    train: bool = True,
    synthetic: bool = False,
    checkpoint: str | None = None,
) -> MultiTaskRunner:
    """Expand a config and build its Runner, everything included.

    Args:
        cfg (Config): The experiment's config, not expanded.
        resume (bool or str): Go on from the newest checkpoint in
            ``work_dir`` (True), or from this one. Defaults to False.
        train (bool): Build what training needs too. Defaults to True.
        synthetic (bool): Train on made-up samples, without the data and
            without validation and test: to measure. Defaults to False.
        checkpoint (str, optional): What to test, where ``train`` is False: a
            file or URL. Defaults to None.

    Raises:
        UserError: If the config or its data cannot be used.
    """
    cfg = copy.deepcopy(cfg)
    in_stages = bool(train and not synthetic and cfg.get('continual'))
    if in_stages:
        if isinstance(resume, str):
            raise UserError(
                f'--resume {resume}: a training in stages (continual) finds '
                'the stage and its checkpoint itself; give --resume alone.'
            )
        cfg.resume = bool(resume or cfg.get('resume'))
    elif resume is not False:
        cfg.resume = True
        if resume is not True:
            cfg.load_from = resume
        elif newest := find_checkpoint(cfg.work_dir):
            # not the weights that this run started from
            cfg.load_from = newest
        else:
            cfg.resume = False
    if not train:
        cfg.load_from, cfg.resume = checkpoint, False
    if not train or synthetic:
        cfg.val_cfg = None
    if synthetic:
        cfg.test_cfg = None
    if not train:
        cfg.train_cfg = cfg.optim_wrapper = cfg.param_scheduler = None
    runner = MultiTaskRunner.from_cfg(cfg, synthetic)
    if train:
        runner.prepare()
    if resume is True and not runner.resumed and not in_stages:
        runner.logger.warning(
            f'There is no checkpoint in {cfg.work_dir} to resume from: '
            'training starts from scratch.'
        )
    return runner


def from_main_process(value: Any) -> Any:
    """Return the main process's value on all."""
    values = [value]
    broadcast_object_list(values)
    return values[0]


def _expand_wrapper(cfg: Config) -> None:
    """Set how the model is wrapped and its statistics are shared.

    Raises:
        UserError: If ``sync_bn`` is set where torch has none.
    """
    wrapper = dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.find_unused_parameters,
    )
    if not torch.cuda.is_available():
        if cfg.get('sync_bn'):
            raise UserError(
                f'sync_bn is "{cfg.sync_bn}", but synchronised BatchNorm '
                'runs on GPUs only; remove it from the config.'
            )
        wrapper['device_ids'] = None
    cfg.model_wrapper_cfg = dict(wrapper, **cfg.get('model_wrapper_cfg', {}))
    # First of all, since the teacher copies these statistics.
    hooks = cfg.get('custom_hooks') or []
    cfg.custom_hooks = [dict(type='SyncStatisticsHook'), *hooks]
