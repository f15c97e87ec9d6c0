"""Reranking the first hits of a list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ragkit.protocols import Reranker
from ragkit.records import Hit, Query


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
