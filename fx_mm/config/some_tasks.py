"""What a config says of some of its tasks."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config

from fx_mm.tasks import all_kinds
from fx_mm.utils.checks import as_list


def keep_cycle(cfg: Config, tasks: Sequence[str]) -> None:
    """Keep what ``cycle`` says of some tasks, and of kinds.

    Args:
        cfg (Config): Changed in place.
        tasks (Sequence[str]): Those that are trained.
    """
    cycle = cfg.setdefault('cycle', {})
    for key in ('max_batches', 'order'):
        if isinstance(cycle.get(key), Mapping):
            cycle[key] = _only(cycle[key], tasks)
    if isinstance(cycle.get('lock'), list | tuple):
        cycle.lock = [each for each in cycle.lock if each[0] in tasks]


def keep_evaluation(cfg: Config, stage: str, tasks: Sequence[str]) -> None:
    """Evaluate some tasks alone; without any, not at all.

    Args:
        cfg (Config): Changed in place.
        stage (str): ``val_cfg`` or ``test_cfg``.
        tasks (Sequence[str]): Those that there are.
    """
    section = cfg.get(stage)
    asked = as_list((section or {}).get('tasks'))
    if asked is None:
        return
    section.tasks = [task for task in asked if task in tasks]
    if not section.tasks:
        cfg[stage] = None


def _only(entries: Mapping[str, Any], tasks: Sequence[str]) -> dict[str, Any]:
    """Keep what an entry per task or kind says of some tasks."""
    kinds = {kind.name for kind in all_kinds()}
    return {k: v for k, v in entries.items() if k in kinds or k in tasks}
