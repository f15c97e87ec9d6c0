"""Reranking the first hits of a list, or of all that a retriever finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ragkit.protocols import Reranker, Retriever
from ragkit.records import Filter, Hit, Query


def rerank_first(reranker: Reranker, query: Query, hits: Sequence[Hit], depth: int) -> list[Hit]:
    """The first `depth` hits in the reranker's order, then the others as they were.

    The others' scores, which are of another kind, are replaced by falling ones below the reranked.
    """
    if not hits:
        return []
    reranked = reranker.rerank(query, hits[:depth])
    lowest = min(hit.score for hit in reranked)
    rest = [replace(hit, score=lowest - place) for place, hit in enumerate(hits[depth:], 1)]
    return [*reranked, *rest]


class RescoringRetriever:
    """A retriever whose first `depth` hits a reranker scores anew."""

    def __init__(self, retriever: Retriever, reranker: Reranker, depth: int) -> None:
        self._retriever = retriever
        self._reranker = reranker
        self._depth = depth

    def retrieve(self, queries: Sequence[Query], k: int, where: Filter | None = None) -> list[list[Hit]]:
        """As `Retriever.retrieve`; scores as `rerank_first` gives them."""
        found = self._retriever.retrieve(queries, max(k, self._depth), where)
        return [
            rerank_first(self._reranker, query, hits, self._depth)[:k]
            for query, hits in zip(queries, found, strict=True)
        ]
