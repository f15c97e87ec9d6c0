"""`LexicalIndex`: BM25 against its formula, in memory, from one shard and from several."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ragkit.config import LexicalConfig
from ragkit.indexers.lexical.bm25_index import Bm25Index
from ragkit.indexers.lexical.lexical_files import open_lexical, write_built_shard
from ragkit.indexers.lexical.lexical_shards import build_shard
from ragkit.indexers.lexical.terms import TermAnalyzer
from ragkit.protocols import LexicalIndex

TEXTS = ["red fish blue fish", "one fish two fish", "green eggs and ham", "red red red ham", ""]
KEYS = np.array([10, 11, 20, 21, 30])
CONFIG = LexicalConfig(language="none")
Make = Callable[[list[str], np.ndarray], LexicalIndex]


def built(texts: list[str], keys: np.ndarray) -> LexicalIndex:
    return Bm25Index.build(keys, texts, CONFIG)


@pytest.fixture(params=["built", "one shard", "many shards", "with dead passages"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    if request.param == "built":
        return built
    size = 1 if request.param == "many shards" else 100

    def opened(texts: list[str], keys: np.ndarray) -> LexicalIndex:
        dead = np.zeros(0, np.int64)
        if request.param == "with dead passages":
            dead = np.array([1000, 1001])
            texts, keys = [*texts, "red fish green", "ham"], np.concatenate([keys, dead])
        analyzer = TermAnalyzer("none")
        files = [
            write_built_shard(
                tmp_path,
                start + 1,
                build_shard(keys[start : start + size], texts[start : start + size], analyzer),
            )
            for start in range(0, len(keys), size)
        ]
        return open_lexical(tmp_path, files, dead, CONFIG)

    return opened


def bm25(query: str, text: str, k1: float = 1.5, b: float = 0.75) -> float:
    """Lucene's BM25 as in Kamphuis et al. 2020."""
    documents = [document.split() for document in TEXTS]
    average = sum(map(len, documents)) / len(documents)
    counts, length = Counter(text.split()), len(text.split())
    score = 0.0
    for term in query.split():
        frequency = sum(term in document for document in documents)
        idf = math.log(1 + (len(documents) - frequency + 0.5) / (frequency + 0.5))
        score += idf * counts[term] / (counts[term] + k1 * (1 - b + b * length / average))
    return score


def test_scores_equal_the_formula(make: Make):
    scores, keys = make(TEXTS, KEYS).search(["red fish", "ham"], 5)
    for row, query in enumerate(["red fish", "ham"]):
        expected = sorted(
            ((bm25(query, text), key) for text, key in zip(TEXTS, KEYS.tolist(), strict=True)),
            key=lambda pair: (-pair[0], pair[1]),
        )
        hits = [(score, key) for score, key in expected if score > 0]
        assert keys[row, : len(hits)].tolist() == [key for _, key in hits]
        np.testing.assert_allclose(scores[row, : len(hits)], [score for score, _ in hits], rtol=1e-6)
        assert (keys[row, len(hits) :] == -1).all()


def test_a_term_that_the_query_repeats_counts_as_often(make: Make):
    scores, keys = make(TEXTS, KEYS).search(["ham red ham"], 1)
    assert keys.tolist() == [[21]]
    assert scores[0, 0] == pytest.approx(bm25("ham red ham", "red red red ham"), rel=1e-6)


def test_ties_go_to_the_lower_key(make: Make):
    index = make(["a1 b1", "b1 a1", "a1 b1", "c1"], np.array([5, 6, 7, 8]))
    assert index.search(["a1"], 2)[1].tolist() == [[5, 6]]
    assert index.search(["b1 a1"], 3)[1].tolist() == [[5, 6, 7]]


def test_only_allowed_keys_are_found(make: Make):
    index = make(TEXTS, KEYS)
    assert index.search(["red fish ham"], 3, np.array([20, 21, 99, 1000]))[1].tolist() == [[21, 20, -1]]
    assert index.search(["red fish ham"], 1, np.zeros(0, np.int64))[1].tolist() == [[-1]]


def test_unknown_words_and_empty_queries_find_nothing(make: Make):
    _, keys = make(TEXTS, KEYS).search(["zebra", "", "!"], 2)
    assert (keys == -1).all()


def test_a_corpus_without_words_finds_nothing(make: Make):
    index = make(["", "?"], np.array([1, 2]))
    assert len(index) == 2
    assert index.search(["blue"], 1)[1].tolist() == [[-1]]


def test_weighted_terms_are_the_weighted_sum_of_their_scores(make: Make):
    """BM25 is a sum over terms; by the formula of one term each."""
    scores, keys = make(TEXTS, KEYS).search_terms([{"red": 0.25, "ham": 3.0, "zebra": 7.0}], 5)
    expected = sorted(
        (
            (0.25 * bm25("red", text) + 3 * bm25("ham", text), key)
            for text, key in zip(TEXTS, KEYS.tolist(), strict=True)
        ),
        key=lambda pair: (-pair[0], pair[1]),
    )
    hits = [(score, key) for score, key in expected if score > 0]
    assert keys[0].tolist() == [key for _, key in hits] + [-1] * (5 - len(hits))
    np.testing.assert_allclose(scores[0, : len(hits)], [score for score, _ in hits], rtol=1e-6)


@pytest.mark.parametrize("query", ["red fish", "ham red ham", "one fish blue fish", "zebra", ""])
def test_a_text_searched_by_its_own_terms_finds_the_same_to_the_bit(make: Make, query: str):
    index = make(TEXTS, KEYS)
    plain, weighted = index.search([query], 4), index.search_terms([index.term_counts(query)], 4)
    assert plain[0].tolist() == weighted[0].tolist()
    assert plain[1].tolist() == weighted[1].tolist()
    assert dict(index.term_counts(query)) == Counter(query.split())


def test_many_weighted_queries_at_once_equal_one_by_one(make: Make):
    index = make(TEXTS, KEYS)
    queries = [{"red": 0.5, "fish": 1.0}, {"red": 1.5, "fish": 1.0}, {"red": 0.5, "ham": 1e-9}]
    together = index.search_terms(queries, 3)
    for i, query in enumerate(queries):
        alone = index.search_terms([query], 3)
        assert together[0][i].tolist() == alone[0][0].tolist()
        assert together[1][i].tolist() == alone[1][0].tolist()


@pytest.mark.parametrize("weight", [0.0, -1.0, math.inf, math.nan])
def test_a_weight_that_is_not_above_zero_is_refused(make: Make, weight: float):
    index = make(TEXTS, KEYS)
    with pytest.raises(ValueError, match=r"the weight of 'red' is .*; give finite ones above 0"):
        index.search_terms([{"ham": 1.0, "red": weight}], 3)
    assert index.search(["red"], 1)[1].tolist() == [[21]]
