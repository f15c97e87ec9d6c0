"""Exact search in plain numpy: the reference for other indexes, and a fake for users' tests."""

from __future__ import annotations

import numpy as np

from ragkit.indexers.top_k import best_of
from ragkit.records import FloatArray, KeyArray


class NumpyIndex:
    """A `VectorIndex` that multiplies every query with every vector."""

    def __init__(self, dim: int) -> None:
        self._keys: KeyArray = np.zeros(0, np.int64)
        self._vectors: FloatArray = np.zeros((0, dim), np.float32)

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, keys: KeyArray, vectors: FloatArray) -> None:
        """keys int64 (n,), vectors float32 (n, dim)."""
        self._keys = np.concatenate([self._keys, keys])
        self._vectors = np.concatenate([self._vectors, vectors])

    def remove(self, keys: KeyArray) -> int:
        """Returns how many of the keys were there."""
        gone = np.isin(self._keys, keys)
        self._keys, self._vectors = self._keys[~gone], self._vectors[~gone]
        return int(gone.sum())

    def search(self, vectors: FloatArray, k: int, among: KeyArray | None = None) -> tuple[FloatArray, KeyArray]:
        """As `VectorIndex.search`."""
        allowed = np.ones(len(self), bool) if among is None else np.isin(self._keys, among)
        scores, keys = self._vectors[allowed] @ vectors.T, self._keys[allowed]
        rows = [best_of(column, keys, k) for column in scores.T]
        if not rows:
            return np.zeros((0, k), np.float32), np.zeros((0, k), np.int64)
        return np.stack([row[0] for row in rows]), np.stack([row[1] for row in rows])
