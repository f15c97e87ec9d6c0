"""Retrieval by vectors and terms together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ragkit.protocols import PassageStore, Ranker
from ragkit.records import Filter, Hit, Query
from ragkit.retrievers.fusion import Ranking
from ragkit.retrievers.rankings import load_hits

Fusion = Callable[[Sequence[Ranking]], Ranking]


class HybridRetriever:
    """Merges the rankings of several retrievers into one by a function of `fusion`.

    Args:
        depth: passages taken from each retriever. It does not grow with k, so that the first ten of a
            thousand hits are the ten hits; no more than `depth` of each retriever are ever found.
    """

    def __init__(self, store: PassageStore, rankers: Sequence[Ranker], fuse: Fusion, depth: int) -> None:
        self._store = store
        self._rankers = rankers
        self._fuse = fuse
        self._depth = depth

    def retrieve(self, queries: Sequence[Query], k: int, where: Filter | None = None) -> list[list[Hit]]:
        """As `Retriever.retrieve`; scores are the fusion's."""
        return load_hits(self._store, self.rank(queries, k, where))

    def rank(self, queries: Sequence[Query], k: int, where: Filter | None = None) -> list[Ranking]:
        """As `Ranker.rank`."""
        by_ranker = [ranker.rank(queries, self._depth, where) for ranker in self._rankers]
        merged = [self._fuse(rankings) for rankings in zip(*by_ranker, strict=True)]
        return [(keys[:k], scores[:k]) for keys, scores in merged]
