"""`Retriever` and `Ranker`: order, filters and scores that every retriever keeps to."""

from __future__ import annotations

import numpy as np
import pytest

from ragkit import Corpus, CorpusParts, Query, TextRecord
from ragkit.assemble import make_retriever
from ragkit.config import parse_config
from ragkit.protocols import Retriever
from ragkit.records import Filter
from ragkit.retrievers.fusion import reciprocal_rank_fusion
from tests.fakes import HashEmbedder

WORDS = "tide crane rope barge pilot storm ledger signal quay anchor".split()
RECORDS = [TextRecord(f"d{i}", f"{WORDS[i % 10]} {WORDS[(i * 3) % 10]} {WORDS[i % 7]}.") for i in range(40)]
METHODS = [
    {"method": "dense"},
    {"method": "bm25"},
    {"method": "hybrid", "fusion": "weighted"},
    {"method": "hybrid", "fusion": "rrf"},
    {"method": "dense", "feedback": {"kind": "average"}},
    {"method": "dense", "feedback": {"kind": "rocchio", "gamma": 0.2, "bottom": 2, "pool": 12}},
    {"method": "bm25", "feedback": {"kind": "rm3", "depth": 3}},
    {"method": "hybrid", "feedback": [{"kind": "rocchio"}, {"kind": "rm3"}]},
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    opened = Corpus.open(tmp_path_factory.mktemp("retriever") / "corpus", embedder=HashEmbedder())
    opened.add(RECORDS)
    return opened


@pytest.fixture
def parts(corpus: Corpus) -> CorpusParts:
    return corpus._searcher.open_parts()


@pytest.fixture(params=METHODS, ids=lambda method: "-".join(map(str, method.values())))
def retriever(request: pytest.FixtureRequest, parts: CorpusParts) -> Retriever:
    return make_retriever(parse_config({"retrieval": request.param}), parts)


def test_hits_are_ordered_by_score_then_key(retriever: Retriever):
    for hits in retriever.retrieve([Query("tide crane"), Query("rope")], 12):
        order = [(-hit.score, hit.passage.key) for hit in hits]
        assert order == sorted(order)
        assert 0 < len(hits) <= 12
        assert len({hit.passage.key for hit in hits}) == len(hits)


def test_the_first_hits_do_not_depend_on_k(retriever: Retriever):
    few, many = (retriever.retrieve([Query("storm quay")], k)[0] for k in (3, 30))
    assert [(hit.passage.key, hit.score) for hit in few] == [(hit.passage.key, hit.score) for hit in many[:3]]


def test_queries_do_not_depend_on_each_other(retriever: Retriever):
    together = retriever.retrieve([Query("tide"), Query("anchor rope")], 5)
    alone = [retriever.retrieve([query], 5)[0] for query in (Query("tide"), Query("anchor rope"))]
    for left, right in zip(together, alone, strict=True):
        assert [hit.passage.key for hit in left] == [hit.passage.key for hit in right]
        np.testing.assert_allclose([hit.score for hit in left], [hit.score for hit in right], atol=1e-6)


def test_only_documents_of_the_filter_are_found(retriever: Retriever):
    wanted = frozenset({"d1", "d8", "d11"})
    hits = retriever.retrieve([Query("crane tide pilot")], 10, Filter(wanted))[0]
    assert {hit.passage.document for hit in hits} <= wanted
    assert hits


def test_no_queries_no_lists(retriever: Retriever):
    assert retriever.retrieve([], 5) == []


def test_dense_scores_are_cosines_and_a_given_vector_is_used(parts: CorpusParts):
    dense = make_retriever(parse_config({"retrieval": {"method": "dense"}}), parts)
    assert parts.embedder is not None
    vector = parts.embedder.embed_queries(["tide crane"])[0]
    given = dense.retrieve([Query("something else", dense=vector)], 5)[0]
    asked = dense.retrieve([Query("tide crane")], 5)[0]
    assert [hit.passage.key for hit in given] == [hit.passage.key for hit in asked]
    for hit in given:
        passage_vector = parts.embedder.embed_passages([hit.passage])[0]
        assert hit.score == pytest.approx(float(vector @ passage_vector), abs=1e-6)


def test_hybrid_is_the_fusion_of_its_parts(parts: CorpusParts):
    made = {
        name: make_retriever(parse_config({"retrieval": {"method": name, "fusion": "rrf"}}), parts)
        for name in ("dense", "bm25", "hybrid")
    }
    query = [Query("signal ledger")]
    rankings = [made[name].rank(query, 500)[0] for name in ("dense", "bm25")]
    keys, scores = reciprocal_rank_fusion(rankings)
    hits = made["hybrid"].retrieve(query, 7)[0]
    assert [hit.passage.key for hit in hits] == keys[:7].tolist()
    np.testing.assert_allclose([hit.score for hit in hits], scores[:7])
