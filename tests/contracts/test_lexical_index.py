"""`LexicalIndex`: BM25 against its formula, before and after being saved."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ragkit.config import LexicalConfig
from ragkit.indexers.bm25_index import Bm25Index
from ragkit.protocols import LexicalIndex

TEXTS = ["red fish blue fish", "one fish two fish", "green eggs and ham", "red red red ham", ""]
KEYS = np.array([10, 11, 20, 21, 30])
Make = Callable[[list[str], np.ndarray], LexicalIndex]


def built(texts: list[str], keys: np.ndarray) -> LexicalIndex:
    return Bm25Index.build(keys, texts, LexicalConfig(language="none"))


@pytest.fixture(params=["built", "reopened"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    if request.param == "built":
        return built

    def reopened(texts: list[str], keys: np.ndarray) -> LexicalIndex:
        Bm25Index.build(keys, texts, LexicalConfig(language="none")).save(tmp_path / "lexical")
        return Bm25Index.load(tmp_path / "lexical")

    return reopened


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
        np.testing.assert_allclose(scores[row, : len(hits)], [score for score, _ in hits], rtol=1e-5)
        assert (keys[row, len(hits) :] == -1).all()


def test_only_allowed_keys_are_found(make: Make):
    _, keys = make(TEXTS, KEYS).search(["red fish ham"], 3, np.array([20, 21, 99]))
    assert keys[0].tolist() == [21, 20, -1]


def test_unknown_words_and_empty_queries_find_nothing(make: Make):
    _, keys = make(TEXTS, KEYS).search(["zebra", "", "!"], 2)
    assert (keys == -1).all()


def test_a_corpus_without_words_finds_nothing(make: Make):
    index = make(["", "?"], np.array([1, 2]))
    assert len(index) == 2
    assert index.search(["red"], 1)[1].tolist() == [[-1]]
