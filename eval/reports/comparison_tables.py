"""The tables of a comparison of systems, as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ragkit.eval.measures.significance import Interval
from ragkit.eval.reports.changed_queries import ChangedQuery, Found, Returned
from ragkit.eval.reports.comparison import CONFIDENCE, Comparison, Difference
from ragkit.eval.reports.text_tables import TextTable

if TYPE_CHECKING:
    from ragkit.eval.reports.comparison_report import ComparisonReport

_SHOWN_FOUND = 3
_QUERY_CHARACTERS, _ANSWER_CHARACTERS = 90, 120


def number_tables(comparison: Comparison) -> list[TextTable]:
    """Means, then the differences of each pair."""
    return [means_table(comparison), *(pair_table(comparison, a, b) for a, b in comparison.pairs)]


def means_table(comparison: Comparison) -> TextTable:
    """A row a measure and system: narrow, however many there are."""
    rows = tuple(
        (measure, name, number(mean.value), interval_text(mean.interval))
        for measure in comparison.measures
        for name, mean in ((name, means[measure]) for name, means in comparison.means.items())
    )
    columns = ("measure", "system", "mean", f"{CONFIDENCE:.0%} interval")
    return TextTable(f"Means over {queries_text(comparison)} queries", columns, rows, 2)


def queries_text(comparison: Comparison) -> str:
    """How many queries are compared: a range where measures differ in that."""
    counts = sorted({comparison.num_queries(measure) for measure in comparison.measures})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def pair_table(comparison: Comparison, a: str, b: str) -> TextTable:
    """A row a measure: the difference of b from a, and how sure it is."""
    columns = ("measure", "difference", f"{CONFIDENCE:.0%} interval", "p", "p (Holm)", "W/L/T")
    rows = tuple(_difference_row(one) for one in comparison.differences if (one.a, one.b) == (a, b))
    return TextTable(f"{b} less {a}", columns, rows)


def changed_tables(report: ComparisonReport) -> list[TextTable]:
    """Of each pair the most changed queries, with what both systems returned side by side."""
    return [
        _changed_table(a, b, [one for one in report.changed if (one.a.system, one.b.system) == (a, b)])
        for a, b in report.comparison.pairs
    ]


def number(value: float, *, signed: bool = False) -> str:
    """Four decimals with a true minus sign; with signed, a plus sign above 0."""
    text = f"{value:+.4f}" if signed else f"{value:.4f}"
    return text.replace("-", "−") if float(text) else "0.0000"


def interval_text(interval: Interval, *, signed: bool = False) -> str:
    return f"[{number(interval.low, signed=signed)}, {number(interval.high, signed=signed)}]"


def p_text(p: float) -> str:
    return "<0.0001" if p < 0.0001 else f"{p:.4f}"


def found_text(found: Found) -> str:
    """A document with what it was judged."""
    return f"{found.rank}. {found.document} ({grade_text(found.grade)})"


def grade_text(grade: int | None) -> str:
    return "not judged" if grade is None else f"grade {grade}"


def _difference_row(one: Difference) -> tuple[str, ...]:
    return (
        one.measure,
        number(one.value, signed=True),
        interval_text(one.interval, signed=True),
        p_text(one.p),
        p_text(one.p_holm),
        f"{one.wins}/{one.losses}/{one.ties}",
    )


def _changed_table(a: str, b: str, changed: Sequence[ChangedQuery]) -> TextTable:
    measure = f" by {changed[0].measure}" if changed else ""
    rows = tuple(
        (
            _cut(f"{one.query}: {one.text}" if one.text else one.query, _QUERY_CHARACTERS),
            _returned_text(one.a),
            _returned_text(one.b),
            number(one.difference, signed=True),
        )
        for one in changed
    )
    columns = ("query", a, b, "difference")
    return TextTable(f"Queries that changed most{measure}: {b} less {a}", columns, rows, 3)


def _returned_text(returned: Returned) -> str:
    shown = [one for one in returned.found if one.rank <= _SHOWN_FOUND or (one.grade or 0) > 0]
    found = "; ".join(map(found_text, shown)) or "nothing found"
    answer = f" “{_cut(returned.answer, _ANSWER_CHARACTERS)}”" if returned.answer else ""
    return f"{number(returned.value)}{answer}: {found}"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
