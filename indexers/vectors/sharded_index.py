"""Vector search over a corpus's shards: exact or by FAISS, without the dead, within a filter."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ragkit.extras import require
from ragkit.indexers.top_k import best_of
from ragkit.indexers.vectors.shard_index import Effort, ShardIndex
from ragkit.indexers.vectors.vector_shards import VectorShard, rows_of
from ragkit.records import FloatArray, KeyArray

# Rows that a filtered search gathers and scores at once.
_GATHERED_ROWS = 16_384
# HNSW with a filter: above this share of the rows the graph is walked, below it the rows are scored one by one.
_WALKED_SHARE = 0.1
_EFFORT_TOP = 10

Found = tuple[FloatArray, KeyArray]
Open = Callable[[VectorShard], ShardIndex]


@dataclass(slots=True)
class SearchedShard:
    """A shard and what searches it. dead: ascending rows that are not to be found. effort: as it was tuned."""

    shard: VectorShard
    index: ShardIndex
    dead: NDArray[np.int64]
    effort: Effort

    @property
    def num_living(self) -> int:
        return len(self.shard) - len(self.dead)

    def search(self, queries: FloatArray, k: int) -> Found:
        """float32 (q, k) scores and int64 (q, k) keys, best first, ties by key; then -inf and -1."""
        effort, fetch = self._effort_for(k), self._first_fetch(k)
        found, rows = self.index.nearest(queries, fetch, effort)
        if fetch >= k and self._is_plain(found, rows):
            return found[:, :k], self.shard.keys[rows[:, :k]]
        scores = np.full((len(queries), k), -np.inf, np.float32)
        keys = np.full((len(queries), k), -1, np.int64)
        waiting = np.arange(len(queries))
        while True:
            all_there = fetch >= len(self.shard) and effort.effort >= self.index.max_effort
            waiting = waiting[~self._take(found, rows, waiting, all_there, scores, keys)]
            if not len(waiting):
                return scores, keys
            fetch = min(2 * fetch, len(self.shard))
            effort = Effort(min(2 * effort.effort + 1, self.index.max_effort), effort.refine_factor)
            found, rows = self.index.nearest(queries[waiting], fetch, effort)

    def _is_plain(self, found: FloatArray, rows: KeyArray) -> bool:
        """Whether what FAISS found is the answer: nobody is dead, nothing ties, and no place is empty."""
        if len(self.dead) or not rows.size or rows.min() < 0:
            return False
        return bool((found[:, 1:] < found[:, :-1]).all())

    def _take(
        self,
        found: FloatArray,
        rows: KeyArray,
        places: KeyArray,
        all_there: bool,
        scores: FloatArray,
        keys: KeyArray,
    ) -> NDArray[np.bool_]:
        """Write the hits of each query to its place; returns of which queries all is known."""
        k, (num_queries, fetched) = scores.shape[1], found.shape
        alive = rows >= 0
        if len(self.dead):
            alive &= ~np.isin(rows, self.dead)
        enough = alive.sum(axis=1) >= min(k, self.num_living)
        settled = np.full(num_queries, True) if all_there else enough
        if self.index.exact and not all_there and fetched > 1:
            last = found[:, -1]
            settled &= self._kth(found, alive, k) > last
        for i in np.flatnonzero(settled):
            living = alive[i]
            scores[places[i]], keys[places[i]] = best_of(found[i][living], self.shard.keys[rows[i][living]], k)
        return settled

    @staticmethod
    def _kth(found: FloatArray, alive: NDArray[np.bool_], k: int) -> FloatArray:
        """Each query's k-th best living score; -inf where there are fewer."""
        if alive.all():
            return found[:, k - 1] if found.shape[1] >= k else np.full(len(found), -np.inf, np.float32)
        reached = alive & (np.cumsum(alive, axis=1) == k)
        return np.where(reached.any(axis=1), found[np.arange(len(found)), reached.argmax(axis=1)], -np.inf)

    def _first_fetch(self, k: int) -> int:
        # Of an exact search one hit more shows whether the cut goes through a tie.
        share = len(self.dead) / len(self.shard)
        more = math.ceil(2 * k * share) + 4 if len(self.dead) else 0
        return min(len(self.shard), k + more + self.index.exact)

    def _effort_for(self, k: int) -> Effort:
        """The effort was tuned for ten hits; more of them lie farther away, and need fewer candidates each."""
        effort, index, times = self.effort, self.index, math.sqrt(k / _EFFORT_TOP)
        if k <= _EFFORT_TOP:
            return effort
        wanted = max(effort.effort, 2 * k) if index.parameter == "efSearch" else math.ceil(effort.effort * times)
        factor = max(2, math.ceil(effort.refine_factor / times)) if index.is_lossy else 0
        return Effort(min(wanted, index.max_effort), factor)

    def search_among(self, queries: FloatArray, k: int, among: KeyArray) -> Found:
        """As `search`, over the rows with these keys, ascending."""
        rows = rows_of(self.shard.keys, among)
        if len(self.dead):
            rows = np.setdiff1d(rows, self.dead, assume_unique=True)
        if self.index.parameter == "efSearch" and len(rows) > _WALKED_SHARE * len(self.shard):
            walked = self._walk(queries, k, rows)
            if walked is not None:
                return walked
        return _scored(self.shard, rows, queries, k)

    def _walk(self, queries: FloatArray, k: int, rows: NDArray[np.int64]) -> Found | None:
        """By the graph; None where it leads to too few of the rows."""
        faiss = require("faiss")
        bits = np.zeros(len(self.shard), bool)
        bits[rows] = True
        packed = np.packbits(bits, bitorder="little")
        effort = self._effort_for(max(k, math.ceil(k * len(self.shard) / max(1, len(rows)))))
        selector = faiss.IDSelectorBitmap(packed)
        scores, found = self.index.nearest(queries, min(k, len(rows)), effort, selector)
        if (found < 0).any():
            return None
        pairs = [best_of(*pair, k) for pair in zip(scores, self.shard.keys[found], strict=True)]
        return np.stack([scores for scores, _ in pairs]), np.stack([keys for _, keys in pairs])


class ShardedIndex:
    """A `VectorIndex` over shards whose keys follow one another."""

    def __init__(self, shards: Sequence[SearchedShard]) -> None:
        self._shards = [shard for shard in shards if shard.num_living]

    def __len__(self) -> int:
        return sum(shard.num_living for shard in self._shards)

    def search(self, vectors: FloatArray, k: int, among: KeyArray | None = None) -> Found:
        """As `VectorIndex.search`."""
        queries = np.ascontiguousarray(vectors, np.float32)
        if among is None:
            found = [shard.search(queries, k) for shard in self._shards]
        else:
            allowed = np.unique(np.asarray(among, np.int64))
            found = [shard.search_among(queries, k, allowed) for shard in self._shards]
        if len(found) == 1:
            return found[0]
        return _merged(found, len(queries), k)


def _merged(found: Sequence[Found], num_queries: int, k: int) -> Found:
    """The best of all: a stable sort leaves ties in the order given, which is that of the keys."""
    none = (np.full((num_queries, k), -np.inf, np.float32), np.full((num_queries, k), -1, np.int64))
    scores = np.concatenate([none[0], *(scores for scores, _ in found)], axis=1)
    keys = np.concatenate([none[1], *(keys for _, keys in found)], axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(keys, order, axis=1)


def _scored(shard: VectorShard, rows: NDArray[np.int64], queries: FloatArray, k: int) -> Found:
    """Exact scores of these rows, piece by piece."""
    none = (np.full((len(queries), k), -np.inf, np.float32), np.full((len(queries), k), -1, np.int64))
    found = [none]
    for start in range(0, len(rows), _GATHERED_ROWS):
        piece = rows[start : start + _GATHERED_ROWS]
        keys = shard.keys[piece]
        scores = queries @ shard.vectors[piece].T
        pairs = [best_of(row, keys, k) for row in scores]
        found.append((np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs])))
        if len(found) > 16:
            found = [_merged(found, len(queries), k)]
    return _merged(found, len(queries), k)
