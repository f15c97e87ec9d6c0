"""Late interaction: pages scored anew, token by token."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from ragkit.protocols import TokenEmbedder
from ragkit.records import FloatArray, Hit, Query
from ragkit.retrievers.reranking import just_below


class TokenRows(Protocol):
    """Where the token vectors of passages are found (`ragkit.indexers.vectors.token_vectors.TokenVectors`)."""

    def __contains__(self, key: int) -> bool: ...

    def rows(self, key: int) -> FloatArray:
        """float32 (t, dim), t at least 1."""
        ...


def max_sim(query: FloatArray, page: FloatArray) -> float:
    """Sum over the query's tokens of the greatest inner product with a token of the page (ColBERT, SIGIR 2020).

    Args:
        query: float32 (q, dim).
        page: float32 (t, dim), t at least 1.
    """
    return float((query @ page.T).max(axis=1).sum())


def max_sims(query: FloatArray, pages: Iterable[FloatArray]) -> FloatArray:
    """`max_sim` of each page, float32 (number of pages,).

    One product a page: pages of different lengths need no padding, only one is in memory at a time, and
    a page's score is the same bit for bit whatever the other pages are.
    """
    return np.array([max_sim(query, page) for page in pages], np.float32)


class LateInteractionReranker:
    """A `Reranker` that orders hits by `max_sim` over token vectors computed beforehand.

    Hits without token vectors (passages of text, in a corpus of both) come after the others, in the order
    they had, with scores just below the lowest of the others.
    """

    def __init__(self, embedder: TokenEmbedder, vectors: TokenRows) -> None:
        self._embedder = embedder
        self._vectors = vectors

    def rerank(self, query: Query, hits: Sequence[Hit]) -> list[Hit]:
        """The same passages; the scores of those that have token vectors are sums of cosines."""
        known = [hit for hit in hits if hit.passage.key in self._vectors]
        if not known:
            return list(hits)
        tokens = self._embedder.embed_query_tokens([query.text])[0]
        scores = max_sims(tokens, (self._vectors.rows(hit.passage.key) for hit in known))
        scored = [replace(hit, score=float(score)) for hit, score in zip(known, scores, strict=True)]
        ranked = sorted(scored, key=lambda hit: (-hit.score, hit.passage.key))
        others = [hit for hit in hits if hit.passage.key not in self._vectors]
        return [*ranked, *just_below(ranked, others)]
