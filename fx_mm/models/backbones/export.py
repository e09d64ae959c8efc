"""A trained backbone as the backbone of a model of another package."""

import copy
from collections.abc import Sequence
from typing import Any, cast

from mmengine.logging import print_log
from mmengine.model import BaseModule, ModuleDict
from torch import Tensor, nn

from fx_mm.config import refuse_other_types
from fx_mm.models.backbones.build import (
    NUM_STAGES,
    build_backbone,
    probe_backbone,
)
from fx_mm.models.layers import build_map_norm
from fx_mm.registry import MODELS
from fx_mm.utils.adapted_weights import check_merged
from fx_mm.utils.checkpoint import load_source
from fx_mm.utils.checks import check_choice
from fx_mm.utils.config_text import read_assignments
from fx_mm.utils.errors import UserError
from fx_mm.utils.model_weights import model_weights
from fx_mm.utils.predictors import PREDICTORS

# Name of the norms in a branch, and the stages they belong to by default.
NORMS = dict(
    localization=('localization.encoder.norms', (1, 2, 3)),
    classification=('classification.norms', (3,)),
)


def model_cfg_of(checkpoint: dict[str, Any], source: str) -> dict[Any, Any]:
    """Read the student's config out of a checkpoint, without executing it.

    Args:
        checkpoint (dict): A loaded checkpoint.
        source (str): Its path, for messages.

    Returns:
        dict: Config of :class:`FoundationX`.

    Raises:
        UserError: If there is none, it is no plain literal, or it names a
            type that nobody registered.
    """
    meta = checkpoint.get('meta')
    text = meta.get('cfg') if isinstance(meta, dict) else None
    try:
        model = read_assignments(text or '', only=('model',)).get('model')
    except (SyntaxError, ValueError, TypeError) as error:
        raise UserError(
            f'The config in checkpoint "{source}" cannot be read ({error}); '
            'give backbone=dict(...), the backbone of its config.'
        ) from error
    if isinstance(model, dict):
        model = model.get('student', model)
    if not isinstance(model, dict) or 'backbone' not in model:
        raise UserError(
            f'Checkpoint "{source}" does not hold the config of a '
            'FoundationX; give backbone=dict(...), the backbone of its '
            'config.'
        )
    refuse_other_types(model, f'Checkpoint "{source}"')
    return model


@MODELS.register_module()
class FoundationXBackbone(BaseModule):
    """The backbone of a trained FoundationX, for any OpenMMLab model.

    ``backbone=dict(type='fx_mm.FoundationXBackbone', checkpoint='x.pth')`` in
    a config of mmdet, mmseg or mmpretrain. The architecture comes from the
    config that the checkpoint holds, read and not executed. To load a model
    that was trained so where that file is gone, write ``checkpoint=None,
    backbone=dict(...)``; the log says with which config.

    Images are to be normalised as for FoundationX.

    Args:
        checkpoint (str, optional): File or URL of a checkpoint of fx_mm.
            Defaults to None: no weights.
        backbone (dict, optional): Config of the backbone; needed without a
            checkpoint, or if it holds no config. Defaults to None.
        predict_on (str, optional): ``'teacher'`` or ``'student'``. Defaults
            to None: as the checkpoint says.
        out_indices (Sequence[int]): Stages to give, of strides 4, 8, 16, 32.
            Defaults to (0, 1, 2, 3).
        output_norm (str, optional): Put the learnt norms of the
            ``'localization'`` or ``'classification'`` branch on the stages
            that have one. Defaults to None: raw maps, as segmentation sees
            them.
        norm_stages (Sequence[int], optional): Stages with such a norm; by
            default those of the checkpoint's config or, without one, of the
            branch. Defaults to None.
        init_cfg (dict, optional): Not used. Defaults to None.

    Raises:
        UserError: If the checkpoint is missing or does not fit.
    """

    def __init__(
        self,
        checkpoint: str | None = None,
        backbone: dict[str, Any] | None = None,
        predict_on: str | None = None,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        output_norm: str | None = None,
        norm_stages: Sequence[int] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        for key, value, known in (
            ('predict_on', predict_on, (None, *PREDICTORS)),
            ('output_norm', output_norm, (None, *NORMS)),
        ):
            check_choice(f'FoundationXBackbone {key}', value, known)
        out_indices = tuple(out_indices)
        if not set(out_indices) <= set(range(NUM_STAGES)):
            raise UserError(
                f'FoundationXBackbone out_indices is {out_indices}; the '
                f'stages are 0 to {NUM_STAGES - 1}.'
            )
        if checkpoint is None and backbone is None:
            raise UserError(
                'FoundationXBackbone needs checkpoint=... or '
                'backbone=dict(...).'
            )
        self.checkpoint = checkpoint
        self.predict_on = predict_on
        self.out_indices = out_indices
        self.output_norm = output_norm
        loaded = None if checkpoint is None else self._load(checkpoint)
        branch: dict[Any, Any] = {}
        if backbone is None:
            model = model_cfg_of(
                cast('dict[str, Any]', loaded), cast(str, checkpoint)
            )
            backbone = model['backbone']
            branch = model.get(output_norm) or {}
            print_log(
                f'Backbone of "{checkpoint}": {backbone}', logger='current'
            )
        backbone = dict(copy.deepcopy(backbone))
        for key in ('init_cfg', 'pretrained'):
            backbone.pop(key, None)
        self.backbone = build_backbone(backbone)
        self.norms = ModuleDict()
        if output_norm is not None:
            norm_cfg = branch.get('norm_cfg', dict(type='LN2d'))
            stages = branch.get('stages', NORMS[output_norm][1])
            self.norm_stages = tuple(
                stages if norm_stages is None else norm_stages
            )
            if norm_cfg is None or not set(self.norm_stages) & set(
                out_indices
            ):
                raise UserError(
                    f'FoundationXBackbone output_norm is {output_norm!r}, '
                    f'but that branch has no norm on stages {out_indices}; '
                    'leave it out or give other out_indices.'
                )
            channels, _ = probe_backbone(self.backbone)
            for stage in self.norm_stages:
                if stage in out_indices:
                    self.norms[str(stage)] = build_map_norm(
                        norm_cfg, channels[stage]
                    )
        if loaded is not None:
            self._fill(loaded)

    def init_weights(self) -> None:
        """Load the weights again: a model's own init runs over all layers."""
        if self.checkpoint is not None:
            self._fill(self._load(self.checkpoint))
        self._is_init = True

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Maps of the stages in ``out_indices``.

        Args:
            x (Tensor): Images (B, 3, H, W).

        Returns:
            tuple[Tensor]: Maps (B, C, H / stride, W / stride).
        """
        maps = self.backbone(x)
        return tuple(
            self._norm(stage, maps[stage]) for stage in self.out_indices
        )

    def _norm(self, stage: int, feature: Tensor) -> Tensor:
        if str(stage) not in self.norms:
            return feature
        # other packages may view what they take as contiguous
        return self.norms[str(stage)](feature).contiguous()

    @staticmethod
    def _load(checkpoint: str) -> dict[Any, Any]:
        try:
            return load_source(checkpoint)
        except UserError as error:
            if 'does not exist' not in str(error):
                raise
            raise UserError(
                f'FoundationXBackbone: checkpoint "{checkpoint}" does '
                'not exist; to load a model that already holds its weights, '
                'write checkpoint=None and backbone=dict(...), the backbone '
                'of its config.'
            ) from error

    def _fill(self, loaded: dict[Any, Any]) -> None:
        """Load backbone and norms; nothing may be missing."""
        weights = model_weights(
            loaded, cast(str, self.checkpoint), self.predict_on
        )
        self.predict_on = weights.predict_on
        state = weights.chosen
        check_merged(state, cast(str, self.checkpoint))
        self._load_part(self.backbone, state, 'backbone.')
        for stage, norm in self.norms.items():
            position = self.norm_stages.index(int(stage))
            name = NORMS[cast(str, self.output_norm)][0]
            self._load_part(norm, state, f'{name}.{position}.')

    def _load_part(
        self, module: nn.Module, state: dict[Any, Any], prefix: str
    ) -> None:
        part = {
            name.removeprefix(prefix): value
            for name, value in state.items()
            if name.startswith(prefix)
        }
        try:
            module.load_state_dict(part)
        except RuntimeError as error:
            detail = str(error).splitlines()[-1].strip()
            raise UserError(
                f'Checkpoint "{self.checkpoint}" has {len(part)} weights '
                f'"{prefix}*", which do not fit {type(module).__name__} '
                f'({detail[:160]}).'
            ) from error
