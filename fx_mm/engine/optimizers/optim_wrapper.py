"""The wrapper that steps the optimizer."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import nn
from torch.optim import Optimizer

from fx_mm.engine.optimizers.gradient_surgery import GradientSurgery
from fx_mm.engine.optimizers.state_by_kind import StateByKind
from fx_mm.registry import OPTIM_WRAPPERS
from fx_mm.tasks import all_kinds, split_name
from fx_mm.utils.checks import check_keys, check_number
from fx_mm.utils.dist import sum_over_ranks
from fx_mm.utils.errors import UserError

AMP_DTYPES = ('bfloat16', 'float16')
BY_FLAG = (torch.optim.Adam, torch.optim.AdamW)
"""Their fused kernels leave a step out by a flag on the device. (So does
SGD's, but its momentum is not initialised if that is the first step.)"""
MAX_OVERFLOWS = 20
"""In a row; the scale is then a millionth of what it was."""
NOTHING_SKIPPED = torch.tensor(False)


@OPTIM_WRAPPERS.register_module()
class MultiTaskOptimWrapper(OptimWrapper):
    """Clip by task kind, autocast on any device, skip what is not finite.

    mmengine's ``AmpOptimWrapper`` refuses a CPU, where autocast works as
    well. Gradients are accumulated within a pass and flushed at its end, so
    none of a task leaks into the next one. In a mixed pass the gradients of
    several tasks may make one step: it is clipped by the strictest of their
    kinds. A step whose gradients are not finite changes nothing; with a fused
    Adam or AdamW the host does not wait for the device to know it.

    Args:
        optimizer (Optimizer): The optimizer.
        accumulative_counts (int): Iterations whose gradients make one step.
            Defaults to 1.
        clip_grad (dict, optional): Task kind to the arguments of
            ``clip_grad_norm_``, such as ``dict(loc=dict(max_norm=0.1))``.
        amp_dtype (str, optional): ``bfloat16``, or ``float16`` with a
            gradient scaler. Defaults to None, full precision.
        state_by_kind (bool): Keep the optimizer's running averages apart for
            each task kind, see :class:`StateByKind`. Defaults to False.
        aggregator (str | dict, optional): Combines the gradients of the tasks
            of one update, see :class:`GradientSurgery`; in a mixed order with
            ``accumulative_counts``. Defaults to None, their sum.

    Attributes:
        last_skipped (Tensor): Whether the last call of :meth:`update_params`
            left a step out because loss or gradients were not finite, a bool
            without dimensions; perhaps on the device, where reading it waits.
            The scaler of float16 makes gradients overflow now and then, which
            does not count until it goes on for long.
        last_norm (Tensor, optional): Norm of the last step's gradients before
            clipping, on their device: that of ``clip_grad``, else L2. None
            before the first.
        gradient_terms (list[Callable]): Called in each step before clipping,
            when gradients have their true scale; they may change them.
        param_names (dict): Id of a parameter to its name, by which the state
            of the optimizer is saved and found again.
        rate_names (list[str]): For each parameter group, the patterns of
            ``custom_keys`` that multiply its rate; '' for the base rate.

    Raises:
        UserError: If the type or a task kind is unknown, or an option does
            not fit the order.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        accumulative_counts: int = 1,
        clip_grad: dict[str, Any] | None = None,
        amp_dtype: str | None = None,
        state_by_kind: bool = False,
        aggregator: str | dict[str, Any] | None = None,
    ) -> None:
        check_number(
            'optim_wrapper.accumulative_counts',
            accumulative_counts,
            1,
            whole=True,
        )
        super().__init__(optimizer, accumulative_counts)
        self.clip_by_kind = dict(clip_grad or {})
        known = [kind.name for kind in all_kinds()]
        check_keys(self.clip_by_kind, known, 'optim_wrapper.clip_grad')
        for kind, clip in self.clip_by_kind.items():
            if clip is None:
                continue
            where = f'optim_wrapper.clip_grad.{kind}'
            if not isinstance(clip, dict) or 'max_norm' not in clip:
                raise UserError(
                    f'{where} is {clip!r}; write dict(max_norm=0.1).'
                )
            check_keys(clip, ('max_norm', 'norm_type'), where)
        if amp_dtype not in (None, *AMP_DTYPES):
            raise UserError(
                f'optim_wrapper.amp_dtype is "{amp_dtype}"; it must be '
                f'{" or ".join(AMP_DTYPES)}, or None.'
            )
        self.amp_dtype = getattr(torch, amp_dtype) if amp_dtype else None
        device = optimizer.param_groups[0]['params'][0].device.type
        self.scaler = torch.amp.GradScaler(
            device, enabled=amp_dtype == 'float16'
        )
        self.last_skipped = NOTHING_SKIPPED
        self.last_norm: torch.Tensor | None = None
        self._overflows: torch.Tensor | int = 0
        self._loss: torch.Tensor | float = 0.0
        self.gradient_terms: list[Callable[[], None]] = []
        self.param_names: dict[int, str] = {}
        self.rate_names = [''] * len(optimizer.param_groups)
        # as configured, before any scheduler
        self._settings = self._current_settings()
        self._states = StateByKind(optimizer) if state_by_kind else None
        self._surgery = (
            None
            if aggregator is None
            else GradientSurgery(optimizer, aggregator)
        )
        if self._surgery and accumulative_counts == 1:
            raise UserError(
                'optim_wrapper.aggregator combines the tasks of an update, '
                'which has one alone; set optim_wrapper.accumulative_counts.'
            )
        self._task = ''

    def begin_pass(self, kind: str | None, done: int, length: int) -> None:
        """Prepare for the rest of a pass.

        Args:
            kind (str, optional): The task kind, whose clipping is used from
                now on; None in a mixed pass, see :meth:`begin_step`.
            done (int): Iterations of the pass that are over.
            length (int): Iterations of the pass.

        Raises:
            UserError: If tasks are to be combined, but do not mix.
        """
        if kind is not None and self._surgery:
            raise UserError(
                'optim_wrapper.aggregator combines tasks, but the passes of '
                "cycle.order have one each; set it to 'concurrent' or "
                'another mixed order.'
            )
        if kind is not None and self._states:
            self._states.use(kind)
        self.clip_grad_kwargs = (
            None if kind is None else self.clip_by_kind.get(kind)
        )
        self._inner_count = done
        self._max_counts = length
        self._remainder_counts = length % self._accumulative_counts

    def applied_rates(self) -> dict[str, float]:
        """Return the learning rates of what is not frozen, by name.

        Returns:
            dict[str, float]: ``lr``, the base rate, and ``lr/backbone`` and
            the like, the rates that ``paramwise_cfg`` multiplies; as far as a
            parameter learns at them.
        """
        return {
            f'lr/{name}' if name else 'lr': group['lr']
            for name, group in zip(
                self.rate_names, self.optimizer.param_groups, strict=True
            )
            if any(p.requires_grad for p in group['params'])
        }

    def begin_step(self, task: str) -> None:
        """Clip the coming update by its kind, in a mixed pass.

        Args:
            task (str): Of the coming batch. If gradients wait already, the
                lowest ``max_norm`` of their kinds holds for all.

        Raises:
            UserError: If the update has several kinds and the state is kept
                by kind.
        """
        self._task, kind = task, split_name(task)[1]
        if self._states:
            if not self.at_update and kind != self._states.kind:
                raise UserError(
                    'optim_wrapper.state_by_kind needs updates of one kind '
                    'each; in a mixed order leave out accumulative_counts.'
                )
            self._states.use(kind)
        found = [self.clip_by_kind.get(kind)]
        if not self.at_update:
            found.append(self.clip_grad_kwargs)
        clips = [clip for clip in found if clip]
        self.clip_grad_kwargs = min(
            clips, key=lambda clip: clip['max_norm'], default=None
        )

    def initialize_count_status(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: each pass counts from 0."""

    @property
    def at_update(self) -> bool:
        """bool: Whether no gradient waits to be accumulated further."""
        return self._inner_count == 0 or self.should_update()

    def update_params(
        self, loss: torch.Tensor, *args: Any, **kwargs: Any
    ) -> None:
        """Go back from a loss, and step if no more is to be accumulated."""
        self.last_skipped = NOTHING_SKIPPED
        super().update_params(loss, *args, **kwargs)

    def backward(self, loss: torch.Tensor, **kwargs: Any) -> None:
        """Accumulate the gradients of a loss."""
        if self.scaler.is_enabled():
            self._loss = self._loss + loss.detach()
        super().backward(self.scaler.scale(loss), **kwargs)
        if self._surgery:
            self._surgery.collect(self._task)

    def should_sync(self) -> bool:
        """Return whether processes exchange gradients in this iteration."""
        return self._surgery is not None or super().should_sync()

    def step(self, **kwargs: Any) -> None:
        """Clip and step, unless a gradient is not finite.

        Every process sees the same (averaged) gradients, so all leave out
        the same steps.
        """
        if self._surgery:
            self._surgery.combine(self._inner_count)
        params = [
            p
            for group in self.optimizer.param_groups
            for p in group['params']
            if p.grad is not None
        ]
        loss, self._loss = self._loss, 0.0
        if not params:
            return
        self.scaler.unscale_(self.optimizer)
        for add in self.gradient_terms:
            add()
        if self.clip_grad_kwargs:
            norm = nn.utils.clip_grad_norm_(params, **self.clip_grad_kwargs)
        else:
            norms = torch._foreach_norm([p.grad for p in params])
            norm = torch.linalg.vector_norm(torch.stack(norms))
        self.last_norm = norm.detach()
        finite = norm.isfinite()
        optimizer: Any = self.optimizer
        # Gradients are the same in all processes, the loss of float16 is not:
        # there it is summed.
        if self.scaler.is_enabled():
            self.scaler.step(optimizer, **kwargs)
            self.scaler.update()
            self._overflows = torch.where(finite, 0, self._overflows + 1)
            (loss,) = sum_over_ranks(torch.as_tensor(loss))
            self.last_skipped = ~loss.isfinite() | (
                self._overflows > MAX_OVERFLOWS
            )
        elif self._by_flag:
            optimizer.found_inf = (~finite).float()
            optimizer.step(**kwargs)
            del optimizer.found_inf
            self.last_skipped = ~finite
        else:
            self.last_skipped = ~finite.cpu()
            if not self.last_skipped:
                optimizer.step(**kwargs)

    @property
    def _by_flag(self) -> bool:
        groups = self.optimizer.param_groups
        return isinstance(self.optimizer, BY_FLAG) and all(
            group.get('fused') for group in groups
        )

    @contextlib.contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast, and no gradient exchange while accumulating."""
        with super().optim_context(model):
            if self.amp_dtype is None:
                yield
                return
            device = next(model.parameters()).device.type
            with torch.autocast(device, dtype=self.amp_dtype):
                yield

    def state_dict(self) -> dict[str, Any]:
        """Return the optimizer's state, its parameters' names with it."""
        state = super().state_dict()
        if self.param_names:
            state['param_names'] = self._names()
            state['settings'] = self._settings
        if self._states:
            state['state'] = {}
            state['state_by_kind'] = self._states.state_dicts()
        if self.scaler.is_enabled():
            state['loss_scaler'] = self.scaler.state_dict()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state, by name if the parameters are others.

        A parameter that the state does not know starts without one, and the
        state of a parameter that is gone is left out: so a task can be added
        or dropped between two runs.

        Args:
            state_dict (dict): Of :meth:`state_dict`.

        Raises:
            UserError: If the parameters are others and the state has no
                names, or only one of state and config is by kind.
        """
        states = state_dict.get('state_by_kind')
        if (states is None) != (self._states is None):
            raise UserError(
                'The checkpoint and the config differ in '
                'optim_wrapper.state_by_kind; use the same, or start from its '
                'weights with --cfg-options load_from=CHECKPOINT.'
            )
        if states is None or self._states is None:
            self._load(state_dict)
            return
        for kind, state in states.items():
            self._states.use(kind)
            self._load(dict(state_dict, state=state))

    def _load(self, state_dict: dict[str, Any]) -> None:
        state = dict(state_dict)
        state.pop('state_by_kind', None)
        saved = state.pop('param_names', None)
        settings = state.pop('settings', None) or [{}] * len(
            state['param_groups']
        )
        state['param_groups'] = [
            dict(group, settings=before)
            for group, before in zip(state['param_groups'], settings)
        ]
        scale = state.pop('loss_scaler', None)
        if scale is not None and self.scaler.is_enabled():
            self.scaler.load_state_dict(scale)
        if saved is not None and saved != self._names():
            state = self._renumber(state, saved)
        elif saved is None:
            self._check_shapes(state)
        state['param_groups'] = [
            self._configured(group, now)
            for group, now in zip(state['param_groups'], self._settings)
        ]
        super().load_state_dict(state)

    @staticmethod
    def _configured(
        group: dict[str, Any], now: dict[str, Any]
    ) -> dict[str, Any]:
        """Take over what the config changed, keep what schedulers did."""
        group = dict(group)
        before = group.pop('settings', {})
        changed = {
            key: value
            for key, value in now.items()
            if key in before and before[key] != value
        }
        return dict(group, **changed)

    def _current_settings(self) -> list[dict[str, Any]]:
        return [
            {key: value for key, value in group.items() if key != 'params'}
            for group in self.optimizer.param_groups
        ]

    def _params(self) -> list[list[torch.Tensor]]:
        return [group['params'] for group in self.optimizer.param_groups]

    def _names(self) -> list[list[str]]:
        return [
            [self.param_names[id(p)] for p in params]
            for params in self._params()
        ]

    def _check_shapes(self, state: dict[str, Any]) -> None:
        """Refuse a state without names that belongs to other parameters."""
        params = [p for group in self._params() for p in group]
        numbers = [n for g in state['param_groups'] for n in g['params']]
        if len(numbers) != len(params) or not all(
            _fits(state['state'].get(number, {}), param)
            for number, param in zip(numbers, params)
        ):
            raise UserError(
                'The optimizer state of the checkpoint does not fit the '
                'model; start from its weights with '
                '--cfg-options load_from=CHECKPOINT.'
            )

    def _renumber(
        self, state: dict[str, Any], saved: list[list[str]]
    ) -> dict[str, Any]:
        """Return the state in the order of this optimizer's parameters."""
        numbers = [group['params'] for group in state['param_groups']]
        number = {
            name: (group, index)
            for group, names in enumerate(saved)
            for name, index in zip(names, numbers[group])
        }
        now = self.optimizer.state_dict()['param_groups']
        moved, groups = {}, []
        for names, group, params in zip(self._names(), now, self._params()):
            known = [n for n in names if n in number]
            for name, index, param in zip(names, group['params'], params):
                old = state['state'].get(number.get(name, (0, None))[1])
                if old is not None and _fits(old, param):
                    moved[index] = old
            if known:
                # Rates and the like go on as they were.
                former = state['param_groups'][number[known[0]][0]]
                group = dict(former, params=group['params'])
            groups.append(group)
        return dict(state, state=moved, param_groups=groups)


def _fits(state: dict[str, Any], param: torch.Tensor) -> bool:
    """Whether a parameter's state has its shape (counters have none)."""
    return all(
        value.shape == param.shape
        for value in state.values()
        if torch.is_tensor(value) and value.dim()
    )
