"""The model of an experiment's config, with the weights of a checkpoint."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from fx_mm.config import PlainConfig, config_of_data, expand_config
from fx_mm.models.layers.region_guidance import RegionGuidance
from fx_mm.models.mean_teacher import MeanTeacher, with_tasks
from fx_mm.registry import MODELS
from fx_mm.tasks import Task, TaskTable
from fx_mm.utils.adapted_weights import check_merged
from fx_mm.utils.build_errors import build_part
from fx_mm.utils.checkpoint import check_meta, load_source, load_weights
from fx_mm.utils.config_text import read_assignments
from fx_mm.utils.device import find_device
from fx_mm.utils.errors import UserError
from fx_mm.utils.model_weights import ModelWeights, model_weights


def build_model(cfg: Config) -> MeanTeacher:
    """Build the model of a config for its active tasks.

    Args:
        cfg (Config): The experiment's config, expanded or not; it is not
            changed.

    Raises:
        UserError: If the config cannot be used.
    """
    init_default_scope('fx_mm')
    cfg = expand_config(cfg)
    return build_part(MODELS, with_tasks(cfg.model, cfg.task_table))


def load_model(
    cfg: Config,
    checkpoint: str,
    device: str | torch.device | None = None,
    trust: bool = False,
    predict_on: str | None = None,
) -> MeanTeacher:
    """Build the model of a config and load a checkpoint into it.

    Args:
        cfg (Config): The experiment's config.
        checkpoint (str): A file or URL.
        device (str | torch.device, optional): Defaults to None: a GPU if
            there is one.
        trust (bool): Unpickle anything in it. Defaults to False.
        predict_on (str, optional): ``teacher`` or ``student``. Defaults to
            None: as the checkpoint says.

    Returns:
        MeanTeacher: In eval mode.

    Raises:
        UserError: If the checkpoint is not readable, or lacks weights that
            an active task needs.
    """
    where = find_device(device)
    model = build_model(cfg)
    loaded = load_source(checkpoint, trust)
    load_all_weights(model, loaded, checkpoint, predict_on)
    return model.to(where).eval()


def open_model(
    cfg: Config | None,
    checkpoint: str,
    tasks: str | Sequence[str] | None = None,
    trust: bool = False,
    predict_on: str | None = None,
) -> tuple[MeanTeacher, list[Task], Config]:
    """Build the model of some tasks and load a checkpoint into it.

    Args:
        cfg (Config, optional): The experiment's config; None for the one
            that the checkpoint holds as text, which is read and not executed.
        checkpoint (str): A file or URL.
        tasks (str | Sequence[str], optional): Task names. Defaults to None:
            all of the config.
        trust (bool): Unpickle anything in it. Defaults to False.
        predict_on (str, optional): ``teacher`` or ``student``. Defaults to
            None: as the checkpoint says.

    Returns:
        tuple: The model in eval mode, the tasks in the order of their names,
        and the config for which it was built.

    Raises:
        UserError: If config or checkpoint cannot be used, or a task is
            unknown.
    """
    loaded = load_source(checkpoint, trust)
    if cfg is None:
        cfg = stored_config(loaded, checkpoint)
    cfg, chosen = _choose_tasks(cfg, tasks)
    model = build_model(cfg)
    load_all_weights(model, loaded, checkpoint, predict_on)
    return model.eval(), chosen, cfg


def _choose_tasks(
    cfg: Config, names: str | Sequence[str] | None
) -> tuple[Config, list[Task]]:
    """Return the config of a model for the tasks, and the tasks.

    Raises:
        UserError: If a task is unknown.
    """
    table = TaskTable.from_cfg(cfg)
    if not names:
        return cfg, list(table)
    names = [names] if isinstance(names, str) else names
    chosen = [table[name] for name in dict.fromkeys(names)]
    needed = dict.fromkeys(task.name for task in chosen)
    student = (cfg.get('model') or {}).get('student') or {}
    if student.get('region_guidance') is not None:
        # Masks are then guided by boxes, which the model has to predict.
        boxes = RegionGuidance.needed_tasks(chosen, table.names)
        needed.update(dict.fromkeys(boxes))
    cfg = Config(cfg.to_dict(), filename=cfg.filename)
    cfg.tasks = list(needed)
    return cfg, chosen


def load_all_weights(
    model: MeanTeacher,
    checkpoint: dict[str, Any],
    source: str,
    predict_on: str | None = None,
) -> None:
    """Load a checkpoint that must hold all that the model's tasks need.

    The model then holds what the checkpoint does, teacher, student or both.

    Args:
        model (MeanTeacher): The model.
        checkpoint (dict): A loaded checkpoint, or the weights alone.
        source (str): Its path, for messages.
        predict_on (str, optional): ``teacher`` or ``student``. Defaults to
            None: as the checkpoint says.

    Raises:
        UserError: Names the task, the classes or the weights that are
            missing or differ.
    """
    tasks: TaskTable = model.student.tasks
    check_meta(checkpoint, tasks, need_all=True)
    fill_model(model, model_weights(checkpoint, source, predict_on), source)


def fill_model(
    model: MeanTeacher,
    weights: ModelWeights,
    source: str,
    optional: Callable[[str], bool] = lambda name: False,
) -> None:
    """Load weights; the model then holds and predicts as they say.

    They have adapters merged, as far as that is possible; the model has none
    of those afterwards.

    Args:
        model (MeanTeacher): The model.
        weights (ModelWeights): Of a checkpoint.
        source (str): Its path, for messages.
        optional (Callable): Whether the model can do without a weight, by
            its name. Defaults to none.

    Raises:
        UserError: Counts and names the missing or misshapen weights.
    """
    model.drop_adapter()
    if model.student.adapter is None:
        check_merged(weights.state_dict, source)
    model.keep_predictors(weights.held)
    load_weights(model, weights.state_dict, source, optional)
    model.predict_on = weights.predict_on


def stored_config(checkpoint: dict[str, Any], source: str) -> PlainConfig:
    """Read the config that a checkpoint holds, without executing it.

    Args:
        checkpoint (dict): A loaded checkpoint.
        source (str): Its path, for messages.

    Returns:
        PlainConfig: The experiment's config, expanded or not.

    Raises:
        UserError: If there is none, it is not plain text of literals, or
            :func:`.config_of_data` refuses it.
    """
    meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
    text = meta.get('cfg') if isinstance(meta, dict) else None
    try:
        values = read_assignments(text or '')
    except (SyntaxError, ValueError, TypeError) as error:
        raise UserError(
            f'The config in checkpoint "{source}" cannot be read without '
            f'executing it ({error}); give the config too.'
        ) from error
    return config_of_data(values, f'Checkpoint "{source}"')
