"""Retrieval by terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
        return to_rankings(*self._index.search_terms([self._terms(query) for query in queries], k, among))

    def _terms(self, query: Query) -> Mapping[str, float]:
        """A query's own terms where it has them, else those of its text."""
        return self._index.term_counts(query.text) if query.terms is None else dict(query.terms)
