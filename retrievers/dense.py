"""Retrieval by vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ragkit.errors import ConfigError
from ragkit.protocols import Embedder, PassageStore, VectorIndex
from ragkit.records import Filter, FloatArray, Hit, Query
from ragkit.retrievers.fusion import Ranking
from ragkit.retrievers.rankings import load_hits, to_rankings


class DenseRetriever:
    """Finds the passages whose vectors have the highest inner product with the query's."""

    def __init__(self, store: PassageStore, embedder: Embedder, index: VectorIndex) -> None:
        self._store = store
        self._embedder = embedder
        self._index = index

    def retrieve(self, queries: Sequence[Query], k: int, where: Filter | None = None) -> list[list[Hit]]:
        """As `Retriever.retrieve`; scores are inner products (cosines for embedders of unit rows)."""
        return load_hits(self._store, self.rank(queries, k, where))

    def rank(self, queries: Sequence[Query], k: int, where: Filter | None = None) -> list[Ranking]:
        """As `Ranker.rank`."""
        among = None if where is None else self._store.keys(where)
        return to_rankings(*self._index.search(self._vectors(queries), k, among))

    def _vectors(self, queries: Sequence[Query]) -> FloatArray:
        """float32 (q, dim): a query's own vector where it has one, else its text embedded."""
        vectors = np.zeros((len(queries), self._embedder.dim), np.float32)
        texts = [i for i, query in enumerate(queries) if query.dense is None]
        if texts:
            vectors[texts] = self._embedder.embed_queries([queries[i].text for i in texts])
        for i, query in enumerate(queries):
            if query.dense is not None:
                vectors[i] = query.dense
        if not np.isfinite(vectors).all():
            raise ConfigError("a query's vector is not finite; check the embedder or the given vector")
        return vectors
