"""One model of all sites' parts."""

from collections.abc import Sequence
from typing import Any

from mmengine.config import Config
from torch import Tensor

from fx_mm.config import FederatedPlan
from fx_mm.federated.exchange import Weights, check_fit, travelling
from fx_mm.federated.server import read_round
from fx_mm.models.loading import build_model
from fx_mm.utils.checkpoint import check_meta, load_source
from fx_mm.utils.errors import UserError


def merge(cfg: Config, server: str, sites: Sequence[str]) -> dict[str, Any]:
    """Join the server's shared weights and the sites' own parts.

    Args:
        cfg (Config): The experiment's config, with all sites.
        server (str): ``round_N.pth`` of the server.
        sites (Sequence[str]): A checkpoint of each site.

    Returns:
        dict: A checkpoint of the whole model: a student, and a teacher if
        the server has one.

    Raises:
        UserError: If a task is in no checkpoint or in two, its classes
            differ, or sites have norms of their own.
    """
    plan = FederatedPlan(cfg)
    if not plan.share_norms:
        raise UserError(
            'federated.share_norms is False, so each site has norms of its '
            'own and no one model holds them all; use the federated.pth of '
            'each site.'
        )
    content = read_round(server)
    model = build_model(cfg)
    student = model.student
    owners: dict[str, str] = {}
    loaded = {path: load_source(path) for path in sites}
    for path, checkpoint in loaded.items():
        check_meta(checkpoint, student.tasks)
        for entry in checkpoint['meta'].get('tasks', ()):
            task = entry['task']
            if task in owners:
                raise UserError(
                    f'{path} and {owners[task]} both have "{task}"; give one '
                    'checkpoint of each site.'
                )
            owners[task] = path
    missing = [task for task in student.task_names if task not in owners]
    if missing:
        raise UserError(
            f'No checkpoint has a head for {", ".join(missing)}; give one of '
            'each site.'
        )
    parts: dict[str, Weights] = {'student': content['weights']}
    if content['teacher'] is not None:
        parts = {'teacher': content['teacher'], **parts}
    names = travelling(student)
    state: dict[str, Tensor] = {}
    for predictor, shared in parts.items():
        whole = student.state_dict() | {
            n: shared[n] for n in names if n in shared
        }
        check_fit(shared, {n: whole[n] for n in names}, server, whole=True)
        for group in student.param_groups():
            if group.task is None:
                continue
            path = owners[group.task]
            weights = loaded[path]['state_dict']
            for name in whole:
                if group.owns(name):
                    key = f'{predictor}.{name}'
                    if key not in weights:
                        raise UserError(f'{path} lacks "{key}".')
                    whole[name] = weights[key]
        state |= {
            f'{predictor}.{name}': value.clone()
            for name, value in whole.items()
        }
    meta = dict(
        tasks=[task.meta for task in student.tasks],
        predict_on=next(iter(parts)),
        cfg=cfg.pretty_text,
        rounds=content['round'],
    )
    return dict(state_dict=state, meta=meta)
