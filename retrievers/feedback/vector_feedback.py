"""Feedback without training on vectors: the query moves towards the passages that it found.

Rocchio, "Relevance feedback in information retrieval", 1971; on dense vectors with pseudo-relevance Li, Mourad,
Zhuang, Koopman and Zuccon, "Pseudo relevance feedback with deep language models and dense retrievers", TOIS 2023.
It works on whatever was embedded: texts and page pictures alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ragkit.protocols import VectorIndex
from ragkit.records import FloatArray, Hit, Query
from ragkit.retrievers.feedback.passage_vectors import vectors_of_hits


@dataclass(frozen=True, slots=True)
class Shares:
    """What a revised vector is made of: the query, and the means of the first and of the last passages.

    The last are taken away.
    """

    query: float
    first: float
    last: float = 0.0


# The shares for a number of first passages, at least one.
ShareOf = Callable[[int], Shares]


def average(count: int) -> Shares:
    """Avg-k: the mean of the query and its k passages, each of which counts as much."""
    return Shares(1 / (count + 1), count / (count + 1))


@dataclass(frozen=True, slots=True)
class LastHits:
    """Passages taken for not relevant: the last `count` among the first `pool` hits."""

    count: int
    pool: int


class VectorFeedback:
    """A `Feedback` that revises the vectors of queries.

    Args:
        index: has the passages' vectors.
        metric: the embedder's; with "cosine" revised vectors are of unit length again.
        depth: first hits that the query moves towards; all of them where there are fewer.
        last: hits that it moves away from; never those that it moves towards.
    """

    def __init__(
        self,
        index: VectorIndex,
        metric: Literal["cosine", "dot"],
        share_of: ShareOf,
        depth: int,
        last: LastHits | None = None,
    ) -> None:
        self._index = index
        self._metric = metric
        self._share_of = share_of
        self._depth = depth
        self._last = last

    @property
    def num_hits(self) -> int:
        """As `Feedback.num_hits`."""
        return self._depth if self._last is None else max(self._depth, self._last.pool)

    def revise(self, queries: Sequence[Query], found: Sequence[Sequence[Hit]]) -> list[Query]:
        """As `Feedback.revise`."""
        first = [hits[: self._depth] for hits in found]
        last = [self._last_of(hits) for hits in found]
        vectors = vectors_of_hits(self._index, [*first, *last])
        return [
            self._revised(query, towards, away)
            for query, towards, away in zip(queries, vectors[: len(first)], vectors[len(first) :], strict=True)
        ]

    def _last_of(self, hits: Sequence[Hit]) -> Sequence[Hit]:
        return () if self._last is None else hits[self._depth : self._last.pool][-self._last.count :]

    def _revised(self, query: Query, towards: FloatArray, away: FloatArray) -> Query:
        """towards, away: float32 (n, dim)."""
        if query.dense is None or not len(towards):
            return query
        shares = self._share_of(len(towards))
        revised = shares.query * query.dense.astype(np.float64) + shares.first * _mean(towards)
        if len(away):
            revised -= shares.last * _mean(away)
        if self._metric == "cosine":
            length = float(np.linalg.norm(revised))
            if not length:
                return query
            revised /= length
        depth = max(query.feedback_depth, len(towards))
        return replace(query, dense=revised.astype(np.float32), feedback_depth=depth)


def _mean(rows: FloatArray) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = rows.mean(axis=0, dtype=np.float64)
    return mean
