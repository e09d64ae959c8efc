"""Checkpoints of other projects: what they are and what they hold."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from fx_mm.models.backbones.vit_names import vit_family
from fx_mm.tasks import all_kinds
from fx_mm.utils.checkpoint import load_source
from fx_mm.utils.errors import UserError
from fx_mm.utils.model_weights import ONLY, STUDENT, TEACHER, find_sets

FAMILIES = dict(
    ark='Ark',
    foundation_x='Foundation X of the authors',
    mmdet_dino='DINO of mmdet',
    simmim='SimMIM',
    timm='Swin of timm',
    microsoft='Swin of Microsoft or an older timm',
    openmmlab='Swin of mmdet or mmpretrain',
    dinov2='ViT of DINOv2 or timm',
    dinov2_hf='ViT of DINOv2 by Hugging Face',
    eva02='ViT of EVA-02',
)
"""Families that are known, by key, and their names in reports."""
BLOCK = 'layers.0.blocks.0.attn.qkv.weight'


@dataclass(frozen=True)
class ForeignCheckpoint:
    """A checkpoint of another project.

    Attributes:
        path (str): File or URL.
        family (str): Key of :data:`FAMILIES`.
        weights (dict[str, dict]): Weights by name, for ``'teacher'`` and
            ``'student'`` or, of a file with one set, ``'only'``.
        classes (tuple[str]): Class names that the file states; may be empty.
    """

    path: str
    family: str
    weights: dict[str, dict[str, Tensor]]
    classes: tuple[str, ...] = ()

    @property
    def any_weights(self) -> dict[str, Tensor]:
        """dict[str, Tensor]: One of the sets, where any will do."""
        return next(iter(self.weights.values()))

    def choose(self, which: str | None = None) -> dict[str, dict[str, Tensor]]:
        """Return the sets that are wanted.

        Args:
            which (str, optional): ``'teacher'``, ``'student'`` or
                ``'both'``. Defaults to None: the teacher, or the only set.

        Returns:
            dict[str, dict]: The sets by ``'teacher'``, ``'student'`` or
            ``'only'``.

        Raises:
            UserError: If the file has no such set.
        """
        if which is None:
            which = ONLY if ONLY in self.weights else TEACHER
        names = [TEACHER, STUDENT] if which == 'both' else [which]
        lacking = [name for name in names if name not in self.weights]
        if lacking and ONLY in self.weights:
            raise UserError(
                f'Checkpoint "{self.path}" has one set of weights, which '
                'does not say whether they are student or teacher; leave out '
                '--weights.'
            )
        if lacking:
            raise UserError(
                f'Checkpoint "{self.path}" has no {lacking[0]}, only '
                f'{", ".join(self.weights)}; choose with --weights.'
            )
        return {name: self.weights[name] for name in names}


def read_foreign(path: str, trust: bool = False) -> ForeignCheckpoint:
    """Load a checkpoint of another project and find its family.

    Args:
        path (str): File or URL.
        trust (bool): Unpickle anything in it. Defaults to False.

    Raises:
        UserError: If it is not readable, could run code, or is of an unknown
            family.
    """
    loaded = load_source(path, trust)
    weights = find_sets(loaded, path)
    names = next(iter(weights.values()))
    family = _sniff(names, path)
    if (
        family == 'microsoft'
        and 'layers.0.downsample.norm.weight' not in names
    ):
        family = 'timm'
    return ForeignCheckpoint(path, family, weights, _stated_classes(loaded))


def _stated_classes(loaded: dict[str, Any]) -> tuple[str, ...]:
    meta = loaded.get('meta')
    entry = meta.get('dataset_meta') if isinstance(meta, dict) else None
    if not isinstance(entry, dict):
        return ()
    return tuple(entry.get('classes') or entry.get('CLASSES') or ())


def _sniff(names: Iterable[str], path: str) -> str:
    """Return the family that the names of the weights belong to."""
    names = list(names)

    def has(*starts: str) -> bool:
        return any(name.startswith(starts) for name in names)

    if has('student.', *(f'{kind.branch}.' for kind in all_kinds())):
        raise UserError(
            f'Checkpoint "{path}" is one of fx_mm already; give it to '
            'tools/test.py, or to load_from.'
        )
    vit = vit_family(names)
    if vit is not None:
        return vit[0]
    if any(name.endswith(('.logit_scale', '.q_bias')) for name in names):
        raise UserError(
            f'Checkpoint "{path}" is a Swin V2, which has another attention; '
            'give one of a Swin (V1).'
        )
    if has('backbone.0.', 'transformer.decoder.'):
        return 'foundation_x'
    if has('bbox_head.cls_branches.') and has('memory_trans_fc.'):
        return 'mmdet_dino'
    if f'encoder.{BLOCK}' in names:
        return 'simmim'
    if BLOCK in names:
        return 'ark' if has('omni_heads.') else 'microsoft'
    if has('stages.0.blocks.0.attn.w_msa', 'backbone.stages.0.blocks.0.attn'):
        return 'openmmlab'
    raise UserError(
        f'Checkpoint "{path}" is of no known kind (it has {names[0]} and '
        f'{len(names) - 1} more); known are {", ".join(FAMILIES.values())}.'
    )
