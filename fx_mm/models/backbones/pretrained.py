"""Pretrained weights: safe to load, and never missing in silence."""

import logging
from typing import Any, cast

import torch
from mmengine.logging import print_log
from mmengine.model.weight_init import PretrainedInit, update_init_info
from mmengine.runner.checkpoint import get_torchvision_models
from torch import Tensor, nn

from fx_mm.registry import WEIGHT_INITIALIZERS
from fx_mm.utils.checkpoint import load_source
from fx_mm.utils.errors import UserError
from fx_mm.utils.model_weights import ModelWeights, model_weights, plain_name

TORCHVISION = 'torchvision://'
PLACES = ('', 'backbone.')
"""Prefixes of a backbone in a model."""
# What follows from the config, or counts batches.
UNLOADED = ('relative_position_index', 'num_batches_tracked')
LEAST_SHARE = 0.5
SHOWN = 8


def names_text(names: list[str]) -> str:
    """First names of a list and the count of the rest."""
    more = len(names) - SHOWN
    text = ', '.join(names[:SHOWN]) or 'none'
    return f'{text} and {more} more' if more > 0 else text


@WEIGHT_INITIALIZERS.register_module(name='Pretrained')
class PretrainedWeights(PretrainedInit):
    """Load a file or URL into a backbone, and say what was not loaded.

    It takes the place of mmengine's initializer of that name in fx_mm's
    scope; :func:`build_backbone` points to it. A file may hold the weights
    plain or below one of ``CONTAINERS``, and their names may start with
    ``WRAPPERS`` and ``backbone.``. Of a student and a teacher, that is taken
    which predicts, see :func:`model_weights`.

    Args:
        checkpoint (str): A file, a URL, or ``torchvision://resnet50``.
        prefix (str, optional): Take the names below this prefix; by default
            the prefix under which most fits. Defaults to None.
        map_location: As of ``torch.load``. Defaults to ``'cpu'``.
        trust (bool): Unpickle anything, for a file of a source you trust.
            Defaults to False.

    Raises:
        UserError: If the file cannot be read, or less than half of the
            backbone is in it.
    """

    def __init__(
        self,
        checkpoint: str,
        prefix: str | None = None,
        map_location: str = 'cpu',
        trust: bool = False,
    ) -> None:
        super().__init__(checkpoint, prefix, map_location)
        self.trust = trust

    def __call__(self, module: nn.Module) -> None:
        """Load into a module, in place."""
        source = str(self.checkpoint)
        found = model_weights(self._load(source), source)
        own = {
            name: value
            for name, value in module.state_dict().items()
            if not name.endswith(UNLOADED)
        }
        fitting, left = self._best(module, own, found)
        size = sum(own[name].numel() for name in fitting)
        share = size / max(sum(value.numel() for value in own.values()), 1)
        if share < LEAST_SHARE:
            raise UserError(
                f'Only {len(fitting)} of the {len(own)} weights of the '
                f'backbone {type(module).__name__} are in "{source}" with '
                f'the same shape (the backbone has {names_text([*own][:2])}, '
                f'the file {names_text([*found.state_dict][:2])}); give a '
                'file of the same architecture and size.'
            )
        with torch.no_grad():
            module.load_state_dict(fitting, strict=False)
        missing = [name for name in own if name not in fitting]
        print_log(
            f'{type(module).__name__}: {len(fitting)} of {len(own)} weights '
            f'loaded from "{source}"; not in the file or of another shape: '
            f'{names_text(missing)}; in the file but not used: '
            f'{names_text(left)}',
            logger='current',
            level=logging.WARNING if missing else logging.INFO,
        )
        if hasattr(module, '_params_init_info'):
            update_init_info(module, init_info=f'loaded from {source}')

    def _load(self, source: str) -> dict[Any, Any]:
        if source.startswith(TORCHVISION):
            name = source.removeprefix(TORCHVISION)
            urls = get_torchvision_models()
            if name not in urls:
                raise UserError(
                    f'torchvision has no model "{name}"; write for example '
                    f'{TORCHVISION}resnet50.'
                )
            source = urls[name]
        try:
            return load_source(source, self.trust)
        except UserError as error:
            text = str(error).replace(
                'load it with --trust', 'set trust=True in init_cfg'
            )
            raise UserError(text) from error

    def _best(
        self, module: nn.Module, own: dict[Any, Any], found: ModelWeights
    ) -> tuple[dict[str, Tensor], list[str]]:
        """Weights that fit, and names of the others; best prefix."""
        weights = found.state_dict
        best: tuple[dict[Any, Any], list[Any]] = ({}, [*weights])
        places: tuple[str, ...] = PLACES
        if self.prefix is not None:
            places = (plain_name(self.prefix),)
        roots = ('', f'{found.predict_on}.')
        for prefix in (root + place for root in roots for place in places):
            candidate = {
                name.removeprefix(prefix): value
                for name, value in weights.items()
                if name.startswith(prefix)
            }
            if candidate and hasattr(module, 'adapt_weights'):
                candidate = cast(Any, module).adapt_weights(candidate)
            fitting = {
                name: value
                for name, value in candidate.items()
                if name in own and own[name].shape == value.shape
            }
            if len(fitting) > len(best[0]):
                rest = [name for name in candidate if name not in fitting]
                rest += [x for x in weights if not x.startswith(prefix)]
                best = fitting, [x for x in rest if not x.endswith(UNLOADED)]
        return best
