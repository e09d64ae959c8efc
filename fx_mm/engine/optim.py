"""Optimizer groups and the wrapper that steps them."""

import contextlib

import torch
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import nn

from ..registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS
from ..tasks import KINDS, check_keys
from ..utils.errors import UserError


@OPTIM_WRAPPERS.register_module()
class MultiTaskOptimWrapper(OptimWrapper):
    """Clip by task kind, and autocast on any device.

    mmengine's ``AmpOptimWrapper`` refuses a CPU, where bfloat16 autocast
    works as well.

    Args:
        optimizer (Optimizer): The optimizer.
        clip_grad (dict, optional): Task kind to the arguments of
            ``clip_grad_norm_``, such as ``dict(loc=dict(max_norm=0.1))``.
        amp_dtype (str, optional): ``bfloat16``. Defaults to None, full
            precision.

    Raises:
        UserError: If the type or a task kind is unknown.
    """

    def __init__(
        self,
        optimizer,
        clip_grad: dict | None = None,
        amp_dtype: str | None = None,
    ) -> None:
        super().__init__(optimizer)
        self.clip_by_kind = dict(clip_grad or {})
        check_keys(self.clip_by_kind, KINDS, 'optim_wrapper.clip_grad')
        self.clip_func = nn.utils.clip_grad_norm_
        self.grad_name = 'grad_norm'
        if amp_dtype not in (None, 'bfloat16'):
            raise UserError(
                f'optim_wrapper.amp_dtype is "{amp_dtype}"; it must be '
                '"bfloat16" or None.'
            )
        self.amp_dtype = torch.bfloat16 if amp_dtype else None

    def set_kind(self, kind: str) -> None:
        """Use the clipping of a task kind from now on."""
        self.clip_grad_kwargs = self.clip_by_kind.get(kind)

    def _clip_grad(self) -> None:
        # The base class reads the norm back to log it, which waits for the
        # device in every step.
        params = [
            p
            for group in self.optimizer.param_groups
            for p in group['params']
            if p.grad is not None
        ]
        self.clip_func(params, **self.clip_grad_kwargs)

    @contextlib.contextmanager
    def optim_context(self, model: nn.Module):
        """Autocast, and no gradient exchange while accumulating."""
        with super().optim_context(model):
            if self.amp_dtype is None:
                yield
                return
            device = next(model.parameters()).device.type
            with torch.autocast(device, dtype=self.amp_dtype):
                yield


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MergedOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Put every trainable parameter in exactly one group, in few groups.

    mmengine makes one group per parameter as soon as ``paramwise_cfg`` is
    set; here parameters with equal settings share a group, in the order of
    the model, which is what lets AdamW's foreach path work. The teacher is no
    student of the optimizer. Build it while everything is trainable.

    ``paramwise_cfg`` understands ``custom_keys`` (name pattern to ``lr_mult``
    and ``decay_mult``; the longest pattern that occurs in the name wins),
    ``norm_decay_mult`` and ``bias_decay_mult``.

    Raises:
        UserError: If a parameter is frozen while the groups are built, or a
            pattern matches no parameter.
    """

    KEYS = ('custom_keys', 'norm_decay_mult', 'bias_decay_mult')

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the wrapper over the student's parameters."""
        model = getattr(model, 'module', model)
        # Merging happens in `add_params`, which runs only with this set.
        self.paramwise_cfg = self.paramwise_cfg or dict(custom_keys={})
        return super().__call__(getattr(model, 'student', model))

    def add_params(self, params: list, module: nn.Module, **kwargs) -> None:
        """Fill ``params`` with the merged groups of ``module``."""
        for key in self.paramwise_cfg:
            if key not in self.KEYS:
                raise UserError(
                    f'Unknown key "{key}" in optim_wrapper.paramwise_cfg; '
                    f'known: {", ".join(self.KEYS)}.'
                )
        custom = self.paramwise_cfg.get('custom_keys', {})
        unused = set(custom)
        groups: dict = {}
        for prefix, child in module.named_modules():
            for name, param in child.named_parameters(recurse=False):
                full = f'{prefix}.{name}' if prefix else name
                if not param.requires_grad:
                    raise UserError(
                        f'Parameter "{full}" is frozen while the optimizer '
                        'is built, so it could never be released; lock it '
                        'with a lock pass instead.'
                    )
                matches = [key for key in custom if key in full]
                unused -= set(matches)
                key = max(matches, key=len, default=None)
                settings = self._settings(child, name, custom.get(key, {}))
                groups.setdefault(settings, {})[id(param)] = param
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
        self._check_coverage(params, module)

    def _settings(self, module: nn.Module, name: str, custom: dict) -> tuple:
        """Give (learning rate, weight decay) of one parameter."""
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

    @staticmethod
    def _check_coverage(params: list, module: nn.Module) -> None:
        count: dict = {}
        for group in params:
            for param in group['params']:
                count[id(param)] = count.get(id(param), 0) + 1
        wrong = [
            name
            for name, param in module.named_parameters()
            if count.get(id(param), 0) != 1
        ]
        if wrong:
            raise UserError(
                f'{len(wrong)} parameters are in no optimizer group or in '
                f'two: {", ".join(wrong[:5])}.'
            )
