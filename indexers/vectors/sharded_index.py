"""Vector search over a corpus's shards: exact or by FAISS, without the dead, within a filter."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ragkit.extras import require
from ragkit.indexers.top_k import best_of
from ragkit.indexers.vectors.shard_index import Effort, ShardIndex
from ragkit.indexers.vectors.tune_index import DEEP, TOP
from ragkit.indexers.vectors.vector_shards import VectorShard, places_of, rows_of
from ragkit.records import FloatArray, KeyArray

# Rows that a filtered search gathers and scores at once.
_GATHERED_ROWS = 16_384
# HNSW with a filter: above this share of the rows the graph is walked, below it the rows are scored one by one.
_WALKED_SHARE = 0.1

Found = tuple[FloatArray, KeyArray]


class SearchedShard:
    """A shard and what searches it.

    Args:
        dead: ascending rows that are not to be found.
        effort: as it was tuned for TOP hits.
        deep: as it was tuned for DEEP hits; where it is not known, `effort`.
    """

    def __init__(
        self,
        shard: VectorShard,
        index: ShardIndex,
        dead: NDArray[np.int64],
        effort: Effort,
        deep: Effort | None = None,
    ) -> None:
        self.shard = shard
        self.index = index
        self.dead = dead
        self.effort = effort
        self.deep = deep or effort
        self.num_living = len(shard) - len(dead)
        self._is_dead = np.zeros(len(shard), bool) if len(dead) else None
        if self._is_dead is not None:
            self._is_dead[dead] = True

    def search(self, queries: FloatArray, k: int) -> Found:
        """float32 (q, k) scores and int64 (q, k) keys, best first, ties by key; then -inf and -1."""
        effort, fetch = self._effort_for(k), self._first_fetch(k)
        found, rows = self.index.nearest(queries, fetch, effort)
        if self._all_plain(found, rows, k):
            return found[:, :k], self.shard.keys.take(rows[:, :k])
        plain = self._plain(found, rows, k)
        scores, keys = _nothing(len(queries), k)
        if plain.any():
            scores[plain], keys[plain] = found[plain, :k], self.shard.keys[rows[plain, :k]]
        waiting = np.flatnonzero(~plain)
        self._settle(queries, (scores, keys), waiting, (found[waiting], rows[waiting]), effort, fetch)
        return scores, keys

    def _settle(
        self,
        queries: FloatArray,
        into: Found,
        waiting: NDArray[np.int64],
        found: Found,
        effort: Effort,
        fetch: int,
    ) -> None:
        """Look further for those that wait, until what was found of each is sure to be the answer."""
        scores, keys = into
        k = scores.shape[1]
        while True:
            is_all = fetch >= len(self.shard) and effort.effort >= self.index.max_effort
            scores[waiting], keys[waiting], settled = self._cut(*found, k, is_all)
            waiting = waiting[~settled]
            if not len(waiting):
                return
            if is_all:
                # A graph that does not hold together, as among many equal vectors.
                scores[waiting], keys[waiting] = self._scored(self._living(), queries[waiting], k)
                return
            fetch = min(2 * fetch, len(self.shard))
            effort = Effort(min(2 * effort.effort + 1, self.index.max_effort), effort.refine_factor)
            found = self.index.nearest(queries[waiting], fetch, effort)

    def _all_plain(self, found: FloatArray, rows: KeyArray, k: int) -> bool:
        """Whether `_plain` is True for all, of one at least: as it is for most searches, and quicker told."""
        num_queries, num_found = found.shape
        if not num_queries or num_found < max(1, k):
            return False
        if np.count_nonzero(found[:, 1:] < found[:, :-1]) < num_queries * (num_found - 1):
            return False
        if min(rows[:, -1].tolist()) < 0:
            return False
        return self._is_dead is None or not np.count_nonzero(self._is_dead.take(rows[:, :k]))

    def _plain(self, found: FloatArray, rows: KeyArray, k: int) -> NDArray[np.bool_]:
        """bool (q,): where the first k found are the answer: none is dead or missing, and nothing ties."""
        if found.shape[1] < max(1, k):
            return np.zeros(len(found), bool)
        plain = (found[:, 1:] < found[:, :-1]).all(axis=1) & (rows[:, -1] >= 0)
        if self._is_dead is not None:
            plain &= ~self._is_dead[rows[:, :k]].any(axis=1)
        return plain

    def _cut(
        self, found: FloatArray, rows: KeyArray, k: int, is_all: bool
    ) -> tuple[FloatArray, KeyArray, NDArray[np.bool_]]:
        """The k best living ones of what FAISS found, and of which queries they are sure to be the answer."""
        lowest = found[:, -1] if found.shape[1] else np.zeros(len(found), np.float32)
        alive = rows >= 0
        if self._is_dead is not None:
            alive &= ~self._is_dead[rows]
        if not alive.all():
            order = np.argsort(~alive, axis=1, kind="stable")
            found = np.take_along_axis(np.where(alive, found, -np.inf), order, axis=1)
            rows = np.take_along_axis(np.where(alive, rows, -1), order, axis=1)
        missing = max(0, k - found.shape[1])
        found = np.pad(found, ((0, 0), (0, missing)), constant_values=-np.inf)
        rows = np.pad(rows, ((0, 0), (0, missing)), constant_values=-1)
        settled = alive.sum(axis=1) >= min(k, self.num_living)
        if self.index.exact and not is_all:
            settled &= found[:, k - 1] > lowest
        keys = np.where(rows < 0, -1, self.shard.keys[rows])
        scores, best = found[:, :k].astype(np.float32, copy=True), keys[:, :k].copy()
        tied = (found[:, 1:] == found[:, :-1]) & (rows[:, 1:] >= 0)
        for i in np.flatnonzero(tied.any(axis=1)):
            scores[i], best[i] = best_of(found[i], keys[i], k)
        return scores, best, settled

    def _first_fetch(self, k: int) -> int:
        # Of an exact search one hit more shows whether the cut goes through a tie.
        share = len(self.dead) / len(self.shard)
        more = math.ceil(2 * k * share) + 4 if len(self.dead) else 0
        return min(len(self.shard), k + more + self.index.exact)

    def _effort_for(self, k: int) -> Effort:
        """Effort was tuned for few hits and for many: else it follows the power of k through both."""
        if k <= TOP or not (self.index.parameter or self.index.is_lossy):
            return self.effort
        share = math.log(k / TOP) / math.log(DEEP / TOP)
        wanted, factor = (
            math.ceil(near * (max(1, deep) / max(1, near)) ** share)
            for near, deep in (
                (self.effort.effort, self.deep.effort),
                (self.effort.refine_factor, self.deep.refine_factor),
            )
        )
        if self.index.parameter == "efSearch":
            wanted = max(wanted, k)
        return Effort(min(wanted, self.index.max_effort), max(2, factor) if self.index.is_lossy else 0)

    def search_among(self, queries: FloatArray, k: int, among: KeyArray) -> Found:
        """As `search`, over the rows with these keys, ascending."""
        rows = rows_of(self.shard.keys, among)
        if len(self.dead):
            rows = np.setdiff1d(rows, self.dead, assume_unique=True)
        if self.index.parameter == "efSearch" and len(rows) > _WALKED_SHARE * len(self.shard):
            walked = self._walk(queries, k, rows)
            if walked is not None:
                return walked
        return self._scored(rows, queries, k)

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

    def _living(self) -> NDArray[np.int64]:
        return np.arange(len(self.shard)) if self._is_dead is None else np.flatnonzero(~self._is_dead)

    def _scored(self, rows: NDArray[np.int64], queries: FloatArray, k: int) -> Found:
        """Exact scores of these rows, ascending, piece by piece."""
        found = [_nothing(len(queries), k)]
        for start in range(0, len(rows), _GATHERED_ROWS):
            piece = rows[start : start + _GATHERED_ROWS]
            first, last = int(piece[0]), int(piece[-1]) + 1
            if 2 * len(piece) > last - first:  # Reading on costs less than picking rows out.
                scores = (queries @ self.shard.vectors[first:last].T)[:, piece - first]
            else:
                scores = queries @ self.shard.vectors[piece].T
            keys = self.shard.keys[piece]
            pairs = [best_of(row, keys, k) for row in scores]
            found.append((np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs])))
            if len(found) > 16:
                found = [_merged(found, len(queries), k)]
        return _merged(found, len(queries), k)


def _nothing(num_queries: int, k: int) -> Found:
    return np.full((num_queries, k), -np.inf, np.float32), np.full((num_queries, k), -1, np.int64)


class ShardedIndex:
    """A `VectorIndex` over shards whose keys follow one another."""

    def __init__(self, shards: Sequence[SearchedShard]) -> None:
        self._shards = [shard for shard in shards if shard.num_living]
        self._num_living = sum(shard.num_living for shard in self._shards)

    def __len__(self) -> int:
        return self._num_living

    def search(self, vectors: FloatArray, k: int, among: KeyArray | None = None) -> Found:
        """As `VectorIndex.search`."""
        queries, there = np.ascontiguousarray(vectors, np.float32), min(k, self._num_living)
        if among is None:
            found = [shard.search(queries, there) for shard in self._shards]
        else:
            allowed = np.unique(np.asarray(among, np.int64))
            found = [shard.search_among(queries, there, allowed) for shard in self._shards]
        if there == k > 0:
            found = _without_lower(found)
            if len(found) == 1:
                return found[0]
        return _merged(found, len(queries), k)

    def vectors_of(self, keys: KeyArray) -> FloatArray:
        """As `VectorIndex.vectors_of`: from the mapped shards, also where FAISS searches codes of the vectors."""
        wanted = np.asarray(keys, np.int64)
        shards = [searched.shard for searched in self._shards]
        numbers = np.searchsorted([int(shard.keys[-1]) for shard in shards], wanted)
        vectors = np.zeros((len(wanted), shards[0].vectors.shape[1] if shards else 0), np.float32)
        for number, shard in enumerate(shards):
            here = np.flatnonzero(numbers == number)
            vectors[here] = shard.vectors[places_of(shard.keys, wanted[here])]
        places_of(np.zeros(0, np.int64), wanted[numbers == len(shards)])
        return vectors


def _without_lower(found: Sequence[Found]) -> list[Found]:
    """Without the shards that cannot change the k hits (q, k) of the first, as those of a few new passages mostly.

    Among equal scores the keys of the first shard come first.
    """
    lowest = found[0][0][:, -1]
    return [found[0], *(other for other in found[1:] if np.count_nonzero(other[0][:, 0] > lowest))]


def _merged(found: Sequence[Found], num_queries: int, k: int) -> Found:
    """The best of all: a stable sort leaves ties in the order given, which is that of the keys."""
    if sum(scores.shape[1] for scores, _ in found) < k:
        found = [*found, _nothing(num_queries, k)]
    scores = np.concatenate([scores for scores, _ in found], axis=1)
    keys = np.concatenate([keys for _, keys in found], axis=1)
    places = np.arange(len(scores))[:, None], np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return scores[places], keys[places]
