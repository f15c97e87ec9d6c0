"""What feedback changes against searching once: measures with intervals, tests, and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ragkit.eval.measures.ranking_metrics import CONVENTIONS
from ragkit.eval.measures.significance import Interval, bootstrap_intervals, holm, randomization_p

if TYPE_CHECKING:
    from rich.console import Group

MEASURES = ("nDCG@10", "AP", "R@100")
CONFIDENCE = 0.95
_NOTES = (
    "Below each mean its interval (95 %, bootstrap over queries), then the change against no feedback with its p: "
    "paired randomisation, corrected by Holm for all changes of the table. Worse: share of queries with a lower "
    "nDCG@10 than without feedback. Used: passages that queries were revised by, the mean, where it is not the "
    "depth. Added ms: median of single searches for 10 documents, in turns with and without feedback; queries are "
    "embedded before.",
)
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FeedbackResult:
    """How one way of feedback ranks.

    by_query: value by measure and query. used: passages that each query was revised by. seconds, base_seconds: of
    single searches for the same queries, with this feedback and without any.
    """

    name: str
    depth: int
    by_query: Mapping[str, Mapping[str, float]] = field(repr=False)
    used: Mapping[str, int] = field(repr=False)
    seconds: Sequence[float] = field(repr=False)
    base_seconds: Sequence[float] = field(repr=False)

    def to_row(self) -> dict[str, Any]:
        """As a line of the run's folder."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class MeasureChange:
    """A mean, and what it is more than that without feedback; p: as tested, and corrected for all of the table."""

    mean: float
    interval: Interval
    change: float
    change_interval: Interval
    p: float
    holm_p: float


@dataclass(frozen=True, slots=True)
class FeedbackRow:
    """changes: by measure; of the row without feedback all are 0. worse, used, added_ms: as the table explains."""

    name: str
    depth: int
    changes: Mapping[str, MeasureChange]
    worse: float
    used: float
    added_ms: float


@dataclass(frozen=True, slots=True)
class FeedbackReport:
    """rows: without feedback first."""

    rows: tuple[FeedbackRow, ...]
    num_queries: int
    facts: Mapping[str, str | int | float]

    def to_json(self) -> dict[str, object]:
        """What ``ragkit eval feedback --json`` prints."""
        rows = [asdict(row) for row in self.rows]
        facts = {"queries": self.num_queries, "confidence": CONFIDENCE, "facts": dict(self.facts)}
        return {"rows": rows, **facts, "notes": list(_NOTES), "conventions": CONVENTIONS}

    def table(self) -> Group:
        """What ``ragkit eval feedback`` prints."""
        from rich.box import SIMPLE_HEAD
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(title=f"{self.num_queries} queries", box=SIMPLE_HEAD, pad_edge=False, show_lines=True)
        for name in ("feedback", *MEASURES, "worse", "added ms"):
            table.add_column(name)
        for row in self.rows:
            table.add_row(*map(Text, _cells(row)))
        said = "; ".join(f"{name}: {value}" for name, value in self.facts.items())
        return Group(table, *map(Text, (said, *_NOTES, CONVENTIONS)))


def report_feedback(
    results: Sequence[FeedbackResult], facts: Mapping[str, str | int | float], seed: int = 0
) -> FeedbackReport:
    """Results of the same queries, the first without feedback; `seed` is that of resampling."""
    queries = list(results[0].used)
    values = np.array(
        [[[one.by_query[measure][query] for query in queries] for measure in MEASURES] for one in results]
    )
    changes = values - values[:1]
    parts = zip(
        values.mean(axis=2).tolist(),
        _intervals(values, seed),
        changes.mean(axis=2).tolist(),
        _intervals(changes, seed),
        *_p_values(changes, seed),
        strict=True,
    )
    by_measure = [dict(zip(MEASURES, map(MeasureChange, *of_one), strict=True)) for of_one in parts]
    worse = (changes[:, 0] < 0).mean(axis=1).tolist()
    rows = [_row(one, found, share) for one, found, share in zip(results, by_measure, worse, strict=True)]
    return FeedbackReport(tuple(rows), len(queries), facts)


def _intervals(values: Values, seed: int) -> list[list[Interval]]:
    """For each result one a measure, from float64 (results, measures, queries)."""
    found = iter(bootstrap_intervals(values.reshape(-1, values.shape[2]), confidence=CONFIDENCE, seed=seed))
    return [[next(found) for _ in MEASURES] for _ in values]


def _p_values(changes: Values, seed: int) -> tuple[list[list[float]], list[list[float]]]:
    """For each result one a measure, as tested and corrected; the first result is not tested."""
    tested = randomization_p(changes[1:].reshape(-1, changes.shape[2]), seed=seed).tolist()
    none = [1.0] * len(MEASURES)
    plain, corrected = (np.reshape([*none, *p], (-1, len(MEASURES))).tolist() for p in (tested, holm(tested)))
    return plain, corrected


def _row(one: FeedbackResult, changes: Mapping[str, MeasureChange], worse: float) -> FeedbackRow:
    added = [1e3 * (after - before) for after, before in zip(one.seconds, one.base_seconds, strict=True)]
    return FeedbackRow(one.name, one.depth, changes, worse, fmean(one.used.values()), median(added))


def _cells(row: FeedbackRow) -> list[str]:
    measures = [_measured(row.changes[measure], row.depth > 0) for measure in MEASURES]
    if not row.depth:
        return [row.name, *measures, "", ""]
    used = "" if abs(row.used - row.depth) < 0.005 else f"\n({row.used:.2f} used)"
    return [f"{row.name} {row.depth}{used}", *measures, f"{row.worse:.1%}", f"{row.added_ms:.2f}"]


def _measured(one: MeasureChange, is_compared: bool) -> str:
    mean = f"{one.mean:.4f}\n{one.interval.low:.3f}-{one.interval.high:.3f}"
    return f"{mean}\n{one.change:+.4f}\np {one.holm_p:.4f}" if is_compared else mean
