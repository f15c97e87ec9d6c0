"""BM25 over shards: after any history the scores of a fresh build, of bm25s, and of the formula."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import bm25s
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ragkit.config import LexicalConfig
from ragkit.indexers.lexical.bm25_index import Bm25Index
from ragkit.indexers.lexical.lexical_merge import merge_shards
from ragkit.indexers.lexical.lexical_shards import LexicalShard, build_shard, open_shard, save_shard
from ragkit.indexers.lexical.terms import TermAnalyzer
from ragkit.indexers.shards import first_to_merge

CONFIG = LexicalConfig(language="none")
NONE = np.zeros(0, np.int64)
WORDS = ["aa", "bb", "cc", "dd", "ee", "ffff", "ggggg", "é", "éé", "日本語", "港口关闭"]


class History:
    """Shards in a folder, and beside them what they should hold."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.texts: dict[int, str] = {}
        self.shards: list[LexicalShard] = []
        self.dead: list[int] = []
        self.next_key = self.files = 0
        self.analyzer = TermAnalyzer("none")

    def add(self, texts: list[str]) -> None:
        keys = np.arange(self.next_key, self.next_key + 2 * len(texts), 2)
        self.next_key += 2 * len(texts) + 1
        self.files += 1
        path = self.folder / f"{self.files}"
        with path.open("wb") as file:
            save_shard(build_shard(keys, texts, self.analyzer), file)
        self.shards.append(open_shard(path))
        self.texts.update(zip(keys.tolist(), texts, strict=True))

    def remove(self, place: int) -> None:
        if self.texts:
            key = sorted(self.texts)[place % len(self.texts)]
            del self.texts[key]
            self.dead = sorted([*self.dead, key])

    def merge(self, first: int) -> None:
        if len(self.shards) - first < 2:
            return
        self.files += 1
        path = self.folder / f"{self.files}"
        with path.open("wb") as file:
            merge_shards(self.shards[first:], np.array(self.dead, np.int64), file)
        self.shards[first:] = [open_shard(path)]

    def index(self, config: LexicalConfig = CONFIG) -> Bm25Index:
        return Bm25Index(
            self.shards or [build_shard(NONE, [], self.analyzer)], np.array(self.dead, np.int64), config
        )

    def fresh(self, config: LexicalConfig = CONFIG) -> Bm25Index:
        keys = sorted(self.texts)
        return Bm25Index.build(np.array(keys, np.int64), [self.texts[key] for key in keys], config)


def reference_search(
    documents: Mapping[int, Sequence[str]], query: Sequence[str], k1: float, b: float
) -> list[tuple[float, int]]:
    """Lucene's BM25 in plain Python: (score, key) of all hits, best first; documents: key -> terms."""
    average = sum(map(len, documents.values())) / max(1, len(documents))
    scores: dict[int, float] = {}
    for term in sorted(query):
        having = [key for key, terms in documents.items() if term in terms]
        idf = math.log(1 + (len(documents) - len(having) + 0.5) / (len(having) + 0.5))
        for key in having:
            count = list(documents[key]).count(term)
            norm = k1 * (1 - b + b * len(documents[key]) / average)
            scores[key] = scores.get(key, 0.0) + idf * count / (count + norm)
    return sorted(((score, key) for key, score in scores.items()), key=lambda hit: (-np.float32(hit[0]), hit[1]))


TEXT = st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)
STEP = st.one_of(
    st.tuples(st.just("add"), st.lists(TEXT, min_size=1, max_size=5)),
    st.tuples(st.just("remove"), st.integers(0, 1000)),
    st.tuples(st.just("merge"), st.integers(0, 6)),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(STEP, max_size=12), query=TEXT, k=st.integers(1, 8), k1=st.floats(0.1, 3), b=st.floats(0, 1))
def test_any_history_equals_a_fresh_build_and_the_formula(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[str, object]],
    query: str,
    k: int,
    k1: float,
    b: float,
):
    history = History(tmp_path_factory.mktemp("history"))
    for name, argument in steps:
        getattr(history, name)(argument)
    config = LexicalConfig(language="none", k1=k1, b=b)
    index, fresh = history.index(config), history.fresh(config)
    assert len(index) == len(fresh) == len(history.texts)
    scores, keys = index.search([query], k)
    for expected, found in zip(fresh.search([query], k), (scores, keys), strict=True):
        np.testing.assert_array_equal(found, expected)
    documents = {key: history.analyzer.terms(text) for key, text in history.texts.items()}
    hits = reference_search(documents, history.analyzer.terms(query), k1, b)[:k]
    found_scores = [score for score in scores[0].tolist() if score > 0]
    assert found_scores == pytest.approx([score for score, _ in hits], abs=1e-6)
    assert (keys[0] >= 0).sum() == len(hits)


def random_texts(rng: np.random.Generator, count: int, mean_length: int = 30) -> list[str]:
    """Words by Zipf's law, so that some are nearly everywhere and most are rare."""
    chances = 1 / np.arange(1, 2001)
    words = np.array([f"w{i}" for i in range(2000)])
    lengths = rng.integers(0, 2 * mean_length, count)
    return [" ".join(rng.choice(words, size=n, p=chances / chances.sum())) for n in lengths.tolist()]


def test_a_thousand_updates_equal_a_rebuild(tmp_path: Path):
    rng = np.random.default_rng(4)
    history = History(tmp_path)
    history.add(random_texts(rng, 500))
    for _ in range(1000):
        if rng.random() < 0.5:
            history.add(random_texts(rng, 1))
        else:
            history.remove(int(rng.integers(1 << 30)))
        history.merge(first_to_merge([len(shard) for shard in history.shards]))
    assert len(history.shards) < 12
    queries = random_texts(rng, 50, 6)
    scores, keys = history.index().search(queries, 600)
    expected_scores, expected_keys = history.fresh().search(queries, 600)
    np.testing.assert_array_equal(keys, expected_keys)
    np.testing.assert_array_equal(scores, expected_scores)


@pytest.mark.parametrize("k", [1, 10, 200, 5000])
@pytest.mark.parametrize("part", [1.0, 0.5, 0.004])
def test_the_best_are_those_of_bm25s(k: int, part: float):
    """3,000 passages: enough for terms to be looked up instead of added up, and for sums over all passages."""
    rng = np.random.default_rng(5)
    texts, queries = (
        random_texts(rng, 3000),
        [*random_texts(rng, 80, 4), "w0", "w0 w1 w2", "w0 w1999 w1998", "w7 w7"],
    )
    keys = np.arange(3000) * 3
    among = None if part == 1 else rng.permutation(keys)[: int(3000 * part)]
    weights = bm25s.BM25(k1=1.5, b=0.75, method="lucene")
    weights.index([text.split() for text in texts], show_progress=False)
    scores, found = Bm25Index.build(keys, texts, CONFIG).search(queries, k, among)
    for i, query in enumerate(queries):
        terms = weights.get_tokens_ids(query.split())
        expected = weights.get_scores_from_ids(terms) if terms else np.zeros(3000, np.float32)
        if among is not None:
            expected = np.where(np.isin(keys, among), expected, 0)
        best = np.sort(expected[expected > 0])[::-1][:k]
        hits = found[i][found[i] >= 0]
        # bm25s adds in float32.
        np.testing.assert_allclose(scores[i, : len(hits)], best, atol=2e-6, rtol=1e-6)
        np.testing.assert_allclose(scores[i, : len(hits)], expected[hits // 3], atol=2e-6, rtol=1e-6)


def test_one_query_at_a_time_equals_many_at_once():
    rng = np.random.default_rng(6)
    index = Bm25Index.build(np.arange(400), random_texts(rng, 400), CONFIG)
    queries = random_texts(rng, 40, 5)
    scores, keys = index.search(queries, 7)
    for i, query in enumerate(queries):
        np.testing.assert_array_equal(index.search([query], 7), (scores[i : i + 1], keys[i : i + 1]))


def test_unspaced_scripts_are_found_by_their_ngrams():
    index = Bm25Index.build(np.array([1, 2]), ["港口关闭了三天", "今天天气很好"], CONFIG)
    assert index.search(["关闭"], 2)[1].tolist() == [[1, -1]]


def test_a_query_of_stop_words_finds_nothing():
    texts = ["the cat of the house", "a dog and its bone"]
    index = Bm25Index.build(np.array([1, 2]), texts, LexicalConfig(language="english"))
    assert index.search(["of the and"], 2)[1].tolist() == [[-1, -1]]
    assert index.search(["the cats"], 2)[1].tolist() == [[1, -1]]


def test_length_alone_may_count():
    """With b = 1 a passage without terms has a norm of 0, and is nothing to stumble over."""
    index = Bm25Index.build(np.arange(3), ["aa", "", "aa bb bb"], LexicalConfig(language="none", b=1))
    assert index.search(["aa bb cc"], 3, np.array([0, 1]))[1].tolist() == [[0, -1, -1]]
    assert index.search(["aa"], 3)[1].tolist() == [[0, 2, -1]]


def test_keys_in_any_order_can_be_built():
    index = Bm25Index.build(np.array([9, 3, 5]), ["aa", "bb", "aa bb"], CONFIG)
    assert index.search(["bb"], 3)[1].tolist() == [[3, 5, -1]]


def test_no_hits_can_be_asked_for():
    index = Bm25Index.build(np.array([1, 2]), ["aa", "aa bb"], CONFIG)
    scores, keys = index.search(["aa", "bb"], 0)
    assert (scores.shape, scores.dtype) == ((2, 0), np.float32)
    assert (keys.shape, keys.dtype) == ((2, 0), np.int64)
