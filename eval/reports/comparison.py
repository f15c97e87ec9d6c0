"""Comparing systems by the same queries: means, differences, how sure they are, and who wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ragkit.eval.measures.significance import Interval, bootstrap_intervals, holm, randomization_p

CONFIDENCE = 0.95
# Values of a query that differ by less are a tie: they differ by rounding.
_TIE = 1e-9

# Measure, then query id, to value.
Scores = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Mean:
    """Of one system by one measure, with its interval over the queries."""

    value: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class Difference:
    """Of b from a by one measure: the mean of b less the mean of a.

    p: of the paired randomisation test. p_holm: corrected for all differences of the comparison.
    wins, losses: queries that b, or a, does better; ties: the others.
    """

    a: str
    b: str
    measure: str
    value: float
    interval: Interval
    p: float
    p_holm: float
    wins: int
    losses: int
    ties: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """systems: by name, the baseline first. means: by system, then measure. scores: of each system.

    differences: of every pair by every measure; the one named first stands first in each pair.
    """

    systems: tuple[str, ...]
    measures: tuple[str, ...]
    means: dict[str, dict[str, Mean]]
    differences: tuple[Difference, ...]
    scores: dict[str, Scores]
    seed: int

    @property
    def pairs(self) -> list[tuple[str, str]]:
        return list(combinations(self.systems, 2))

    def num_queries(self, measure: str) -> int:
        return len(self.scores[self.systems[0]][measure])

    def query_differences(self, a: str, b: str, measure: str) -> dict[str, float]:
        """What b scores above a, by query id, differences by rounding as 0."""
        first, second = self.scores[a][measure], self.scores[b][measure]
        found = {query: second[query] - value for query, value in first.items()}
        return {query: value if abs(value) > _TIE else 0.0 for query, value in found.items()}

    def most_changed(self, a: str, b: str, count: int = 10) -> list[str]:
        """Queries that differ most by the first measure, greatest first; those that do not are left out."""
        found = self.query_differences(a, b, self.measures[0])
        ordered = sorted((-abs(value), query) for query, value in found.items() if value)
        return [query for _, query in ordered[:count]]


def compare(systems: Mapping[str, Scores], *, seed: int = 0) -> Comparison:
    """Compare two systems or more that have values of the same measures for the same queries."""
    names, measures = tuple(systems), tuple(next(iter(systems.values())))
    found: dict[str, tuple[list[Mean], list[Difference]]] = {}
    # Measures of the same queries are worked out together: they share the draws, which cost most.
    groups: dict[tuple[str, ...], list[str]] = {}
    for measure in measures:
        groups.setdefault(tuple(systems[names[0]][measure]), []).append(measure)
    for queries, group in groups.items():
        values = {
            measure: np.array([[systems[name][measure][query] for query in queries] for name in names], np.float64)
            for measure in group
        }
        found |= _compare_group(names, values, seed)
    means = {name: {measure: found[measure][0][place] for measure in measures} for place, name in enumerate(names)}
    # By pair first: what a reader compares.
    pairs = range(len(names) * (len(names) - 1) // 2)
    ordered = [found[measure][1][pair] for pair in pairs for measure in measures]
    corrected = holm([one.p for one in ordered])
    differences = tuple(replace(one, p_holm=p) for one, p in zip(ordered, corrected, strict=True))
    return Comparison(names, measures, means, differences, dict(systems), seed)


def _compare_group(
    names: Sequence[str], values: Mapping[str, NDArray[np.float64]], seed: int
) -> dict[str, tuple[list[Mean], list[Difference]]]:
    """Means and differences by measure, not corrected yet. values: of each measure, float64 (systems, q)."""
    pairs = list(combinations(range(len(names)), 2))
    changes = {measure: np.array([rows[b] - rows[a] for a, b in pairs]) for measure, rows in values.items()}
    for rows in changes.values():
        rows[np.abs(rows) <= _TIE] = 0.0
    stacked = np.concatenate([*values.values(), *changes.values()])
    intervals = iter(bootstrap_intervals(stacked, confidence=CONFIDENCE, seed=seed))
    p_values = iter(randomization_p(np.concatenate(list(changes.values())), seed=seed))
    means = {
        measure: [Mean(float(row.mean()), next(intervals)) for row in rows] for measure, rows in values.items()
    }
    differences = {
        measure: [
            _difference(names[a], names[b], measure, row, next(intervals), float(next(p_values)))
            for (a, b), row in zip(pairs, rows, strict=True)
        ]
        for measure, rows in changes.items()
    }
    return {measure: (means[measure], differences[measure]) for measure in values}


def _difference(
    a: str, b: str, measure: str, row: NDArray[np.float64], interval: Interval, p: float
) -> Difference:
    wins, losses = int((row > 0).sum()), int((row < 0).sum())
    ties = len(row) - wins - losses
    return Difference(a, b, measure, float(row.mean()), interval, p, 1.0, wins, losses, ties)
