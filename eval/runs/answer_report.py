"""What `ragkit eval answers` tells of a run: means with intervals, counts, seconds and tokens."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ragkit.eval.judging.judge_report import JudgeReport, failure_lines
from ragkit.eval.measures.answer_scores import MEASURES
from ragkit.eval.measures.citation_metrics import CitationCounts
from ragkit.eval.measures.means import Mean, mean_of
from ragkit.eval.runs.answer_rows import AnswerRow

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, slots=True)
class AnswerReport:
    """by_query: measure, question id, value. failures: why the engine failed, by question."""

    measures: Mapping[str, Mean]
    by_query: Mapping[str, Mapping[str, float]]
    counts: Mapping[str, int]
    citations: CitationCounts
    seconds: Mapping[str, float]
    tokens: Mapping[str, int]
    failures: Mapping[str, str]
    judge: JudgeReport | None = None

    def to_json(self) -> dict[str, object]:
        """What ``ragkit eval answers --json`` prints."""
        pooled = self.citations
        return {
            "measures": {name: mean.to_json() for name, mean in self.measures.items()},
            "counts": dict(self.counts),
            "citations_pooled": {
                "cited": pooled.num_cited,
                "right": pooled.num_right,
                "gold": pooled.num_gold,
                "precision": pooled.precision,
                "recall": pooled.recall,
            },
            "seconds": dict(self.seconds),
            "tokens": dict(self.tokens),
            "failures": dict(self.failures),
            "judge": None if self.judge is None else self.judge.to_json(),
        }

    def table(self) -> Table:
        """What ``ragkit eval answers`` prints."""
        from rich.table import Table
        from rich.text import Text

        table = Table("measure", "mean", "95 % interval", "questions", title=self._title())
        means = {MEASURES[name]: mean for name, mean in self.measures.items()}
        if self.judge is not None and self.judge.correct is not None:
            means[f"correct, as {self.judge.engine} judges"] = self.judge.correct
        for name, mean in means.items():
            table.add_row(
                Text(name), f"{mean.value:.4f}", f"{mean.low:.4f} to {mean.high:.4f}", str(mean.num_questions)
            )
        table.add_section()
        for name, fact in self._facts().items():
            table.add_row(Text(name), fact)
        table.caption = Text("\n".join(self._remarks()))
        return table

    def _title(self) -> str:
        failed = f", {len(self.failures)} FAILED" if self.failures else ""
        return f"{self.counts['asked']} questions{failed}"

    def _facts(self) -> dict[str, str]:
        facts = {name.replace("_", " "): str(count) for name, count in self.counts.items()}
        facts |= {f"{name.replace('_', ' ')}, s": f"{seconds:.2f}" for name, seconds in self.seconds.items()}
        facts |= {f"{name} tokens": str(count) for name, count in self.tokens.items()}
        if self.judge is not None:
            facts |= {f"judged {verdict}": str(count) for verdict, count in self.judge.verdicts.items()}
        return facts

    def _remarks(self) -> list[str]:
        lines = failure_lines("not answered", self.failures)
        if self.judge is not None:
            lines += self.judge.remarks()
        return lines


def report_answers(
    rows: Mapping[str, AnswerRow],
    failures: Mapping[str, str],
    seconds: Mapping[str, float],
    *,
    num_questions: int,
    seed: int = 0,
) -> AnswerReport:
    """Score rows anew and sum them up.

    Args:
        failures: why the engine failed, by question. seconds: of stages that are no question's, such as "index".
        num_questions: of the whole run, those that were not asked yet included.
    """
    by_query: dict[str, dict[str, float]] = {}
    for query, row in rows.items():
        for name, value in row.scores().items():
            by_query.setdefault(name, {})[query] = value
    measures = {name: mean_of(list(by_query[name].values()), seed) for name in MEASURES if name in by_query}
    citations = sum((row.citation_counts() for row in rows.values()), CitationCounts())
    return AnswerReport(
        measures,
        {name: by_query[name] for name in measures},
        _counts(rows.values(), len(failures), num_questions),
        citations,
        {**seconds, **_seconds_of(list(rows.values()))},
        {
            "prompt": sum(row.prompt_tokens for row in rows.values()),
            "completion": sum(row.completion_tokens for row in rows.values()),
        },
        failures,
    )


def _counts(rows: Collection[AnswerRow], failed: int, num_questions: int) -> dict[str, int]:
    answerable = [row for row in rows if row.question.is_answerable]
    others = [row for row in rows if not row.question.is_answerable]
    return {
        "asked": len(rows) + failed,
        "failed": failed,
        "not_asked_yet": num_questions - len(rows) - failed,
        "answered": sum(not row.is_refusal for row in answerable),
        "wrongly_refused": sum(row.is_refusal for row in answerable),
        "rightly_refused": sum(row.is_refusal for row in others),
        "wrongly_answered": sum(not row.is_refusal for row in others),
        "without_gold_answer": sum(not row.question.answers for row in answerable),
        "without_gold_place": sum(not row.question.places for row in answerable),
    }


def _seconds_of(rows: Collection[AnswerRow]) -> dict[str, float]:
    """Of a question: the median, the 95th percentile, and the mean of each stage."""
    if not rows:
        return {}
    middle, slow = np.percentile([row.seconds for row in rows], (50, 95))
    stages = dict.fromkeys(stage for row in rows for stage in row.timings_ms)
    means = {
        f"mean_{stage}": sum(row.timings_ms.get(stage, 0.0) for row in rows) / len(rows) / 1000 for stage in stages
    }
    return {"median_question": float(middle), "p95_question": float(slow), **means}
