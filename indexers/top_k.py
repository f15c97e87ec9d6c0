"""The k best of many scores, ties by key: the order that every index of the house returns."""

from __future__ import annotations

import numpy as np

from ragkit.records import FloatArray, KeyArray


def best_of(scores: FloatArray, keys: KeyArray, k: int) -> tuple[FloatArray, KeyArray]:
    """float32 (k,) scores and int64 (k,) keys, best first; places without a hit hold -inf and -1.

    Args:
        scores: float32 (n,); -inf marks what is no hit.
        keys: int64 (n,), each once.
    """
    if len(scores) > k:
        # Everything that ties with the k-th best stays, so that the cut is made by key and not by chance.
        kth_best = np.partition(scores, len(scores) - k)[len(scores) - k]
        kept = np.flatnonzero(scores >= kth_best)
        scores, keys = scores[kept], keys[kept]
    order = np.lexsort((keys, -scores))[:k]
    best_scores = np.full(k, -np.inf, np.float32)
    best_keys = np.full(k, -1, np.int64)
    best_scores[: len(order)] = scores[order]
    best_keys[: len(order)] = np.where(np.isneginf(scores[order]), -1, keys[order])
    return best_scores, best_keys
