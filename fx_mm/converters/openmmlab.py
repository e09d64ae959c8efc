"""mmdet's DINO, and the backbones of mmdet and mmpretrain."""

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fx_mm.converters.ark import final_norm
from fx_mm.converters.converted_weights import ConvertedWeights
from fx_mm.converters.swin import SwinShape, fit_backbone
from fx_mm.models.branches import LocalizationBranch
from fx_mm.models.foundation_x import FoundationX

CLASS_BRANCHES = 'cls_branches'
BRANCHES = {CLASS_BRANCHES: 'cls_branch', 'reg_branches': 'box_branch'}
"""Branches of a head in mmdet, and the name of one of them in fx_mm."""
BRANCH = re.compile(rf'bbox_head\.({"|".join(BRANCHES)})\.(\d+)\.(.+)')
LABELS = 'dn_query_generator.label_embedding.weight'
SHARED = ('neck.', 'encoder.', 'level_embed')
OWN = {
    'decoder.': 'decoder.',
    'memory_trans_fc.': 'selection.0.',
    'memory_trans_norm.': 'selection.1.',
    'query_embedding.': 'queries.',
}
"""Names in mmdet's DINO, and in the own part of a dataset."""
MAY_BE_SHARED = ('decoder.', 'queries.')


def convert_openmmlab(
    weights: Mapping[str, Tensor],
    model: FoundationX,
    alike: Sequence[str] = (),
) -> tuple[ConvertedWeights, str]:
    """Map mmdet's DINO, or a backbone of mmdet or mmpretrain, to a model.

    Decoder, selection layers and head of a DINO go to every localization
    task, or to the shared decoder. Its class outputs and label embedding
    belong to its classes: a task takes them if it has the same.

    Args:
        weights (Mapping[str, Tensor]): A detector's or classifier's weights,
            or those of a backbone alone.
        model (FoundationX): Gives names and shapes; it is not changed.
        alike (Sequence[str]): Datasets whose boxes have the classes of the
            detector, in its order. Defaults to none.

    Returns:
        tuple[ConvertedWeights, str]: Weights for ``model.load_state_dict`` and
        what is left, and a sentence about resized tables.

    Raises:
        UserError: If the backbone is a Swin of another size.
    """
    wanted = model.state_dict()
    result = ConvertedWeights()
    backbone, rest = {}, {}
    plain = not any(key.startswith('backbone.') for key in weights)
    for key, value in weights.items():
        name = key if plain else key.removeprefix('backbone.')
        norm = re.fullmatch(r'norm(\d)\.(.+)', name)
        if not plain and name == key:
            rest[key] = value
        elif norm:
            norms = _norm_name(int(norm[1]), model, weights, key)
            result.put(key, f'{norms}.{norm[2]}', value, wanted)
        else:
            backbone[name] = value
    ours = model.backbone.state_dict()
    note = ''
    if SwinShape.of(backbone):
        backbone, note = fit_backbone(backbone, ours)
    for name, value in backbone.items():
        result.put(
            name if plain else f'backbone.{name}',
            f'backbone.{name}',
            value,
            wanted,
        )
    if 'memory_trans_fc.weight' in rest:
        _convert_dino(rest, model, alike, wanted, result)
    else:
        result.unused.update(dict.fromkeys(rest, 'not of the backbone'))
    result.missing = tuple(n for n in wanted if n not in result.state_dict)
    return result, note


def _norm_name(
    stage: int, model: FoundationX, weights: Mapping[str, Tensor], key: str
) -> str:
    """Return fx_mm's name of the norm on an output of the backbone.

    A detector's belong to the localization branch; one norm alone, on the
    last stage, is that of a classifier.
    """
    before = key[: key.index('norm')]
    several = any(f'{before}norm{i}.weight' in weights for i in range(3))
    if not several and hasattr(model, 'classification'):
        return final_norm(model)
    if not hasattr(model, 'localization'):
        return f'localization.encoder.norms.{stage}'
    stages = model.localization.stages
    index = stages.index(stage) if stage in stages else len(stages)
    return f'localization.encoder.norms.{index}'


def _convert_dino(
    weights: dict[str, Tensor],
    model: FoundationX,
    alike: Sequence[str],
    wanted: Mapping[str, Tensor],
    result: ConvertedWeights,
) -> None:
    """Map all of a DINO but its backbone."""
    branch = getattr(model, 'localization', None)
    if branch is None:
        reason = 'the model has no localization branch'
        result.unused.update(dict.fromkeys(weights, reason))
        return
    alike = [n for n in branch.tasks if n in alike and _is_plain(branch, n)]
    for key, value in weights.items():
        if key.startswith(SHARED):
            result.put(key, f'localization.encoder.{key}', value, wanted)
            continue
        targets: list[str] = []
        reason = 'not known from DINO'
        head = BRANCH.fullmatch(key)
        if key == LABELS:
            targets = _label_targets(branch, alike)
            reason = 'its rows are other classes'
        elif head:
            targets, reason = _head_targets(head, weights, branch, alike)
        for start, ours in OWN.items():
            if key.startswith(start):
                own = ours + key.removeprefix(start)
                targets = [
                    f'localization.tasks.{n}.{own}' for n in branch.tasks
                ]
                if own.startswith(MAY_BE_SHARED):
                    shared = f'localization.{own}'
                    targets = [shared] if shared in wanted else targets
        if not targets:
            result.unused[key] = reason
        for name in targets:
            result.put(key, name, value, wanted)


def _is_plain(branch: LocalizationBranch, dataset: str) -> bool:
    """Return whether each output of a task's head is one class, from 0."""
    head = branch.tasks[dataset].head
    return head.first_label == 0 and head.num_logits == head.num_classes


def _label_targets(
    branch: LocalizationBranch, alike: Sequence[str]
) -> list[str]:
    """Return fx_mm's names of a DINO's label embedding."""
    if branch.label_embedding is None:
        return [
            f'localization.tasks.{n}.label_embedding.weight' for n in alike
        ]
    same = len(alike) == len(branch.tasks)
    return ['localization.label_embedding.weight'] if same else []


def _head_targets(
    head: re.Match[str],
    weights: Mapping[str, Tensor],
    branch: LocalizationBranch,
    alike: Sequence[str],
) -> tuple[list[str], str]:
    """Return fx_mm's names of a weight of a DINO's head, and why none."""
    branches, layer, rest = head[1], int(head[2]), head[3]
    last = max(
        int(match[2]) for key in weights if (match := BRANCH.fullmatch(key))
    )
    name = BRANCHES[branches]
    by_class = branches == CLASS_BRANCHES
    datasets = [*alike] if by_class else [*branch.tasks]
    reason = 'it is of other classes'
    if layer == last:
        name = f'proposal_{name}'
    else:
        key = f'bbox_head.{branches}.{{}}.{rest}'
        first = weights[key.format(0)]
        if any(
            not torch.equal(weights[key.format(i)], first) for i in range(last)
        ):
            datasets = []
            reason = 'each of its layers has its own, here they share one'
    return (
        [f'localization.tasks.{n}.head.{name}.{rest}' for n in datasets],
        reason,
    )
