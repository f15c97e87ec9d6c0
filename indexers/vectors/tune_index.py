"""Raising a shard index's search effort until it finds what it should, by measuring."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ragkit.indexers.vectors.shard_index import Effort, ShardIndex, exact_index
from ragkit.records import FloatArray, KeyArray

TOP = 10
_NUM_QUERIES = 256
_FIRST_EFFORT = {"nprobe": 1, "efSearch": 16}
_REFINE_FACTORS = (2, 4, 8, 16, 32, 64)
# A refine factor must leave this share of what may be missed to the effort.
_LEFT_TO_EFFORT = 0.5


def sample_rows(num_rows: int, seed: int = 1) -> KeyArray:
    """Rows whose vectors stand for queries, ascending int64."""
    count = min(_NUM_QUERIES, num_rows)
    rows = np.random.default_rng(seed).choice(num_rows, count, replace=False)
    rows.sort()
    return rows


class RecallMeter:
    """Share of the true ten nearest that a search of a shard finds.

    queries: float32 (q, dim). own_rows: int64 (q,), where the queries are vectors of the shard: the row of each,
    which is left out of what is to be found.
    """

    def __init__(self, vectors: FloatArray, queries: FloatArray, own_rows: KeyArray | None = None) -> None:
        self.queries = queries
        self._own = own_rows
        self._k = min(TOP + (own_rows is not None), len(vectors))
        _, rows = exact_index(vectors).nearest(queries, self._k, Effort(0, 0))
        self._truth = self._sets(rows)

    def recall(self, index: ShardIndex, effort: Effort) -> float:
        """Mean over the queries; 1.0 where there is nothing to be found."""
        _, rows = index.nearest(self.queries, self._k, effort)
        shares = [
            len(found & true) / len(true)
            for found, true in zip(self._sets(rows), self._truth, strict=True)
            if true
        ]
        return float(np.mean(shares)) if shares else 1.0

    def _sets(self, rows: KeyArray) -> list[set[int]]:
        own = [-1] * len(rows) if self._own is None else self._own.tolist()
        kept = (
            [row for row in found if row not in (-1, mine)] for found, mine in zip(rows.tolist(), own, strict=True)
        )
        return [set(found[:TOP]) for found in kept]


def tune(index: ShardIndex, meter: RecallMeter, target: float) -> tuple[Effort, float]:
    """The least effort whose recall reaches the target, else the greatest one; and its recall."""
    factor = _refine_factor(index, meter, target) if index.is_lossy else 0
    effort, recall = Effort(0, factor), 0.0
    for level in _levels(index):
        effort = Effort(level, factor)
        recall = meter.recall(index, effort)
        if recall >= target:
            break
    return effort, recall


def _refine_factor(index: ShardIndex, meter: RecallMeter, target: float) -> int:
    """The least factor that leaves room below the target when no effort is spared."""
    wanted = target + _LEFT_TO_EFFORT * (1 - target)
    high = min(index.max_effort, 512)
    return next(
        (f for f in _REFINE_FACTORS if meter.recall(index, Effort(high, f)) >= wanted), _REFINE_FACTORS[-1]
    )


def _levels(index: ShardIndex) -> Iterator[int]:
    """From a low effort up, by about a half each time."""
    if not index.parameter:
        yield 0
        return
    level = min(_FIRST_EFFORT[index.parameter], index.max_effort)
    while level < min(index.max_effort, 4096):
        yield level
        level += max(1, level // 2)
    yield min(index.max_effort, 4096)
