"""What a judge said, and how far it can be trusted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ragkit.eval.judging.judge import Verdict
from ragkit.eval.judging.judge_agreement import Agreement
from ragkit.eval.measures.means import Mean, mean_of
from ragkit.eval.reports.text_tables import one_line

if TYPE_CHECKING:
    from rich.table import Table

_SHOWN_FAILURES = 3


@dataclass(frozen=True, slots=True)
class JudgeReport:
    """engine: the judge's name. verdicts: how many of each, of the answers that were judged.

    correct: share of correct ones; unreadable verdicts do not count, refusals of answerable questions are wrong
    without being judged. agreement: with the labelled answers judged so far; None before the first. failures: why
    the judge's engine failed, by answer.
    """

    engine: str
    verdicts: Mapping[str, int]
    correct: Mean | None
    agreement: Agreement | None
    failures: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """What ``ragkit eval judge --json`` prints."""
        return {
            "engine": self.engine,
            "verdicts": dict(self.verdicts),
            "correct": None if self.correct is None else self.correct.to_json(),
            "agreement_with_labels": None if self.agreement is None else self.agreement.to_json(),
            "failures": dict(self.failures),
        }

    def table(self) -> Table:
        """What ``ragkit eval judge`` prints: how often which label got which verdict."""
        from rich.table import Table
        from rich.text import Text

        counts = {} if self.agreement is None else {(one, other): n for one, other, n in self.agreement.table}
        title = Text(f"verdicts of {self.engine} on labelled answers")
        table = Table("labelled", *map(str, Verdict), title=title)
        for label in Verdict:
            if label is not Verdict.unreadable:
                table.add_row(str(label), *(str(counts.get((str(label), str(said)), 0)) for said in Verdict))
        table.caption = Text("\n".join(self.remarks()))
        return table

    def remarks(self) -> list[str]:
        """How far the judge can be trusted, and where its engine failed."""
        trust = [] if self.agreement is None else [agreement_line(self.engine, self.agreement)]
        return [*failure_lines("not judged", self.failures), *trust]


def judge_report(
    engine: str,
    verdicts: Mapping[str, Verdict],
    num_refused: int,
    agreement: Agreement | None,
    failures: Mapping[str, str],
) -> JudgeReport:
    """Sum up verdicts by question. num_refused: answerable questions with a gold answer that were not answered."""
    readable = [float(said is Verdict.correct) for said in verdicts.values() if said is not Verdict.unreadable]
    values = readable + [0.0] * num_refused
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
        kappa = f"{agreement.kappa:.2f} (95 %: {agreement.kappa_low:.2f} to {agreement.kappa_high:.2f})"
    return (
        f"{engine} agrees with {agreement.share:.0%} of {agreement.num_answers} answers that people labelled; "
        f"Cohen's kappa {kappa}; {agreement.num_unreadable} verdicts unreadable"
    )


def failure_lines(what: str, failures: Mapping[str, str]) -> list[str]:
    """The first failures in a line each, and how many more there are."""
    first = list(failures.items())[:_SHOWN_FAILURES]
    shown = [one_line(f"{what}: {query}: {reason}") for query, reason in first]
    more = len(failures) - _SHOWN_FAILURES
    return [*shown, *([f"{what}: {more} more"] if more > 0 else [])]
