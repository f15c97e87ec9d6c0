"""Retrieval by terms."""

from __future__ import annotations

from collections.abc import Sequence

from ragkit.protocols import LexicalIndex, PassageStore
from ragkit.records import Filter, Hit, Query
from ragkit.retrievers.fusion import Ranking
from ragkit.retrievers.rankings import load_hits, to_rankings


class Bm25Retriever:
    """Finds the passages that share terms with the query."""

    def __init__(self, store: PassageStore, index: LexicalIndex) -> None:
        self._store = store
        self._index = index

    def retrieve(self, queries: Sequence[Query], k: int, where: Filter | None = None) -> list[list[Hit]]:
        """As `Retriever.retrieve`; scores are BM25's."""
        return load_hits(self._store, self.rank(queries, k, where))

    def rank(self, queries: Sequence[Query], k: int, where: Filter | None = None) -> list[Ranking]:
        """As `Ranker.rank`."""
        among = None if where is None else self._store.keys(where)
        return to_rankings(*self._index.search([query.text for query in queries], k, among))
