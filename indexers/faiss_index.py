"""Exact search by FAISS."""

from __future__ import annotations

from typing import Any

import numpy as np

from ragkit.extras import require
from ragkit.indexers.top_k import best_of
from ragkit.records import FloatArray, KeyArray


class FaissFlatIndex:
    """A `VectorIndex` over `faiss.IndexFlatIP`: exact inner products, no training, no loss.

    Keys stand beside the index in the order of its rows, so adding is an append and FAISS searches
    bare rows.
    """

    def __init__(self, dim: int) -> None:
        self._faiss: Any = require("faiss")
        self._index: Any = self._faiss.IndexFlatIP(dim)
        self._keys: KeyArray = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, keys: KeyArray, vectors: FloatArray) -> None:
        """keys int64 (n,), vectors float32 (n, dim)."""
        self._index.add(np.ascontiguousarray(vectors, np.float32))
        self._keys = np.concatenate([self._keys, keys])

    def remove(self, keys: KeyArray) -> int:
        """Returns how many of the keys were there."""
        gone = np.isin(self._keys, keys)
        self._index.remove_ids(np.flatnonzero(gone))
        self._keys = self._keys[~gone]
        return int(gone.sum())

    def search(self, vectors: FloatArray, k: int, among: KeyArray | None = None) -> tuple[FloatArray, KeyArray]:
        """As `VectorIndex.search`."""
        rows = None if among is None else np.flatnonzero(np.isin(self._keys, among))
        available = len(self) if rows is None else len(rows)
        queries = np.ascontiguousarray(vectors, np.float32)
        # FAISS breaks ties at the cut by chance. One hit more shows whether the cut goes through a tie.
        scores, found = self._nearest(queries, min(k + 1, available), rows)
        best = [best_of(*self._widen(queries[i], scores[i], found[i], k, rows), k) for i in range(len(queries))]
        if not best:
            return np.zeros((0, k), np.float32), np.zeros((0, k), np.int64)
        return np.stack([row[0] for row in best]), np.stack([row[1] for row in best])

    def _widen(
        self, query: FloatArray, scores: FloatArray, found: KeyArray, k: int, rows: KeyArray | None
    ) -> tuple[FloatArray, KeyArray]:
        """Scores and keys that hold every row which ties with the k-th best, so that the cut is made by key."""
        available = len(self) if rows is None else len(rows)
        while k < len(scores) < available and scores[k - 1] == scores[-1]:
            more_scores, more_found = self._nearest(query[None], min(2 * len(scores), available), rows)
            scores, found = more_scores[0], more_found[0]
        return scores, self._keys[found]

    def _nearest(self, queries: FloatArray, k: int, rows: KeyArray | None) -> tuple[FloatArray, KeyArray]:
        if k == 0:
            return np.zeros((len(queries), 0), np.float32), np.zeros((len(queries), 0), np.int64)
        selector = None if rows is None else self._faiss.IDSelectorBatch(rows)
        parameters = None if selector is None else self._faiss.SearchParameters(sel=selector)
        scores, found = self._index.search(queries, k, params=parameters)
        return scores, found
