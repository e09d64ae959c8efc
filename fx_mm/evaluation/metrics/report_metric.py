"""Metrics of reports in words."""

import math
import re
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from fx_mm.evaluation.metrics.base import TaskMetric
from fx_mm.evaluation.statistics.bootstrap import Statistics, unweighted
from fx_mm.evaluation.statistics.nan_mean import nan_mean
from fx_mm.registry import METRICS
from fx_mm.utils.extras import import_extra
from fx_mm.utils.findings_in_text import FindingRules

HEADLINES = ('F1', 'BLEU_4', 'ROUGE_L', 'exact', 'closed')
ORDER = 4
CLOSED = ('yes', 'no')
"""Answers of closed questions."""
WHAT = 'The metrics of reports'


class ReportRecord(NamedTuple):
    """True and predicted text of one image."""

    img_id: str
    truth: str
    pred: str


@METRICS.register_module()
class ReportMetric(TaskMetric):
    """BLEU-4, ROUGE-L and the findings that texts state.

    The classes of the task are findings, which rules with negation
    (:class:`FindingRules`) read out of both texts; so F1 compares what is
    said, as far as the rules understand it. A finding that no true text
    states has no F1.

    Headline keys: ``F1`` (mean over findings, and one key per finding),
    ``BLEU_4`` (of the corpus, sacrebleu's, in 0..1), ``ROUGE_L`` (F of
    rouge-score without stemming, over words of any script, mean over
    images), ``exact`` (share of texts
    that are the same but for case, punctuation and blanks) and ``closed``
    (the same over those whose truth is "yes" or "no"). Details: ``F1_micro``,
    ``recall/<finding>``, ``precision/<finding>``, ``n_stated/<finding>``
    (true texts that state it) and ``n_closed``.

    Args:
        terms (Mapping[str, Sequence[str]], optional): See
            :class:`FindingRules`; the ``terms`` of the task's entry.
        **kwargs: See :class:`TaskMetric`.
    """

    record = ReportRecord

    def __init__(
        self,
        terms: Mapping[str, Sequence[str]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.terms = terms

    def check_meta(self) -> None:
        """Check the terms against the findings."""
        self.find = cache(FindingRules(self.classes, self.terms))

    def process(
        self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]
    ) -> None:
        """Keep the texts of a batch.

        Args:
            data_batch (Any): Not used.
            data_samples (Sequence[dict]): Samples with ``img_id``,
                ``gt_report`` and ``pred_report``.
        """
        for sample in data_samples:
            self.results.append(
                ReportRecord(
                    sample['img_id'],
                    sample['gt_report'],
                    sample['pred_report'],
                )
            )

    def compute_unique(self, records: list[ReportRecord]) -> dict[str, float]:
        """Compute the headline keys of the class."""
        found = unweighted(self.statistics(records), len(records))
        return {k: v for k, v in found.items() if _is_headline(k)}

    def details(
        self, records: list[ReportRecord], thresholds: Any = None
    ) -> dict[str, float]:
        """Compute the other keys of the class."""
        found = unweighted(self.statistics(records), len(records))
        found = {k: v for k, v in found.items() if not _is_headline(k)}
        truth, _ = self.findings(records)
        for name, count in zip(self.classes, truth.sum(0)):
            found[f'n_stated/{name}'] = int(count)
        found['n_closed'] = int(_closed(records).sum())
        return found

    def findings(
        self, records: list[ReportRecord]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return what true and predicted texts state, each bool (N, C)."""
        shape = (len(records), len(self.classes))
        truth = np.array([self.find(r.truth) for r in records], bool)
        pred = np.array([self.find(r.pred) for r in records], bool)
        return truth.reshape(shape), pred.reshape(shape)

    def statistics(
        self, records: list[ReportRecord], thresholds: Any = None
    ) -> Statistics:
        """Return all metrics as functions of the images' weights."""
        truth, pred = self.findings(records)
        bleu = _bleu_of(records)
        rouge = np.array([_rouge(r.truth, r.pred) for r in records])
        same = np.array([_plain(r.truth) == _plain(r.pred) for r in records])
        closed = _closed(records)

        def compute(weights: np.ndarray) -> dict[str, np.ndarray]:
            exact = weights.astype(np.float64)
            hits, stated, written = (
                exact @ each.astype(np.float64)
                for each in (truth & pred, truth, pred)
            )
            with np.errstate(invalid='ignore', divide='ignore'):
                f1 = np.where(
                    stated > 0, 2 * hits / (stated + written), np.nan
                )
                total = exact.sum(1)
                return {
                    'F1': nan_mean(f1, axis=1),
                    **self.by_class('F1', f1.T),
                    'BLEU_4': bleu(exact),
                    'ROUGE_L': exact @ rouge / total,
                    'exact': exact @ same / total,
                    'closed': exact @ (same & closed) / (exact @ closed),
                    'F1_micro': 2
                    * hits.sum(1)
                    / (stated.sum(1) + written.sum(1)),
                    **self.by_class('recall', (hits / stated).T),
                    **self.by_class('precision', (hits / written).T),
                }

        return compute

    def pack(self, records: list[ReportRecord]) -> dict[str, np.ndarray]:
        """Return what predictions are saved as; see :class:`TaskMetric`."""
        return dict(
            truth=np.array([r.truth for r in records], np.str_),
            pred=np.array([r.pred for r in records], np.str_),
        )

    def unpack(
        self, columns: dict[str, np.ndarray], img_ids: list[str]
    ) -> Iterator[dict[str, Any]]:
        """Return the samples that were saved; see :class:`TaskMetric`."""
        rows = zip(img_ids, columns['truth'], columns['pred'], strict=True)
        for img_id, truth, pred in rows:
            yield dict(
                img_id=img_id, gt_report=str(truth), pred_report=str(pred)
            )

    def same_truth(self, own: ReportRecord, other: ReportRecord) -> bool:
        """Whether the true texts are the same."""
        return own.truth == other.truth

    def notes(
        self,
        records: list[ReportRecord],
        values: Mapping[str, float],
        predict_on: str,
        has_thresholds: bool,
    ) -> list[str]:
        """Say what F1 is of, and whether the texts depend on the image."""
        notes = [
            'F1 is of the findings that rules with negation read out of the '
            'texts: it is as right as the rules understand the reports.'
        ]
        different = len({r.pred for r in records})
        if different == 1 < len(records):
            notes.append(
                f'The {predict_on} writes the same text for all '
                f'{len(records)} images: it does not depend on the image.'
            )
        return notes


def _bleu_of(
    records: list[ReportRecord],
) -> Callable[[np.ndarray], np.ndarray]:
    """Return BLEU-4 of the corpus as a function of weights (R, N)."""
    library = import_extra('sacrebleu', WHAT, 'reports')
    counts = np.array([_ngrams(r.truth, r.pred) for r in records], np.float64)
    counts = counts.reshape(len(records), 2 * ORDER + 2)

    def bleu(weights: np.ndarray) -> np.ndarray:
        values = []
        for row in weights @ counts:
            *matches, words, wanted = (int(count) for count in row)
            score = library.BLEU.compute_bleu(
                matches[:ORDER], matches[ORDER:], words, wanted
            )
            values.append(score.score / 100 if wanted else math.nan)
        return np.array(values)

    return bleu


@cache
def _ngrams(truth: str, pred: str) -> tuple[float, ...]:
    """Return matches and totals of n-grams, and both lengths in words."""
    library = import_extra('sacrebleu', WHAT, 'reports')
    scorer = library.BLEU(effective_order=True, max_ngram_order=ORDER)
    score = scorer.sentence_score(pred, [truth])
    return (*score.counts, *score.totals, score.sys_len, score.ref_len)


@cache
def _rouge(truth: str, pred: str) -> float:
    library = import_extra('rouge_score.rouge_scorer', WHAT, 'reports')
    scorer = library.RougeScorer(['rougeL'], tokenizer=_Words)
    return scorer.score(truth, pred)['rougeL'].fmeasure


class _Words:
    """Words of any script; rouge-score's own tokenizer knows ASCII alone."""

    @staticmethod
    def tokenize(text: str) -> list[str]:
        # as its own, which takes "_" for a blank
        return re.findall(r'[^\W_]+', text.lower())


def _plain(text: str) -> str:
    """Return a text in lower case, without punctuation."""
    marks = str.maketrans('', '', string.punctuation)
    return ' '.join(text.lower().translate(marks).split())


def _closed(records: list[ReportRecord]) -> np.ndarray:
    return np.array([_plain(r.truth) in CLOSED for r in records], bool)


def _is_headline(key: str) -> bool:
    return key.partition('/')[0] in HEADLINES
