"""Comparing systems by the same queries: means, differences, how sure they are, and who wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ragkit.eval.significance import Interval, bootstrap_intervals, holm, randomization_p

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
    means: dict[str, dict[str, Mean]] = {name: {} for name in names}
    found: list[Difference] = []
    for measure in measures:
        queries = list(systems[names[0]][measure])
        values = np.array([[systems[name][measure][query] for query in queries] for name in names], np.float64)
        for name, row, interval in zip(names, values, _intervals(values, seed), strict=True):
            means[name][measure] = Mean(float(row.mean()), interval)
        found += _differences(names, measure, values, seed)
    corrected = holm([one.p for one in found])
    with_holm = [replace(one, p_holm=p) for one, p in zip(found, corrected, strict=True)]
    # By pair first: what a reader compares.
    order = {pair: place for place, pair in enumerate(combinations(names, 2))}
    differences = tuple(sorted(with_holm, key=lambda one: order[one.a, one.b]))
    return Comparison(names, measures, means, differences, dict(systems), seed)


def _intervals(values: NDArray[np.float64], seed: int) -> list[Interval]:
    return bootstrap_intervals(values, confidence=CONFIDENCE, seed=seed)


def _differences(names: Sequence[str], measure: str, values: NDArray[np.float64], seed: int) -> list[Difference]:
    pairs = list(combinations(range(len(names)), 2))
    rows = np.array([values[b] - values[a] for a, b in pairs])
    rows[np.abs(rows) <= _TIE] = 0.0
    found = []
    parts = zip(pairs, rows, _intervals(rows, seed), randomization_p(rows, seed=seed), strict=True)
    for (a, b), row, interval, p in parts:
        wins, losses = int((row > 0).sum()), int((row < 0).sum())
        ties = len(row) - wins - losses
        mean = float(row.mean())
        found.append(Difference(names[a], names[b], measure, mean, interval, float(p), 1.0, wins, losses, ties))
    return found
