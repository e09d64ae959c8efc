"""From a checkpoint of another project to one of fx_mm."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor

from fx_mm.config import expand_config
from fx_mm.converters.ark import (
    check_pooling,
    convert_swin,
    head_widths,
    projector_kind,
)
from fx_mm.converters.classes import (
    ARK_6,
    BOX_CLASSES,
    CLASSES,
    MASK_CLASSES,
    describe_heads,
    order_ark_heads,
)
from fx_mm.converters.converted_weights import ConvertedWeights
from fx_mm.converters.coverage import (
    GroupCoverage,
    check_missing,
    count_groups,
    format_report,
)
from fx_mm.converters.files import write_checkpoint
from fx_mm.converters.foreign_checkpoint import FAMILIES, ForeignCheckpoint
from fx_mm.converters.foundation_x import convert_foundation_x
from fx_mm.converters.openmmlab import convert_openmmlab
from fx_mm.converters.vit import convert_vit
from fx_mm.models.backbones import FusedSwinTransformer
from fx_mm.models.backbones.vit_names import RULES
from fx_mm.models.foundation_x import FoundationX
from fx_mm.registry import MODELS
from fx_mm.tasks import (
    ClassificationKind,
    LocalizationKind,
    SegmentationKind,
    TaskTable,
)
from fx_mm.utils.build_errors import build_part
from fx_mm.utils.checkpoint import check_finite, check_meta
from fx_mm.utils.errors import UserError
from fx_mm.utils.model_weights import ONLY
from fx_mm.utils.predictors import PREDICTORS
from fx_mm.version import __version__

ARK_CONFIG = 'ark/ark6_swin-b_200c.py'
ARK_PLUS_CONFIG = 'ark/ark-plus_swin-l-768_50c.py'
FOUNDATION_X_CONFIG = 'foundation_x/foundation-x_swin-b_released.py'
SWIN_B_DIMS, SWIN_L_DIMS = 128, 192
SHIFTING = ('foundation_x', 'mmdet_dino')
"""Families whose last stage shifts its windows whatever the image size."""
MASK_ORDER_NOTE = (
    'chestx_det/seg: the authors read the 13 masks of an image in the order '
    'of the files in a folder, so nothing says which output is which class; '
    'check the names on a few images.'
)


def default_config(
    source: ForeignCheckpoint, datasets: Sequence[str] | None = None
) -> tuple[str, dict[str, Any]]:
    """Name the shipped config that a published checkpoint belongs to.

    Args:
        source (ForeignCheckpoint): The checkpoint.
        datasets (Sequence[str], optional): The dataset of each of Ark's
            heads. Defaults to the published ones.

    Returns:
        tuple[str, dict]: Path below ``configs/``, and options to merge.

    Raises:
        UserError: If there is none.
    """
    weights = source.any_weights
    dims = len(weights.get('patch_embed.proj.weight', ()))
    if source.family == 'foundation_x':
        return FOUNDATION_X_CONFIG, {}
    configs = {SWIN_B_DIMS: ARK_CONFIG, SWIN_L_DIMS: ARK_PLUS_CONFIG}
    if source.family != 'ark' or dims not in configs:
        raise UserError(
            f'Checkpoint "{source.path}" ({FAMILIES[source.family]}) belongs '
            'to no config of its own; name the config of the model that it is '
            'for with --config.'
        )
    names = order_ark_heads(head_widths(weights), datasets)
    others = [name for name in names if name not in ARK_6]
    if others:
        raise UserError(
            f'Checkpoint "{source.path}" has a head for {others[0]}, which '
            f'{configs[dims]} lacks; give a config with it by --config.'
        )
    options: dict[str, Any] = {}
    if names != ARK_6:
        kind = ClassificationKind.name
        options['tasks'] = [f'{name}/{kind}' for name in names]
    if projector_kind(weights) != 'linear':
        key = 'model.student.classification.projector'
        options[key] = projector_kind(weights)
    return configs[dims], options


@dataclass
class Imported:
    """Result of :func:`import_checkpoint`.

    Attributes:
        source (ForeignCheckpoint): Where the weights are from.
        checkpoint (dict): ``state_dict`` and ``meta``, for ``load_from`` and
            the tools.
        rows (list[GroupCoverage]): How much of each parameter group it holds.
        unused (dict[str, str]): Key of the source to why it is not used.
        notes (list[str]): Sentences that the user should read.
    """

    source: ForeignCheckpoint
    checkpoint: dict[str, Any]
    rows: list[GroupCoverage]
    unused: dict[str, str]
    notes: list[str] = field(default_factory=list)

    def report(self) -> str:
        """Return the tables and notes as text."""
        sets = ' and '.join(self.source_sets)
        lines = [
            f'{self.source.path}: {FAMILIES[self.source.family]}, {sets}',
            '',
            format_report(self.rows, self.unused),
        ]
        if self.notes:
            lines += ['', *(f'note: {note}' for note in self.notes)]
        return '\n'.join(lines)

    @property
    def source_sets(self) -> list[str]:
        """list[str]: Which of the source's weights they are."""
        return [
            'its only weights' if name == ONLY else f'the {name}'
            for name in self.checkpoint['meta']['imported']['weights']
        ]

    def check(self, allow_missing: Sequence[str] = ()) -> None:
        """Refuse a checkpoint that holds less than the model needs.

        Raises:
            UserError: See :func:`check_missing`.
        """
        check_missing(self.rows, allow_missing, self.source.path)

    def save(self, path: str | Path) -> None:
        """Write the checkpoint, whole or not at all."""
        write_checkpoint(self.checkpoint, path)


def import_checkpoint(
    source: ForeignCheckpoint,
    cfg: Config,
    weights: str | None = None,
    datasets: Sequence[str] | None = None,
) -> Imported:
    """Map a checkpoint of another project to the model of a config.

    Args:
        source (ForeignCheckpoint): Result of :func:`read_foreign`.
        cfg (Config): The experiment's config.
        weights (str, optional): ``'teacher'``, ``'student'`` or ``'both'``.
            Defaults to None: the teacher, or the only set.
        datasets (Sequence[str], optional): The dataset of each of Ark's
            heads. Defaults to the published ones.

    Raises:
        UserError: If the checkpoint is not what its family's are, its heads
            have other classes than the config's, or weights are not finite.
    """
    chosen = source.choose(weights)
    if datasets and source.family != 'ark':
        raise UserError(
            f'--datasets names the heads of an Ark, but "{source.path}" is '
            f'{FAMILIES[source.family]}; leave it out.'
        )
    init_default_scope('fx_mm')
    expanded = expand_config(cfg)
    table = expanded.task_table
    model = build_part(MODELS, dict(expanded.model.student, tasks=table))
    state_dict: dict[str, Tensor] = {}
    for role, tensors in chosen.items():
        check_finite(tensors, source.path)
        result, notes = _convert(source, tensors, model, table, datasets)
        prefix = f'{role}.' if len(chosen) > 1 else ''
        wanted = model.state_dict()
        state_dict |= {
            prefix + name: value.to(wanted[name].dtype).contiguous()
            for name, value in result.state_dict.items()
        }
    model.load_state_dict(result.state_dict, strict=False)
    notes.append(_shift_note(source, model, table))
    rows = count_groups(model, result.state_dict)
    complete = {
        row.name.rsplit('/', 1)[0]
        for row in rows
        if row.name.endswith('/head') and not row.missing
    }
    meta = dict(
        epoch=0,
        iter=0,
        cfg=expanded.pretty_text,
        fx_mm_version=__version__,
        tasks=[task.meta for task in table if task.name in complete],
        imported=dict(
            file=Path(source.path).name,
            family=source.family,
            weights=[*chosen],
        ),
    )
    roles = [role for role in PREDICTORS if role in chosen]
    if roles:
        meta['predict_on'] = roles[0]
    checkpoint = dict(meta=meta, state_dict=state_dict)
    return Imported(
        source, checkpoint, rows, result.unused, [n for n in notes if n]
    )


def _convert(
    source: ForeignCheckpoint,
    tensors: dict[str, Tensor],
    model: FoundationX,
    table: TaskTable,
    datasets: Sequence[str] | None,
) -> tuple[ConvertedWeights, list[str]]:
    """Run the family's converter; return its result and notes."""
    if source.family == 'foundation_x':
        heads = describe_heads(
            {
                ClassificationKind: CLASSES,
                LocalizationKind: BOX_CLASSES,
                SegmentationKind: MASK_CLASSES,
            }
        )
        check_meta(dict(meta=dict(tasks=heads)), table)
        if hasattr(model, 'classification'):
            check_pooling(model)
        masks = any(
            task.dataset == 'chestx_det' and task.kind is SegmentationKind
            for task in table
        )
        result = convert_foundation_x(tensors, model)
        return result, [MASK_ORDER_NOTE] if masks else []
    if source.family in ('mmdet_dino', 'openmmlab'):
        alike = [
            task.dataset
            for task in table
            if task.kind is LocalizationKind and task.classes == source.classes
        ]
        result, note = convert_openmmlab(tensors, model, alike)
        return result, [note]
    if source.family in RULES:
        return convert_vit(tensors, model)
    names: Sequence[str] = ()
    if source.family == 'ark':
        names = order_ark_heads(head_widths(tensors), datasets)
        known = {name: CLASSES[name] for name in names if name in CLASSES}
        heads = describe_heads({ClassificationKind: known})
        check_meta(dict(meta=dict(tasks=heads)), table)
    prefix = 'encoder.' if source.family == 'simmim' else ''
    result, note = convert_swin(tensors, model, names, prefix)
    order = ''
    if names and not datasets:
        order = (
            f'the heads are taken for {", ".join(names)}, the published '
            'order, which the file does not state; --datasets names another.'
        )
    return result, [order, note]


def _shift_note(
    source: ForeignCheckpoint, model: FoundationX, table: TaskTable
) -> str:
    """Return whether the last stage attends as it did in the source."""
    backbone = model.backbone
    if not isinstance(backbone, FusedSwinTransformer):
        return ''
    attention = [block.attn for block in backbone.stages[-1].blocks]
    window = attention[0].window_size
    ours = any(each.shift_size for each in attention)
    sizes = sorted({task.config['img_size'] for task in table})
    stride = 2 ** (len(backbone.stages) + 1)
    small = [size for size in sizes if math.ceil(size / stride) <= window]
    value = f'shift_last_stage={ours}'
    if source.family == 'openmmlab':
        return (
            f'{value} in the config: mmdet shifts the windows of the last '
            'stage and mmpretrain does not where it is one window; the '
            'checkpoint does not say which it is from.'
        )
    if source.family in SHIFTING:
        differ, theirs = not ours, 'shifts its windows at any size'
    else:
        differ = bool(small) if ours else len(small) < len(sizes)
        theirs = 'shifts its windows where it is larger than one'
    sides = ', '.join(map(str, sizes))
    start = (
        f'{value} in the config: the last stage of '
        f'{FAMILIES[source.family]} {theirs} (window {window}, stride '
        f'{stride}, images of {sides} px), '
    )
    if not differ:
        return start + 'and the model does the same.'
    return start + (
        'but the model attends otherwise; for the meaning that the weights '
        f'had, set model.student.backbone.shift_last_stage={not ours}.'
    )
