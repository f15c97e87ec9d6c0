"""What `ragkit eval answers` tells of a run: means with intervals, counts, seconds and tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ragkit.eval.answer_rows import AnswerRow
from ragkit.eval.answer_scores import MEASURES
from ragkit.eval.citation_metrics import CitationCounts
from ragkit.eval.judge import Verdict
from ragkit.eval.judge_agreement import Agreement

if TYPE_CHECKING:
    from rich.table import Table

_RESAMPLES = 10_000
_BATCH = 500
_PERCENTILES = (2.5, 97.5)
_SHOWN_FAILURES = 3


@dataclass(frozen=True, slots=True)
class Mean:
    """A measure's mean over the questions that have it, and the 95 % percentile bootstrap interval of it."""

    value: float
    low: float
    high: float
    num_questions: int

    def to_json(self) -> dict[str, object]:
        return {"mean": self.value, "interval": [self.low, self.high], "questions": self.num_questions}


@dataclass(frozen=True, slots=True)
class JudgeReport:
    """engine: the judge's name. verdicts: how many of each, of the answers that were judged.

    correct: share of correct ones; unreadable verdicts are in none, refusals of answerable questions are wrong
    without being judged. failures: why the judge failed, by question.
    """

    engine: str
    verdicts: Mapping[str, int]
    correct: Mean | None
    agreement: Agreement
    failures: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        return {
            "engine": self.engine,
            "verdicts": dict(self.verdicts),
            "correct": None if self.correct is None else self.correct.to_json(),
            "agreement_with_labels": self.agreement.to_json(),
            "failures": dict(self.failures),
        }


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

        table = Table("measure", "mean", "95 % interval", "questions", title=self._title())
        means = {MEASURES[name]: mean for name, mean in self.measures.items()}
        if self.judge is not None and self.judge.correct is not None:
            means[f"correct, as {self.judge.engine} judges"] = self.judge.correct
        for name, mean in means.items():
            table.add_row(name, f"{mean.value:.4f}", f"{mean.low:.4f} to {mean.high:.4f}", str(mean.num_questions))
        table.add_section()
        for name, fact in self._facts().items():
            table.add_row(name, fact)
        table.caption = "\n".join(self._remarks()) or None
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
        lines = _told("not answered", self.failures)
        if self.judge is not None:
            lines += [*_told("not judged", self.judge.failures), agreement_line(self.judge.engine, self.judge.agreement)]
        return lines


def report_answers(
    rows: Mapping[str, AnswerRow], failures: Mapping[str, str], seconds: Mapping[str, float], seed: int = 0
) -> AnswerReport:
    """Score rows anew and sum them up. seconds: of stages that are no question's, such as "index"."""
    by_query: dict[str, dict[str, float]] = {}
    for query, row in rows.items():
        for name, value in row.scores().items():
            by_query.setdefault(name, {})[query] = value
    measures = {name: mean_of(list(by_query[name].values()), seed) for name in MEASURES if name in by_query}
    citations = sum((row.citation_counts() for row in rows.values()), CitationCounts())
    return AnswerReport(
        measures,
        {name: by_query[name] for name in measures},
        _counts(rows.values(), failures),
        citations,
        {**seconds, **_seconds_of(list(rows.values()))},
        {
            "prompt": sum(row.prompt_tokens for row in rows.values()),
            "completion": sum(row.completion_tokens for row in rows.values()),
        },
        failures,
    )


def mean_of(values: Sequence[float], seed: int = 0) -> Mean:
    """The mean and its interval; of one value, or of equal ones, the interval is that value.

    Raises:
        ValueError: there is no value.
    """
    if not values:
        raise ValueError("there is no value to take the mean of")
    array = np.array(values, np.float64)
    low, high = _interval(array, seed)
    return Mean(float(array.mean()), low, high, len(values))


def judge_report(
    engine: str, verdicts: Mapping[str, Verdict], refused: int, agreement: Agreement, failures: Mapping[str, str]
) -> JudgeReport:
    """Sum up verdicts by question. refused: answerable questions of which nothing was judged, for none was answered."""
    readable = [float(verdict is Verdict.correct) for verdict in verdicts.values() if verdict != Verdict.unreadable]
    values = readable + [0.0] * refused
    counts = Counter(map(str, verdicts.values()))
    return JudgeReport(
        engine,
        {str(verdict): counts[verdict] for verdict in Verdict},
        mean_of(values) if values else None,
        agreement,
        failures,
    )


def agreement_line(engine: str, agreement: Agreement) -> str:
    """In a sentence how far the judge can be trusted."""
    kappa = "not defined"
    if agreement.kappa is not None:
        kappa = f"{agreement.kappa:.2f} ({agreement.kappa_low:.2f} to {agreement.kappa_high:.2f})"
    return (
        f"{engine} agrees with {agreement.share:.0%} of {agreement.num_answers} answers that people labelled; "
        f"Cohen's kappa {kappa}; {agreement.num_unreadable} verdicts unreadable"
    )


def _interval(values: NDArray[np.float64], seed: int) -> tuple[float, float]:
    """Percentile bootstrap (Efron, Annals of Statistics 7, 1979)."""
    rng = np.random.default_rng(seed)
    means = [
        values[rng.integers(0, len(values), (_BATCH, len(values)))].mean(axis=1) for _ in range(_RESAMPLES // _BATCH)
    ]
    low, high = np.percentile(np.concatenate(means), _PERCENTILES)
    return float(low), float(high)


def _counts(rows: Collection[AnswerRow], failures: Mapping[str, str]) -> dict[str, int]:
    answerable = [row for row in rows if row.question.is_answerable]
    others = [row for row in rows if not row.question.is_answerable]
    return {
        "asked": len(rows) + len(failures),
        "failed": len(failures),
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


def _told(what: str, failures: Mapping[str, str]) -> list[str]:
    shown = [f"{what}: {query}: {reason}" for query, reason in list(failures.items())[:_SHOWN_FAILURES]]
    more = len(failures) - _SHOWN_FAILURES
    return [*shown, *([f"{what}: {more} more"] if more > 0 else [])]
