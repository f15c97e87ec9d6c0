"""Merging rankings of the same passages by several retrievers.

A ranking is a pair of arrays, best first: keys int64 (n,) and scores (n,). Places without a hit, as
`VectorIndex.search` leaves them (key -1), are passed over. Merged scores are float64, so that equal sums
stay equal; the merged ranking is ordered by score, then by key.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ragkit.records import FloatArray, KeyArray

ScoreArray = NDArray[np.float64]
Ranking = tuple[KeyArray, FloatArray | ScoreArray]


def reciprocal_rank_fusion(rankings: Sequence[Ranking], k: int = 60) -> tuple[KeyArray, ScoreArray]:
    """Sum of 1 / (k + rank) over the rankings that hold the passage, rank from 1.

    Cormack, Clarke and Büttcher, "Reciprocal rank fusion outperforms Condorcet and individual rank
    learning methods", SIGIR 2009. Scores serve only through the order of the ranking.

    Raises:
        ValueError: a ranking names a passage twice, or its arrays differ in length.
    """
    parts = []
    for ranking in rankings:
        keys, _ = _hits_of(*ranking)
        parts.append((keys, 1.0 / (k + np.arange(1, len(keys) + 1, dtype=np.float64))))
    return merge(parts)


def weighted_score_fusion(
    rankings: Sequence[Ranking],
    weights: Sequence[float],
    floors: Sequence[float | None] | None = None,
) -> tuple[KeyArray, ScoreArray]:
    """Weighted sum of scores scaled to 0..1 by `scale_min_max`; a ranking without the passage adds 0.

    Fox and Shaw's CombSUM ("Combination of multiple searches", TREC-2, 1994) over min-max scaled
    scores (Lee, "Analyses of multiple evidence combination", SIGIR 1997), with weights.

    Args:
        floors: for each ranking the score that becomes 0, or None for the ranking's own lowest. Where
            a passage that was not found would score 0, as in BM25, the floor 0 keeps the passages at
            the end of a short ranking above those that it lacks.

    Raises:
        ValueError: not one weight and one floor a ranking, a weight below 0, a ranking that names a
            passage twice, or a score that is not finite or below its floor.
    """
    floors = [None] * len(rankings) if floors is None else floors
    if not len(weights) == len(floors) == len(rankings):
        raise ValueError(f"{len(rankings)} rankings, {len(weights)} weights, {len(floors)} floors: must be equal")
    if any(weight < 0 for weight in weights):
        raise ValueError(f"weights must not be negative: {list(weights)}")
    parts = []
    for ranking, weight, floor in zip(rankings, weights, floors, strict=True):
        keys, scores = _hits_of(*ranking)
        parts.append((keys, weight * scale_min_max(scores, floor)))
    return merge(parts)


def scale_min_max(scores: FloatArray | ScoreArray, floor: float | None = None) -> ScoreArray:
    """float64 (n,): the highest score becomes 1, the floor (by default the lowest score) 0.

    Scores that all lie on the floor, as a single score does without one, become 1: being found is
    worth more than not being found, and such a ranking says no more than that.
    """
    exact = np.asarray(scores, dtype=np.float64)
    if len(exact) == 0:
        return exact
    if not np.isfinite(exact).all():
        raise ValueError("scores to be scaled must be finite")
    low, high = exact.min() if floor is None else floor, exact.max()
    if exact.min() < low:
        raise ValueError(f"score {exact.min()} lies below the floor {low}")
    return np.ones_like(exact) if low == high else (exact - low) / (high - low)


def merge(parts: Sequence[tuple[KeyArray, ScoreArray]]) -> tuple[KeyArray, ScoreArray]:
    """Add up the scores of each key; by score, best first, then by key."""
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0, np.float64)
    keys, places = np.unique(np.concatenate([keys for keys, _ in parts]), return_inverse=True)
    scores = np.zeros(len(keys), np.float64)
    np.add.at(scores, places, np.concatenate([scores for _, scores in parts]))
    order = np.lexsort((keys, -scores))
    return keys[order].astype(np.int64), scores[order]


def _hits_of(keys: KeyArray, scores: FloatArray | ScoreArray) -> Ranking:
    if len(keys) != len(scores):
        raise ValueError(f"a ranking has {len(keys)} keys but {len(scores)} scores")
    found = keys >= 0
    keys, scores = keys[found], scores[found]
    if len(np.unique(keys)) != len(keys):
        raise ValueError("a ranking names the same passage twice")
    return keys, scores
