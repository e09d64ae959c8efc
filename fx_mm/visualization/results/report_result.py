"""Reports in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from fx_mm.registry import RESULTS
from fx_mm.structures import FXDataSample
from fx_mm.tasks import Task
from fx_mm.utils.findings_in_text import FindingRules
from fx_mm.visualization.results.base import Marks
from fx_mm.visualization.results.lined_result import LinedResult


@RESULTS.register_module()
@dataclass(frozen=True, eq=False)
class ReportResult(LinedResult):
    """A report, or the answer to a question.

    Args:
        task (Task): The task.
        report (str): The text.
        question (str): What was asked. Defaults to '': nothing.
    """

    table: ClassVar[str] = 'reports.csv'
    task: Task
    report: str
    question: str = ''

    @property
    def findings(self) -> list[str]:
        """list[str]: Classes that the report states, by rules."""
        rules = FindingRules(self.classes, self.task.config.get('terms'))
        stated = rules(self.report)
        return [name for name, is_in in zip(self.classes, stated) if is_in]

    @classmethod
    def from_sample(cls, task: Task, sample: FXDataSample) -> 'ReportResult':
        """Take ``pred_report``."""
        return cls(task, sample.pred_report, sample.get('question') or '')

    @classmethod
    def has_finding(cls, sample: FXDataSample) -> bool:
        """Whether there is a report."""
        return bool(sample.gt_report)

    @classmethod
    def mark_truth(
        cls, task: Task, sample: FXDataSample, names: Sequence[str]
    ) -> Marks:
        """Print the report."""
        return Marks(
            lines=_lines(sample.gt_report, sample.get('question') or '')
        )

    @property
    def lines(self) -> list[Any]:
        """list: The question, if there is one, and the text."""
        return _lines(self.report, self.question)

    def to_dict(
        self,
        score_thr: float = 0.0,
        files: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """dict: ``report``, ``findings`` and, of answers, ``question``."""
        content = dict(
            kind=self.task.kind.name,
            report=self.report,
            findings=self.findings,
        )
        if self.question:
            content['question'] = self.question
        return content

    @classmethod
    def columns(cls, task: Task) -> list[str]:
        """Return the column of the report."""
        return [task.name]

    def row(self) -> dict[str, str]:
        """Return the report."""
        return {self.task.name: self.report}


def _lines(report: str, question: str) -> list[Any]:
    """Return the lines below a picture."""
    return [f'{question}'] * bool(question) + [report or '(no text)']
