"""Feedback by a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ragkit.protocols import VectorIndex
from ragkit.records import FloatArray, Hit, Query
from ragkit.retrievers.feedback.passage_vectors import vectors_of_hits
from ragkit.retrievers.feedback.reformulator import Reformulator


class ReformulatorFeedback:
    """A `Feedback` that revises the vectors of queries by a `Reformulator`.

    Args:
        index: has the passages' vectors.
        depth: the most first hits that the model is shown; never more than it looks at.
        is_guarded: whether the model chooses by how many of these each query is revised.
    """

    def __init__(
        self, reformulator: Reformulator, index: VectorIndex, depth: int, is_guarded: bool = False
    ) -> None:
        self._reformulator = reformulator
        self._index = index
        self._depth = min(depth, reformulator.most)
        self._is_guarded = is_guarded

    @property
    def num_hits(self) -> int:
        """As `Feedback.num_hits`."""
        return self._depth

    def revise(self, queries: Sequence[Query], found: Sequence[Sequence[Hit]]) -> list[Query]:
        """As `Feedback.revise`: the model sees no query without hits, nor one for which it chose no depth."""
        shown = [hits[: self._depth] for hits in found]
        vectors = vectors_of_hits(self._index, shown)
        depths = self._depths(queries, shown, vectors)
        places = [i for i, query in enumerate(queries) if depths[i] and query.dense is not None]
        revised = list(queries)
        if places:
            rows = self._reformulator.revise(
                [queries[i].text for i in places],
                _dense(queries, places),
                [shown[i][: depths[i]] for i in places],
                [vectors[i][: depths[i]] for i in places],
            )
            for i, row in zip(places, rows, strict=True):
                depth = max(queries[i].feedback_depth, depths[i])
                revised[i] = replace(queries[i], dense=row, feedback_depth=depth)
        return revised

    def _depths(
        self, queries: Sequence[Query], shown: Sequence[Sequence[Hit]], vectors: Sequence[FloatArray]
    ) -> list[int]:
        depths = [len(hits) for hits in shown]
        places = [i for i, query in enumerate(queries) if depths[i] and query.dense is not None]
        if not self._is_guarded or not places:
            return depths
        chosen = self._reformulator.choose_depths(
            [queries[i].text for i in places],
            _dense(queries, places),
            [shown[i] for i in places],
            [vectors[i] for i in places],
        )
        for i, depth in zip(places, chosen, strict=True):
            depths[i] = min(depth, depths[i])
        return depths


def _dense(queries: Sequence[Query], places: Sequence[int]) -> FloatArray:
    """float32 (number of places, dim), of queries that have vectors."""
    return np.array([queries[i].dense for i in places], np.float32)
