"""What every `Reranker` keeps to."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ragkit.devices import Placement
from ragkit.records import Query
from ragkit.retrievers.cross_encoder import CrossEncoderReranker
from ragkit.retrievers.embedder_reranker import EmbedderReranker
from ragkit.retrievers.listwise_reranker import ListwiseReranker
from ragkit.retrievers.remote_reranker import RemoteReranker
from ragkit.retrievers.yes_reranker import YesReranker
from tests.engine_fakes import ScriptedEngine, order_by_shared_words, yes_by_shared_words
from tests.fakes import HashEmbedder
from tests.reranker_fakes import WORDS, make_cross_encoder, make_hits, score_by_shared_words, serve_rerank

if TYPE_CHECKING:
    from ragkit.protocols import Reranker

QUERY = Query("the cat sat on the old bank")


_ALL = ["cross-encoder", "embedder", "remote", "llm-yes", "llm-listwise"]
# A listwise model's score of a passage is its place among the others.
_POINTWISE = [kind for kind in _ALL if kind != "llm-listwise"]


@pytest.fixture(scope="module", params=_ALL)
def reranker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reranker]:
    if request.param == "llm-yes":
        yield YesReranker(ScriptedEngine(yes_by_shared_words))
        return
    if request.param == "llm-listwise":
        yield ListwiseReranker(ScriptedEngine(order_by_shared_words))
        return
    if request.param == "embedder":
        yield EmbedderReranker("hash", HashEmbedder())
        return
    if request.param == "cross-encoder":
        folder = make_cross_encoder(tmp_path_factory.mktemp("models") / "tiny")
        yield CrossEncoderReranker(folder, Placement("cpu", "float32"), batch_size=4)
        return
    with serve_rerank(score_by_shared_words) as url:
        remote = RemoteReranker(url)
        yield remote
        remote.close()


@pytest.fixture(scope="module")
def hits():
    generator = random.Random(3)
    return make_hits([" ".join(generator.choices(WORDS, k=generator.randint(1, 40))) for _ in range(23)])


def test_the_same_passages_come_back_best_first(reranker, hits):
    before = list(hits)
    ranked = reranker.rerank(QUERY, hits)
    assert hits == before
    assert sorted(hit.passage.key for hit in ranked) == list(range(23))
    assert [(-hit.score, hit.passage.key) for hit in ranked] == sorted(
        (-hit.score, hit.passage.key) for hit in ranked
    )
    assert {hit.passage.key: hit.passage for hit in ranked} == {hit.passage.key: hit.passage for hit in hits}
    assert len({hit.score for hit in ranked}) > 5


def test_scores_are_plain_finite_numbers(reranker, hits):
    scores = [hit.score for hit in reranker.rerank(QUERY, hits)]
    assert all(type(score) is float for score in scores)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("reranker", _POINTWISE, indirect=True)
def test_the_order_of_the_hits_does_not_matter(reranker, hits):
    shuffled = list(hits)
    random.Random(1).shuffle(shuffled)
    assert reranker.rerank(QUERY, shuffled) == reranker.rerank(QUERY, hits)


@pytest.mark.parametrize("reranker", _POINTWISE, indirect=True)
def test_a_score_does_not_depend_on_the_other_hits(reranker, hits):
    together = {hit.passage.key: hit.score for hit in reranker.rerank(QUERY, hits)}
    alone = {hit.passage.key: reranker.rerank(QUERY, [hit])[0].score for hit in hits}
    assert alone == pytest.approx(together, abs=1e-5)


@pytest.mark.parametrize("reranker", _POINTWISE, indirect=True)
def test_equal_texts_score_the_same_and_are_ordered_by_key(reranker):
    ranked = reranker.rerank(QUERY, make_hits(["the cat", "dog", "the cat", "dog ran far over", "the cat"])[::-1])
    assert [hit.passage.key for hit in ranked if hit.passage.text == "the cat"] == [0, 2, 4]
    assert len({hit.score for hit in ranked if hit.passage.text == "the cat"}) == 1


@pytest.mark.parametrize("reranker", _POINTWISE, indirect=True)
def test_the_title_is_read(reranker):
    plain = reranker.rerank(QUERY, make_hits(["dog ran"]))[0].score
    titled = reranker.rerank(QUERY, make_hits(["dog ran"], title="the cat"))[0].score
    assert titled != plain


def test_no_hits_give_no_hits(reranker):
    assert reranker.rerank(QUERY, []) == []
