"""Stand-ins for trained models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ragkit.records import FloatArray, Hit


class SumReformulator:
    """Adds the sum of the passages' vectors to the question's, and remembers what it was shown."""

    kind: Literal["vector"] = "vector"
    most = 5

    def __init__(self, fingerprint: str = "hash-64") -> None:
        self.fingerprint = fingerprint
        self.shown: list[tuple[str, list[int]]] = []

    def revise(
        self,
        questions: Sequence[str],
        vectors: FloatArray,
        passages: Sequence[Sequence[Hit]],
        passage_vectors: Sequence[FloatArray],
    ) -> FloatArray:
        keys = [[hit.passage.key for hit in hits] for hits in passages]
        self.shown += zip(questions, keys, strict=True)
        rows = [vector + rows.sum(axis=0) for vector, rows in zip(vectors, passage_vectors, strict=True)]
        return np.array(rows, np.float32)

    def choose_depths(
        self,
        questions: Sequence[str],
        vectors: FloatArray,
        passages: Sequence[Sequence[Hit]],
        passage_vectors: Sequence[FloatArray],
    ) -> list[int]:
        return [len(hits) for hits in passages]


class CautiousReformulator(SumReformulator):
    """Its guard takes as many passages as the question has words, less one."""

    def choose_depths(
        self,
        questions: Sequence[str],
        vectors: FloatArray,
        passages: Sequence[Sequence[Hit]],
        passage_vectors: Sequence[FloatArray],
    ) -> list[int]:
        return [len(question.split()) - 1 for question in questions]
