"""Ark and Ark+: a Swin, a projector and one head per dataset."""

import re
from collections.abc import Container, Mapping, Sequence

from torch import Tensor

from fx_mm.converters.converted_weights import ConvertedWeights
from fx_mm.converters.swin import fit_backbone, from_timm, unused_reason
from fx_mm.models.foundation_x import FoundationX
from fx_mm.tasks import ClassificationKind
from fx_mm.utils.errors import UserError

HEAD = re.compile(r'omni_heads\.(\d+)\.(weight|bias)')
NO_PROJECTOR = 'the model lacks the projector, behind which the heads are'


def head_widths(weights: Mapping[str, Tensor]) -> list[int]:
    """Return the number of outputs of each head, in their order.

    Args:
        weights (Mapping[str, Tensor]): Of Ark.
    """
    heads = {
        int(match[1]): len(value)
        for key, value in weights.items()
        if (match := HEAD.fullmatch(key))
    }
    return [heads[index] for index in sorted(heads)]


def projector_kind(weights: Container[str]) -> str:
    """Return ``'none'``, ``'linear'`` or ``'mlp'``, as in a config."""
    if 'projector.weight' in weights:
        return 'linear'
    return 'mlp' if 'projector.2.weight' in weights else 'none'


def convert_swin(
    weights: Mapping[str, Tensor],
    model: FoundationX,
    datasets: Sequence[str] = (),
    prefix: str = '',
) -> tuple[ConvertedWeights, str]:
    """Map a Swin of timm or Microsoft, SimMIM's or Ark's, to a model's names.

    Args:
        weights (Mapping[str, Tensor]): Of the source.
        model (FoundationX): Gives names and shapes; it is not changed.
        datasets (Sequence[str]): The dataset of each of Ark's heads.
            Defaults to none.
        prefix (str): What stands before the names of the Swin, in SimMIM's
            ``'encoder.'``. Defaults to nothing.

    Returns:
        tuple[ConvertedWeights, str]: Weights for ``model.load_state_dict`` and
        what is left, and a sentence about resized tables.

    Raises:
        UserError: If a weight is not known, or the architecture is another.
    """
    wanted = model.state_dict()
    result = ConvertedWeights()
    swin, own = {}, {}
    for original, value in weights.items():
        key = original.removeprefix(prefix)
        reason = unused_reason(key)
        if reason is not None:
            result.unused[original] = reason
        elif re.match(r'norm\.|projector\.|omni_heads\.\d', key):
            own[original] = key
        else:
            swin[key] = value
    by_key = from_timm(swin)
    originals = {name: prefix + key for key, (name, _) in by_key.items()}
    ours = model.backbone.state_dict()
    fitted, note = fit_backbone(dict(by_key.values()), ours)
    for name, value in fitted.items():
        if name not in ours:
            raise UserError(
                f'The weight "{originals[name]}" is not known from a Swin '
                'transformer; the checkpoint is another model.'
            )
        original = originals.get(name, name)
        result.put(original, f'backbone.{name}', value, wanted)
    usable = _check_projector(weights, model)
    for original, key in own.items():
        own_name = _own_name(key, model, datasets)
        if own_name is None:
            result.unused[original] = 'the model has no classification branch'
        elif not usable and not key.startswith('norm.'):
            result.unused[original] = NO_PROJECTOR
        elif (head := HEAD.fullmatch(key)) and own_name not in wanted:
            task = f'{datasets[int(head[1])]}/{ClassificationKind.name}'
            result.unused[original] = f'the model has no task {task}'
        else:
            result.put(original, own_name, weights[original], wanted)
    result.missing = tuple(n for n in wanted if n not in result.state_dict)
    return result, note


def _check_projector(
    weights: Mapping[str, Tensor], model: FoundationX
) -> bool:
    """Return whether the heads of the model read what the source's do.

    Raises:
        UserError: If both have a projector, but not the same.
    """
    branch = getattr(model, 'classification', None)
    if branch is None or not head_widths(weights):
        return False
    theirs = projector_kind(weights)
    ours = projector_kind(
        {f'projector.{name}' for name in branch.projector.state_dict()}
    )
    if 'none' != ours != theirs:
        raise UserError(
            f'The projector of the checkpoint is "{theirs}" and that of the '
            f'config "{ours}"; add --cfg-options '
            f'model.student.classification.projector={theirs}.'
        )
    if ours == theirs:
        check_pooling(model)
    return ours == theirs


def check_pooling(model: FoundationX) -> None:
    """Refuse a model whose heads see another vector than the authors'.

    Raises:
        UserError: If it does not average the last stage.
    """
    branch = model.classification
    last = len(branch.stages) == 1 and branch.stages[0] == 3
    if branch.pool != 'avg' or not last or len(branch.head_norms):
        raise UserError(
            'The heads of the checkpoint read the average of the last stage, '
            'but model.student.classification of the config says otherwise; '
            "set stages=(3,), pool='avg' and head_norm=False."
        )


def _own_name(
    key: str, model: FoundationX, datasets: Sequence[str]
) -> str | None:
    """Return fx_mm's name of a norm, projector or head."""
    branch = getattr(model, 'classification', None)
    if branch is None:
        return None
    if key.startswith('norm.'):
        return final_norm(model) + key.removeprefix('norm')
    head = HEAD.fullmatch(key)
    if head is None:
        return f'classification.{key}'
    return f'classification.heads.{datasets[int(head[1])]}.fc.{head[2]}'


def final_norm(model: FoundationX) -> str:
    """Return the name of the norm on the last stage, for classification."""
    stages = list(model.classification.stages)
    index = stages.index(3) if 3 in stages else len(stages)
    return f'classification.norms.{index}'
