from __future__ import annotations

from collections.abc import Sequence

from ragkit.records import Hit, Passage, Query
from ragkit.retrievers.reranking import rerank_first


class Backwards:
    """Scores a passage by its key, and makes hits anew as rerankers do."""

    def rerank(self, query: Query, hits: Sequence[Hit]) -> list[Hit]:
        return sorted((Hit(float(hit.passage.key), hit.passage) for hit in hits), key=lambda hit: -hit.score)


def hits() -> list[Hit]:
    return [Hit(1.0 - key / 10, Passage(key, "a.txt", 1, 0, 1, "x")) for key in range(1, 5)]


def test_reranked_hits_keep_the_place_and_score_that_the_retriever_gave() -> None:
    found = rerank_first(Backwards(), Query("?"), hits(), 3)
    assert [(hit.passage.key, hit.retrieved_rank, hit.retrieval_score) for hit in found] == [
        (3, 3, 0.7),
        (2, 2, 0.8),
        (1, 1, 0.9),
        (4, 4, 0.6),
    ]
    assert [hit.score for hit in found[:3]] == [3.0, 2.0, 1.0]
    assert found[3].score < 1.0
