"""Reranking the first hits of a list, or of all that a retriever finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ragkit.protocols import Reranker, Retriever
from ragkit.records import Filter, Hit, Query
from ragkit.retrievers.interpolation import interpolated

_STEP = 1e-9


def rerank_first(
    reranker: Reranker, query: Query, hits: Sequence[Hit], depth: int, weight: float = 1.0
) -> list[Hit]:
    """The first `depth` hits in the reranker's order, then the others as they were.

    weight: of the reranker; below 1 the order is that of `interpolated`.

    The others' scores, which are of another kind, are replaced by falling ones just below the reranked. Each hit
    keeps the place and score that it had before.
    """
    if not hits:
        return []
    reranked = reranker.rerank(query, hits[:depth])
    if weight < 1:
        reranked = interpolated(reranked, {hit.passage.key: hit.score for hit in hits[:depth]}, weight)
    before = {hit.passage.key: (rank, hit) for rank, hit in enumerate(hits, 1)}
    return [_with_retrieval(hit, before) for hit in [*reranked, *just_below(reranked, hits[depth:])]]


def _with_retrieval(hit: Hit, before: Mapping[int, tuple[int, Hit]]) -> Hit:
    rank, found = before.get(hit.passage.key, (None, None))
    if found is None:
        return replace(hit, retrieved_rank=None, retrieval_score=None)
    return replace(hit, retrieved_rank=rank, retrieval_score=found.score, feedback_depth=found.feedback_depth)


def just_below(ranked: Sequence[Hit], others: Sequence[Hit]) -> list[Hit]:
    """The others in their order, with scores that fall by next to nothing from the lowest of the ranked.

    Next to nothing, because a fusion that looks at differences of scores must see those of the ranked.
    """
    lowest = min(hit.score for hit in ranked)
    step = _STEP * max(1.0, abs(lowest))
    return [replace(hit, score=lowest - place * step) for place, hit in enumerate(others, 1)]


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
