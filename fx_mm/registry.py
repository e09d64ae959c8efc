"""Child registries of fx_mm.

Each one names the modules that register into it (``locations``), so with
``default_scope = 'fx_mm'`` or a ``fx_mm.`` prefix a type is found without an
import in the config. Classes of the other packages are written with their
scope: ``mmdet.SwinTransformer``.
"""

import functools
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from mmengine import registry as mm
from mmengine.registry import Registry

SCOPE = 'fx_mm'
PACKAGES = ('mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain', SCOPE)
"""Scopes that a config may name without a module of its own."""


def _child(name: str, parent: Registry, *locations: str) -> Registry:
    return Registry(
        name, parent=parent, scope=SCOPE, locations=list(locations)
    )


# Without a child of its own, a registry that is asked from this scope warns.
DATASETS = _child(
    'dataset',
    mm.DATASETS,
    'fx_mm.datasets.multi_task_dataset',
    'fx_mm.datasets.synthetic',
    'fx_mm.datasets.task_dataset',
)
DATA_SAMPLERS = _child(
    'data sampler', mm.DATA_SAMPLERS, 'fx_mm.datasets.samplers'
)
EVALUATOR = _child('evaluator', mm.EVALUATOR, 'fx_mm.evaluation')
FUNCTIONS = _child('function', mm.FUNCTIONS, 'fx_mm.datasets.collate')
HOOKS = _child('hook', mm.HOOKS, 'fx_mm.engine.hooks')
INFERENCERS = _child('inferencer', mm.INFERENCERS, 'fx_mm.apis')
LOG_PROCESSORS = _child('log processor', mm.LOG_PROCESSORS, 'fx_mm.engine')
LOOPS = _child('loop', mm.LOOPS, 'fx_mm.engine.loops')
METRICS = _child('metric', mm.METRICS, 'fx_mm.evaluation')
MODELS = _child('model', mm.MODELS, 'fx_mm.models')
MODEL_WRAPPERS = _child('model wrapper', mm.MODEL_WRAPPERS, 'fx_mm.models')
OPTIMIZERS = _child('optimizer', mm.OPTIMIZERS, 'fx_mm.engine.optimizers')
OPTIM_WRAPPERS = _child(
    'optimizer wrapper', mm.OPTIM_WRAPPERS, 'fx_mm.engine.optimizers'
)
OPTIM_WRAPPER_CONSTRUCTORS = _child(
    'optimizer wrapper constructor',
    mm.OPTIM_WRAPPER_CONSTRUCTORS,
    'fx_mm.engine.optimizers',
)
RUNNERS = _child(
    'runner',
    mm.RUNNERS,
    'fx_mm.engine.continual_runner',
    'fx_mm.engine.runner',
)
PARAM_SCHEDULERS = _child(
    'parameter scheduler', mm.PARAM_SCHEDULERS, 'fx_mm.engine.schedulers'
)
TASK_UTILS = _child('task util', mm.TASK_UTILS, 'fx_mm.models')
TRANSFORMS = _child('transform', mm.TRANSFORMS, 'fx_mm.datasets.transforms')
VISUALIZERS = _child('visualizer', mm.VISUALIZERS, 'fx_mm.visualization')
VISBACKENDS = _child('vis_backend', mm.VISBACKENDS, 'fx_mm.engine.trackers')
WEIGHT_INITIALIZERS = _child(
    'weight initializer', mm.WEIGHT_INITIALIZERS, 'fx_mm.models'
)

READERS = Registry('reader', scope=SCOPE, locations=['fx_mm.datasets.readers'])
"""Readers turn an annotation file into records (see datasets/readers)."""
RESULTS = Registry(
    'result', scope=SCOPE, locations=['fx_mm.visualization.results']
)
"""Typed predictions of a task kind: how they are drawn, saved, written."""


@functools.cache
def _parts() -> dict[str, type]:
    """Return all classes that register here, by name."""
    found: dict[str, type] = {}
    for registry in globals().values():
        if isinstance(registry, Registry):
            registry.import_from_location()
            found.update(registry.module_dict)
    return {k: v for k, v in found.items() if isinstance(v, type)}


def find_part(name: Any) -> type | None:
    """Find the class that a config's ``type`` names.

    Returns:
        type, optional: None for a class of another package, and for what is
        no name.
    """
    if not isinstance(name, str):
        return None
    return _parts().get(name.removeprefix(f'{SCOPE}.'))


def _lines() -> Iterator[tuple[Registry, ...]]:
    """Yield each registry with those that it inherits from.

    The usual ones come first: looking into others imports more.
    """
    for registry in (MODELS, TRANSFORMS, *globals().values()):
        if isinstance(registry, Registry):
            line = [registry]
            while line[-1].parent is not None:
                line.append(line[-1].parent)
            yield tuple(line)


def _holds(line: tuple[Registry, ...], name: str, fill: bool) -> bool:
    scope, dot, rest = name.rpartition('.')
    registries = list(line)
    if dot:
        known = (*line, *line[-1].children.values())
        registries = [each for each in known if each.scope == scope]
    for registry in registries:
        if fill:
            registry.import_from_location()
    return any(rest in registry.module_dict for registry in registries)


def is_registered(name: str) -> bool:
    """Return whether a config's ``type`` is the name of a registered part.

    The registries of mmengine take any other name for that of an object to
    import, ``os.system`` too; this imports the packages of
    :data:`PACKAGES` alone.

    Args:
        name (str): With or without a scope.
    """
    scope = name.rpartition('.')[0]
    if scope in PACKAGES:
        import_module(f'{scope}.registry')
    return any(
        _holds(line, name, fill) for fill in (False, True) for line in _lines()
    )
