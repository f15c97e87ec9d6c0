"""Raising a shard index's search effort until it finds what it should, by measuring."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ragkit.indexers.vectors.shard_index import Effort, ShardIndex, exact_index
from ragkit.records import FloatArray, KeyArray

# Effort is measured for so many hits, and for so many; between and beyond it is reckoned from both.
TOP, DEEP = 10, 100
_SCORE_ERROR = 1e-5
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
    """Share of the `top` nearest that a search of a shard finds: of hits that score as well as those do.

    By scores and not by rows: among equal vectors, as of repeated texts, one is as good as another.

    queries: float32 (q, dim). own_rows: int64 (q,), the rows that the queries were made from, if they were:
    these are not counted.
    """

    def __init__(
        self, vectors: FloatArray, queries: FloatArray, own_rows: KeyArray | None = None, top: int = TOP
    ) -> None:
        self._queries = queries
        self._own = np.full(len(queries), -2) if own_rows is None else own_rows
        self._count = min(top, len(vectors) - 1)
        self._k = min(top + 1, len(vectors))
        scores, rows = exact_index(vectors).nearest(queries, self._k, Effort(0, 0))
        kept = np.sort(self._kept(scores, rows), axis=1)[:, ::-1]
        last = kept[:, self._count - 1] if self._count else np.zeros(len(queries))
        self._least = last - _SCORE_ERROR * np.maximum(1, np.abs(last))

    def recall(self, index: ShardIndex, effort: Effort) -> float:
        """Mean over the queries; 1.0 where there is nothing to be found."""
        if not self._count:
            return 1.0
        kept = self._kept(*index.nearest(self._queries, self._k, effort))
        found = (kept >= self._least[:, None]).sum(axis=1)
        return float(np.minimum(found, self._count).mean() / self._count)

    def _kept(self, scores: FloatArray, rows: KeyArray) -> FloatArray:
        return np.where((rows >= 0) & (rows != self._own[:, None]), scores, -np.inf)


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
