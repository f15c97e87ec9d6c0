"""Exact search in plain numpy: the reference for other indexes, and a fake for users' tests."""

from __future__ import annotations

import numpy as np

from ragkit.indexers.top_k import best_of
from ragkit.indexers.vectors.vector_shards import places_of
from ragkit.records import FloatArray, KeyArray


class NumpyIndex:
    """A `VectorIndex` that multiplies every query with every vector."""

    def __init__(self, keys: KeyArray, vectors: FloatArray) -> None:
        """keys int64 (n,), each once; vectors float32 (n, dim)."""
        self._keys = keys
        self._vectors = vectors

    def __len__(self) -> int:
        return len(self._keys)

    def search(self, vectors: FloatArray, k: int, among: KeyArray | None = None) -> tuple[FloatArray, KeyArray]:
        """As `VectorIndex.search`."""
        allowed = np.ones(len(self), bool) if among is None else np.isin(self._keys, among)
        scores, keys = self._vectors[allowed] @ vectors.T, self._keys[allowed]
        rows = [best_of(column, keys, k) for column in scores.T]
        if not rows:
            return np.zeros((0, k), np.float32), np.zeros((0, k), np.int64)
        return np.stack([row[0] for row in rows]), np.stack([row[1] for row in rows])

    def vectors_of(self, keys: KeyArray) -> FloatArray:
        """As `VectorIndex.vectors_of`."""
        order = np.argsort(self._keys)
        return self._vectors[order[places_of(self._keys[order], keys)]]
