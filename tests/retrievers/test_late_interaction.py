"""MaxSim by hand and by brute force, and the reranker that uses it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ragkit.indexers.vectors.token_vectors import TokenVectors, write_token_shard
from ragkit.records import FloatArray, Hit, Passage, Query
from ragkit.retrievers.late_interaction import LateInteractionReranker, max_sim, max_sims


def rows(count: int, seed: int, dim: int = 16) -> FloatArray:
    values = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def test_by_hand():
    query = np.array([[1, 0], [0.6, 0.8]], np.float32)
    page = np.array([[0, 1], [0.8, 0.6], [-1, 0]], np.float32)
    # First token: max(0, 0.8, -1) = 0.8. Second: max(0.8, 0.48 + 0.48, -0.6) = 0.96.
    assert max_sim(query, page) == pytest.approx(1.76)
    assert max_sim(query, -page[1:2]) == pytest.approx(-0.8 - 0.96)


def test_against_a_loop_over_tokens_and_a_batch_against_single_pages():
    query = rows(9, 0)
    pages = [rows(count, count) for count in (1, 700, 3, 64, 1)]
    scores = max_sims(query, pages)
    for score, page in zip(scores, pages, strict=True):
        slow = sum(max(float(np.dot(q.astype(float), p)) for p in page) for q in query)
        assert score == pytest.approx(slow, abs=1e-5)
        assert score == np.float32(max_sim(query, page))
    assert max_sims(query, []).shape == (0,)


def test_sentence_transformers_gives_the_same():
    import torch
    from sentence_transformers.util import maxsim

    query, pages = rows(5, 1), [rows(12, 2), rows(7, 3)]
    reference = maxsim([torch.from_numpy(query)], [torch.from_numpy(page) for page in pages])[0]
    np.testing.assert_allclose(max_sims(query, pages), reference.numpy(), atol=1e-5)


class FixedTokens:
    """A `TokenEmbedder` that knows one query."""

    dim = 16
    fingerprint = "fixed"

    def embed_query_tokens(self, texts: Sequence[str]) -> list[FloatArray]:
        return [rows(4, 100) for _ in texts]

    def embed_passage_tokens(self, passages: Sequence[Passage]) -> list[FloatArray]:
        raise AssertionError("a reranker reads stored vectors")


def hit(key: int, score: float) -> Hit:
    return Hit(score, Passage(key, "doc", key, 0, 0, ""))


@pytest.fixture
def stored(tmp_path: Path) -> TokenVectors:
    pages = {1: rows(6, 1), 2: rows(4, 100), 3: rows(3, 3), 7: rows(6, 1)}
    return TokenVectors.open(
        tmp_path, write_token_shard(tmp_path, 1, np.array(list(pages)), list(pages.values()), "float16")
    )


def test_hits_are_ordered_by_max_sim_and_ties_by_key(stored: TokenVectors):
    reranker = LateInteractionReranker(FixedTokens(), stored)
    hits = [hit(7, 9.0), hit(3, 8.0), hit(1, 7.0), hit(2, 6.0)]
    ranked = reranker.rerank(Query("how deep"), hits)
    expected = {key: max_sim(rows(4, 100), stored.rows(key)) for key in (1, 2, 3, 7)}
    assert {each.passage.key: each.score for each in ranked} == pytest.approx(expected, abs=1e-6)
    # Page 2 holds the query's own vectors; pages 1 and 7 are alike.
    assert ranked[0].passage.key == 2
    assert ranked[0].score == pytest.approx(4, abs=2e-3)
    keys = [each.passage.key for each in ranked]
    assert keys.index(7) == keys.index(1) + 1
    assert reranker.rerank(Query("how deep"), hits[::-1]) == ranked
    assert all(type(each.score) is float for each in ranked)


def test_hits_without_token_vectors_keep_their_order_after_the_others(stored: TokenVectors):
    reranker = LateInteractionReranker(FixedTokens(), stored)
    ranked = reranker.rerank(Query("how deep"), [hit(50, 99.0), hit(3, 1.0), hit(40, 98.0), hit(2, 0.5)])
    assert [each.passage.key for each in ranked] == [2, 3, 50, 40]
    scores = [each.score for each in ranked]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == 4
    unknown = [hit(50, 3.0), hit(40, 2.0)]
    assert reranker.rerank(Query("how deep"), unknown) == unknown
    assert reranker.rerank(Query("how deep"), []) == []
