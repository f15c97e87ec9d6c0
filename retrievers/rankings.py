"""From rankings of passage keys to hits with their passages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ragkit.protocols import PassageStore
from ragkit.records import FloatArray, Hit, KeyArray
from ragkit.retrievers.fusion import Ranking


def to_rankings(scores: FloatArray, keys: KeyArray) -> list[Ranking]:
    """One ranking a row of an index's answer (q, k), without the places that hold no hit."""
    rankings: list[Ranking] = []
    for row_scores, row_keys in zip(scores, keys, strict=True):
        found = row_keys >= 0
        rankings.append((row_keys[found], row_scores[found]))
    return rankings


def load_hits(store: PassageStore, rankings: Sequence[Ranking]) -> list[list[Hit]]:
    """Hits in the order of the rankings; each passage is read once."""
    keys = np.unique(np.concatenate([np.zeros(0, np.int64), *(keys for keys, _ in rankings)]))
    passages = dict(zip(keys.tolist(), store.passages(keys.tolist()), strict=True))
    return [
        [Hit(float(score), passages[int(key)]) for key, score in zip(ranked, scores, strict=True)]
        for ranked, scores in rankings
    ]
