"""Optimizer groups."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import nn

from fx_mm.engine.optimizers.optim_wrapper import MultiTaskOptimWrapper
from fx_mm.models.param_groups import check_coverage
from fx_mm.registry import OPTIM_WRAPPER_CONSTRUCTORS
from fx_mm.tasks import all_kinds
from fx_mm.utils.checks import check_keys, check_number
from fx_mm.utils.errors import UserError
from fx_mm.utils.value_types import check_type, check_value

FUSED = ('Adam', 'AdamW')
"""Their fused kernels need no host to leave out a step that is not finite."""


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MergedOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Put every trainable parameter in exactly one group, in few groups.

    mmengine makes one group per parameter as soon as ``paramwise_cfg`` is
    set; here parameters with equal settings share a group, in the order of
    the model, which is what lets AdamW's foreach path work. Teacher
    parameters are excluded, and those of an adapter's base. Build it while
    everything else is trainable. The whole model is looked at: a parameter
    that no group has stops the training.

    ``paramwise_cfg`` understands ``custom_keys`` (name pattern to ``lr_mult``
    and ``decay_mult``; the longest pattern that occurs in the name wins),
    ``norm_decay_mult`` and ``bias_decay_mult``. With ``layer_decay_rate``
    each layer of the backbone learns at that much of the rate of the layer
    after it, if it has mmpretrain's ``get_layer_depth``, as
    :class:`PyramidViT` and ``mmpretrain.ConvNeXt`` have. Rates are named by
    the patterns and depths that multiply them, for the logs: see
    :attr:`MultiTaskOptimWrapper.rate_names`.

    Raises:
        UserError: If a parameter is frozen while the groups are built, or a
            pattern matches no parameter though the model has the branch.
    """

    paramwise_cfg: dict[str, Any]
    KEYS = (
        'custom_keys',
        'norm_decay_mult',
        'bias_decay_mult',
        'layer_decay_rate',
    )
    _rate_names: list[str]

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the wrapper over the student's parameters.

        Raises:
            UserError: If a parameter is in no group, of the optimizer or of
                what passes lock, or in several, or a setting makes no sense.
        """
        self._check_settings()
        model = getattr(model, 'module', model)
        # Merging happens in `add_params`, which runs only with this set.
        self.paramwise_cfg = self.paramwise_cfg or dict(custom_keys={})
        student: Any = getattr(model, 'student', model)
        prefer_fused(self.optimizer_cfg, next(student.parameters()).device)
        wrapper = super().__call__(student)
        check_trained(model, wrapper)
        if isinstance(wrapper, MultiTaskOptimWrapper):
            wrapper.param_names = {
                id(p): name for name, p in student.named_parameters()
            }
            wrapper.rate_names = self._rate_names
        return wrapper

    def add_params(
        self,
        params: list[dict[str, Any]],
        module: nn.Module,
        **kwargs: Any,
    ) -> None:
        """Fill ``params`` with the merged groups of ``module``."""
        custom = self.paramwise_cfg.get('custom_keys', {})
        base = set(getattr(module, 'base_weights', ()))
        unused = set(custom)
        groups: dict[tuple[float, float | None], dict[int, nn.Parameter]] = {}
        patterns: dict[float, set[str]] = {}
        for prefix, child in module.named_modules():
            for name, param in child.named_parameters(recurse=False):
                full = f'{prefix}.{name}' if prefix else name
                if not param.requires_grad and full not in base:
                    raise UserError(
                        f'Parameter "{full}" is frozen while the optimizer '
                        'is built, so it could never be released; lock it '
                        'with a lock pass instead.'
                    )
                matches = [key for key in custom if key in full]
                unused -= set(matches)
                if full in base:
                    continue
                key = max(matches, key=len, default='')
                lr, decay = self._settings(child, name, custom.get(key, {}))
                scale, depth = self._depth_scale(module, full)
                settings = lr * scale, decay
                if custom.get(key, {}).get('lr_mult', 1.0) != 1.0:
                    patterns.setdefault(settings[0], set()).add(key)
                if scale != 1:
                    label = f'depth_{depth}'
                    patterns.setdefault(settings[0], set()).add(label)
                groups.setdefault(settings, {})[id(param)] = param
        branches = [kind.branch for kind in all_kinds()]
        absent = [name for name in branches if not hasattr(module, name)]
        unused = {k for k in unused if not any(name in k for name in absent)}
        if unused:
            raise UserError(
                'optim_wrapper.paramwise_cfg.custom_keys has '
                f'"{sorted(unused)[0]}", which is in no parameter\'s name.'
            )
        for (lr, decay), members in groups.items():
            group = dict(params=list(members.values()), lr=lr)
            if decay is not None:
                group['weight_decay'] = decay
            params.append(group)
        self._rate_names = [
            '+'.join(sorted(patterns.get(lr, ()))) for lr, _ in groups
        ]

    def _check_settings(self) -> None:
        """Refuse what the optimizer cannot be built of."""
        where = 'optim_wrapper.optimizer'
        check_type(where, self.optimizer_cfg)
        check_number(f'{where}.lr', self.base_lr, 0)
        if self.base_wd is not None:
            check_number(f'{where}.weight_decay', self.base_wd, 0)
        where = 'optim_wrapper.paramwise_cfg'
        mults = dict(self.paramwise_cfg)
        custom = mults.pop('custom_keys', {})
        _check_mults(where, mults, self.KEYS)
        rate = mults.get('layer_decay_rate', 1.0)
        if not 0 < rate <= 1:
            raise UserError(
                f'{where}.layer_decay_rate is {rate}; it must be above 0 and '
                'at most 1, which is no decay.'
            )
        for pattern, mults in custom.items():
            place = f'{where}.custom_keys["{pattern}"]'
            _check_mults(place, mults, ('lr_mult', 'decay_mult'))

    def _depth_scale(self, model: nn.Module, name: str) -> tuple[float, int]:
        """Return the factor of a parameter's rate by its depth, and that."""
        rate = self.paramwise_cfg.get('layer_decay_rate', 1.0)
        if rate == 1:
            return 1.0, 0
        backbone: Any = getattr(model, 'backbone', None)
        if not hasattr(backbone, 'get_layer_depth'):
            raise UserError(
                'optim_wrapper.paramwise_cfg.layer_decay_rate is for '
                'backbones that know the depth of their layers (PyramidViT '
                'and those of mmpretrain), and '
                f'{type(backbone).__name__} does not; remove it, or take '
                'another backbone.'
            )
        depth, count = backbone.get_layer_depth(name, 'backbone.')
        return rate ** (count - 1 - depth), depth

    def _settings(
        self, module: nn.Module, name: str, custom: dict[str, float]
    ) -> tuple[float, float | None]:
        """Return (learning rate, weight decay) of one parameter."""
        lr = self.base_lr * custom.get('lr_mult', 1.0)
        if self.base_wd is None:
            return lr, None
        norms = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
        decay = custom.get('decay_mult', 1.0)
        if isinstance(module, norms):
            decay *= self.paramwise_cfg.get('norm_decay_mult', 1.0)
        elif name == 'bias':
            decay *= self.paramwise_cfg.get('bias_decay_mult', 1.0)
        return lr, self.base_wd * decay


def prefer_fused(optimizer: dict[str, Any], device: torch.device) -> None:
    """Take the fused kernel of Adam and AdamW on a GPU.

    Args:
        optimizer (dict): Config of the optimizer; ``fused`` is set, unless it
            says itself how it steps.
        device (torch.device): Where the weights are.
    """
    told = {'fused', 'foreach'} & optimizer.keys()
    if device.type == 'cuda' and optimizer['type'] in FUSED and not told:
        optimizer['fused'] = True


def _check_mults(where: str, mults: Any, known: Sequence[str]) -> None:
    check_value(where, mults, dict)
    check_keys(mults, known, where)
    for key, value in mults.items():
        check_number(f'{where}.{key}', value, 0)


def check_trained(model: nn.Module, wrapper: OptimWrapper) -> None:
    """Refuse parameters that would never learn, twice in a step, or unlocked.

    Args:
        model (nn.Module): The whole model, or a student alone.
        wrapper (OptimWrapper): Its optimizer.

    Raises:
        UserError: If a trainable parameter is not the student's, is in no
            group of the optimizer or in several, or in none of the groups
            that passes lock.
    """
    model = getattr(model, 'module', model)
    student: Any = getattr(model, 'student', model)
    count = Counter(
        id(param)
        for group in wrapper.optimizer.param_groups
        for param in group['params']
    )
    trained = {id(param) for param in student.parameters()}
    wrong = [
        name
        for name, param in model.named_parameters()
        if param.requires_grad
        and (count[id(param)] != 1 or id(param) not in trained)
    ]
    if wrong:
        raise UserError(
            f'{len(wrong)} trainable parameters are in no optimizer group, in '
            f"two, or not the student's: {', '.join(wrong[:5])}; only the "
            "student's are trained: put them there, or freeze them."
        )
    if hasattr(student, 'param_groups'):
        names = (name for name, _ in student.named_parameters())
        check_coverage(student.param_groups(), names)
