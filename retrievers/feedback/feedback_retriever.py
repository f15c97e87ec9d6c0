"""Retrieval in two passes: what a query finds first revises it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ragkit.protocols import Feedback, Retriever
from ragkit.records import Filter, Hit, Query

# Queries revised at a time.
_AT_ONCE = 16


class FeedbackRetriever:
    """Searches, revises the queries by the first hits, and searches again.

    Args:
        retriever: of both passes. In a hybrid one the merged hits of the first pass revise vector and terms alike.
        feedback: one after the other, each of them by the hits of the first pass.
        prepare: gives queries the vectors that they are searched with, so that they are embedded once
            (`DenseRetriever.with_vectors`); needed where feedback revises vectors.
    """

    def __init__(
        self,
        retriever: Retriever,
        feedback: Sequence[Feedback],
        prepare: Callable[[Sequence[Query]], list[Query]] = list,
    ) -> None:
        self._retriever = retriever
        self._feedback = feedback
        self._prepare = prepare

    def retrieve(self, queries: Sequence[Query], k: int, where: Filter | None = None) -> list[list[Hit]]:
        """As `Retriever.retrieve`: hits and scores of the second pass. The filter holds in both.

        Each hit says by how many passages its query was revised.
        """
        asked = self._prepare(queries)
        most = max((feedback.num_hits for feedback in self._feedback), default=0)
        found = self._retriever.retrieve(asked, most, where)
        for feedback in self._feedback:
            # A model that reads texts holds those of all queries that it is given in memory.
            asked = [
                query
                for start in range(0, len(asked), _AT_ONCE)
                for query in feedback.revise(asked[start : start + _AT_ONCE], found[start : start + _AT_ONCE])
            ]
        again = self._retriever.retrieve(asked, k, where)
        return [
            [replace(hit, feedback_depth=query.feedback_depth) for hit in hits]
            for query, hits in zip(asked, again, strict=True)
        ]
