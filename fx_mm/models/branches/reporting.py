"""Reports: shared latents of an image, a text decoder per dataset."""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.model import ModuleDict
from torch import Tensor

from fx_mm.datasets.records import Records
from fx_mm.models.branches.base import Branch, State
from fx_mm.models.layers.latent_resampler import LatentResampler
from fx_mm.models.layers.report_tokenizer import (
    ANSWER,
    END,
    PAD,
    SMALLEST,
    START,
)
from fx_mm.models.layers.text_decoder import TextDecoder
from fx_mm.models.losses.weighted_tokens import weighted_token_loss
from fx_mm.models.param_groups import FeatureGroups, ParamGroup
from fx_mm.registry import MODELS
from fx_mm.structures import FXDataSample
from fx_mm.tasks import Task
from fx_mm.utils.checks import check_number
from fx_mm.utils.errors import UserError
from fx_mm.utils.findings_in_text import FindingRules
from fx_mm.utils.log import log_once

CHECKED = 2000
"""Training reports whose lengths are looked at."""


class TokenBatch(NamedTuple):
    """Texts of a batch, each (B, T).

    Attributes:
        inputs (Tensor): int64, from the start on.
        target (Tensor): int64, the token behind each.
        weights (Tensor): How much each counts; 0 for questions and padding.
    """

    inputs: Tensor
    target: Tensor
    weights: Tensor


@MODELS.register_module()
class ReportBranch(Branch):
    """Free text about an image, from learned latents of the last stages.

    The datasets share a resampler of the backbone's maps; each has a
    transformer decoder with a vocabulary of its own, learned on its training
    reports (:class:`ReportTokenizer`), since hospitals write differently.
    Tokens of clinical terms, negated or not, weigh more in the loss. Of a
    task with ``questions=True``, the text is the answer behind the question.

    Args:
        in_channels (Sequence[int]): Channels of the backbone stages.
        tasks (Sequence[Task]): Tasks, whose classes are the findings.
        strides (Sequence[int]): Strides of the stages in pixels; not used.
            Defaults to ().
        stages (Sequence[int]): Backbone stages that are seen. Defaults to
            (2, 3), the last two.
        norm_cfg (dict, optional): Norm of their channels. Defaults to
            ``dict(type='LN2d')``.
        latents (int): Vectors that stand for an image. Defaults to 32.
        depth (int): Layers of the resampler. Defaults to 2.
        dims (int): Width of all of it. Defaults to 256.
        heads (int): Of the attention. Defaults to 8.
        layers (int): Layers of a decoder. Defaults to 4.
        dropout (float): Defaults to 0.1.
        vocabulary (int): Tokens of a dataset. Defaults to 2000.
        max_tokens (int): Longest text, with its question. Training reports
            that are longer are cut, and the log says how many. Defaults to
            128.
        term_weight (float): Of tokens of clinical terms. Defaults to 3.0, as
            in RadFM (arXiv 2308.02463).
        label_smoothing (float): Defaults to 0.1.
        beams (int): Texts that are followed in predicting; 1 takes the
            likeliest token each time. Defaults to 1.
        length_power (float): See :meth:`TextDecoder.write`. Defaults to 1.0.
        init_cfg (dict, optional): Initialisation config. Defaults to None.

    Raises:
        UserError: If an option makes no sense.

    Examples:
        >>> reporting = dict(type='ReportBranch', dims=128, beams=3)
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        tasks: Sequence[Task],
        strides: Sequence[int] = (),
        stages: Sequence[int] = (2, 3),
        norm_cfg: dict[str, Any] | None = dict(type='LN2d'),
        latents: int = 32,
        depth: int = 2,
        dims: int = 256,
        heads: int = 8,
        layers: int = 4,
        dropout: float = 0.1,
        vocabulary: int = 2000,
        max_tokens: int = 128,
        term_weight: float = 3.0,
        label_smoothing: float = 0.1,
        beams: int = 1,
        length_power: float = 1.0,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(tasks, init_cfg)
        where = 'model.student.reporting'
        for name, value, least in (
            ('latents', latents, 1),
            ('depth', depth, 1),
            ('heads', heads, 1),
            ('layers', layers, 1),
            ('vocabulary', vocabulary, SMALLEST),
            ('max_tokens', max_tokens, 6),
            ('beams', beams, 1),
        ):
            check_number(f'{where}.{name}', value, least, whole=True)
        check_number(f'{where}.term_weight', term_weight, 0)
        check_number(f'{where}.label_smoothing', label_smoothing, 0, 0.999)
        check_number(f'{where}.dropout', dropout, 0, 0.999)
        if dims % (2 * heads):
            raise UserError(
                f'{where}.dims is {dims}; it must be a multiple of twice the '
                f'heads ({2 * heads}).'
            )
        self.stages = tuple(stages)
        self.term_weight = term_weight
        self.label_smoothing = label_smoothing
        self.beams, self.length_power = beams, length_power
        self.resampler = LatentResampler(
            [in_channels[stage] for stage in stages],
            *(latents, depth, dims, heads, dropout, norm_cfg),
        )
        self.decoders = ModuleDict()
        self.rules: dict[str, FindingRules] = {}
        self.asks = {t.dataset: bool(t.config.get('questions')) for t in tasks}
        for task in tasks:
            self.decoders[task.dataset] = TextDecoder(
                *(vocabulary, max_tokens, layers, dims, heads, dropout)
            )
            self.rules[task.dataset] = FindingRules(
                task.classes, task.config.get('terms')
            )

    def take_statistics(self, task: Task, records: Records) -> None:
        """Learn the vocabulary of a task on its training texts.

        Args:
            task (Task): The task.
            records (Records): With ``gt_report`` and perhaps ``question``.
        """
        tokenizer = self.decoders[task.dataset].tokenizer
        keys = [k for k in ('question', 'gt_report') if records.has(k)]
        tokenizer.learn(t for key in keys for t in records.column(key))
        checked = range(0, len(records), max(1, len(records) // CHECKED))
        longest = self.decoders[task.dataset].max_tokens
        too_long = 0
        for index in checked:
            texts = [records.column(key)[index] for key in keys]
            count = sum(len(tokenizer.encode(text)[0]) for text in texts)
            too_long += count + len(keys) + 1 > longest
        if too_long:
            log_once(
                f'{task.name}: {too_long} of {len(checked)} training texts '
                f'are longer than max_tokens={longest} of '
                'model.student.reporting; what is behind that is not learned.',
                logging.WARNING,
            )
        # a class is in the question, and its answer is yes
        if not self.asks[task.dataset]:
            reports = records.column('gt_report')
            self._name_unstated(task, [reports[i] for i in checked])

    def _name_unstated(self, task: Task, reports: list[str]) -> None:
        """Warn of classes that no report states."""
        rules = self.rules[task.dataset]
        stated = sum(map(rules, reports), np.zeros(len(task.classes)))
        never = [c for c, found in zip(task.classes, stated) if not found]
        if never:
            log_once(
                f'{task.name}: none of {len(reports)} training texts states '
                f'{", ".join(never)}; if the reports have other words for it, '
                "name them in the task's terms (docs/free_text.md).",
                logging.WARNING,
            )

    def encode(
        self, pyramid: tuple[Tensor, ...], data_samples: list[FXDataSample]
    ) -> State:
        """Resample the stages in use.

        Returns:
            dict: ``latents`` (B, N, D).
        """
        return dict(
            latents=self.resampler([pyramid[stage] for stage in self.stages])
        )

    def consistency(self, state: State) -> FeatureGroups:
        """The latents."""
        return ((state['latents'],),)

    def forward(
        self, state: State, dataset: str, data_samples: list[FXDataSample]
    ) -> Tensor:
        """Logits (B, T, V) of what comes behind each token of the truth."""
        batch = self.tokens(dataset, data_samples)
        inputs = batch.inputs.to(state['latents'].device)
        return self.decoders[dataset](inputs, state['latents'])

    def loss(
        self, state: State, dataset: str, data_samples: list[FXDataSample]
    ) -> dict[str, Tensor]:
        """Weighted cross-entropy of the next token.

        Args:
            state (dict): Result of :meth:`encode`.
            dataset (str): Dataset of the batch.
            data_samples (list[FXDataSample]): Have ``gt_report`` and perhaps
                ``question``.

        Returns:
            dict[str, Tensor]: ``loss_report``.
        """
        device = state['latents'].device
        inputs, target, weights = (
            part.to(device) for part in self.tokens(dataset, data_samples)
        )
        logits = self.decoders[dataset](inputs, state['latents'])
        loss = weighted_token_loss(
            logits, target, weights, self.label_smoothing
        )
        return dict(loss_report=loss)

    def tokens(
        self, dataset: str, data_samples: list[FXDataSample]
    ) -> TokenBatch:
        """Return the true texts of a batch as tokens, on the CPU."""
        decoder = self.decoders[dataset]
        rows = []
        for sample in data_samples:
            question = self._prefix(dataset, sample)
            report = sample.get('gt_report') or ''
            ids, places = decoder.tokenizer.encode(report)
            terms = self.rules[dataset].spans(report)
            weights = [
                self.term_weight
                if any(start < last and first < end for first, last in terms)
                else 1.0
                for start, end in places
            ]
            text = [START, *question, *ids, END]
            told = [0.0] * len(question) + weights + [1.0]
            rows.append((text, told))
        longest = max(len(text) for text, _ in rows)
        length = min(longest, decoder.max_tokens)
        texts = torch.full((len(rows), length), PAD)
        weighed = torch.zeros(len(rows), length - 1)
        for index, (text, told) in enumerate(rows):
            text, told = text[:length], told[: length - 1]
            texts[index, : len(text)] = torch.tensor(text)
            weighed[index, : len(told)] = torch.tensor(told)
        return TokenBatch(texts[:, :-1], texts[:, 1:], weighed)

    def _prefix(self, dataset: str, sample: FXDataSample) -> list[int]:
        """Return the tokens of a sample's question, if its task has any.

        Raises:
            UserError: If the task answers questions, and there is none.
        """
        if not self.asks[dataset]:
            return []
        question = sample.get('question')
        if not question:
            raise UserError(
                f'{self.task_names[dataset]} answers questions; ask one '
                '(--question), or name the other tasks (--tasks).'
            )
        decoder = self.decoders[dataset]
        ids = decoder.tokenizer.encode(question)[0]
        # an answer of a token or more must have room
        room = decoder.max_tokens - 4
        if len(ids) > room:
            log_once(
                f'{self.task_names[dataset]}: of questions of more than '
                f'{room} tokens the end is not read; raise '
                'model.student.reporting.max_tokens.',
                logging.WARNING,
            )
        return [*ids[:room], ANSWER]

    def infer(
        self, state: State, dataset: str, data_samples: list[FXDataSample]
    ) -> list[str]:
        """Write the texts."""
        decoder = self.decoders[dataset]
        prefixes = [self._prefix(dataset, each) for each in data_samples]
        written = decoder.write(
            state['latents'], prefixes, self.beams, self.length_power
        )
        return [decoder.tokenizer.decode(ids) for ids in written]

    def add_pred_to_datasample(
        self, answers: list[str], data_samples: list[FXDataSample]
    ) -> list[FXDataSample]:
        """Write ``pred_report``."""
        for sample, text in zip(data_samples, answers):
            sample.pred_report = text.strip()
        return data_samples

    def graph(
        self, state: State, dataset: str, data_samples: list[Any]
    ) -> tuple[Tensor, ...]:
        """Refuse: a text has no fixed length.

        Raises:
            UserError: Names the task.
        """
        raise UserError(
            f'{self.task_names[dataset]} writes text, which has no fixed '
            'shape, so it cannot be exported; name the other tasks with '
            '--tasks.'
        )

    def param_groups(self) -> list[ParamGroup]:
        """The resampler is shared, each decoder a dataset's own."""
        return [
            ParamGroup('reporting/resampler', None, ('resampler',)),
            *(
                ParamGroup(f'{task}/decoder', task, (f'decoders.{dataset}',))
                for dataset, task in self.task_names.items()
            ),
        ]
