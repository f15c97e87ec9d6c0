from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import httpx
import pytest

from ragkit.records import Hit, Query
from ragkit.serve.api.app import create_app
from tests.fakes import HashEmbedder
from tests.serve.house import running
from tests.serve.responses.responses_house import SmallCorpus, SmallLibrary

DOCUMENTS = ["a bridge of stone", "a lake", "a deep lake in the north", ""]


class SharedWords:
    """Scores by how many words of the query a text has."""

    def rerank(self, query: Query, hits: Sequence[Hit]) -> list[Hit]:
        words = set(query.text.split())
        scored = [replace(hit, score=float(len(words & set(hit.passage.text.split())))) for hit in hits]
        return sorted(scored, key=lambda hit: (-hit.score, hit.passage.key))


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    library = SmallLibrary(
        SmallCorpus("ranked", {}, embedder=HashEmbedder(), reranker=SharedWords()),
        SmallCorpus("embedded", {}, embedder=HashEmbedder()),
        SmallCorpus("words", {}),
    )
    with running(create_app(library)) as address:
        yield address


def post(address: str, path: str = "/v1/rerank", **fields: Any) -> httpx.Response:
    body = {"model": "ranked", "query": "deep lake", "documents": DOCUMENTS, **fields}
    return httpx.post(f"{address}{path}", json=body)


@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank"])
def test_vllms_shape(address: str, path: str) -> None:
    reply = post(address, path).json()
    assert reply.pop("id").startswith("rerank-")
    assert reply.pop("usage")["total_tokens"] > 0
    assert reply == {
        "model": "ranked",
        "results": [
            {"index": 2, "relevance_score": 2.0, "document": {"text": "a deep lake in the north"}},
            {"index": 1, "relevance_score": 1.0, "document": {"text": "a lake"}},
            {"index": 0, "relevance_score": 0.0, "document": {"text": "a bridge of stone"}},
            {"index": 3, "relevance_score": 0.0, "document": {"text": ""}},
        ],
        "ragkit": {"scored_by": "reranker"},
    }


def test_coheres_shape(address: str) -> None:
    reply = post(address, "/v2/rerank", top_n=2, max_tokens_per_doc=4096).json()
    assert reply["results"] == [{"index": 2, "relevance_score": 2.0}, {"index": 1, "relevance_score": 1.0}]
    assert reply["meta"]["api_version"] == {"version": "2"}
    assert reply["meta"]["billed_units"] == {"search_units": 1}
    assert "usage" not in reply


def test_jinas_shape(address: str) -> None:
    documents = [{"text": text} for text in DOCUMENTS]
    reply = post(address, documents=documents, top_n=1, return_documents=True).json()
    assert [r["document"] for r in reply["results"]] == [{"text": "a deep lake in the north"}]
    bare = post(address, documents=documents, return_documents=False).json()
    assert [sorted(r) for r in bare["results"]] == [["index", "relevance_score"]] * 4


def test_without_a_reranker_the_embedder_ranks_and_it_is_said(address: str) -> None:
    reply = post(address, model="embedded").json()
    embedder = HashEmbedder()
    expected = embedder.embed_queries(DOCUMENTS) @ embedder.embed_queries(["deep lake"])[0]
    assert reply["ragkit"] == {"scored_by": "embedder"}
    scores = {result["index"]: result["relevance_score"] for result in reply["results"]}
    assert [scores[place] for place in range(4)] == pytest.approx(expected.tolist(), abs=1e-6)
    ranked = [result["relevance_score"] for result in reply["results"]]
    assert ranked == sorted(ranked, reverse=True)


@pytest.mark.parametrize(
    ("fields", "status", "message", "param"),
    [
        ({"model": "nope"}, 404, "'nope' does not exist", "model"),
        ({"model": None}, 400, "model is missing; models here: ranked, embedded, words", "model"),
        ({"model": "words"}, 400, "neither a reranker nor an embedder", "model"),
        ({"query": " "}, 400, "query is empty", "query"),
        ({"documents": []}, 400, "at least 1 item", "documents"),
        ({"documents": ["x"] * 1001}, 400, "at most 1000 items", "documents"),
        ({"documents": ["x" * 2_000_001]}, 400, "at most 2000000", "documents"),
        ({"top_n": -1}, 400, "greater than or equal to 0", "top_n"),
        ({"rank_fields": ["title"]}, 400, "rank_fields = ['title'] is not supported", "rank_fields"),
        ({"docs": []}, 400, "unknown field 'docs'", "docs"),
    ],
)
def test_requests_that_make_no_sense_say_why(
    address: str, fields: dict[str, Any], status: int, message: str, param: str
) -> None:
    reply = post(address, **fields)
    error = reply.json()["error"]
    assert (reply.status_code, error["param"]) == (status, param), error
    assert message in error["message"]


def test_one_corpus_needs_no_name() -> None:
    library = SmallLibrary(SmallCorpus("ranked", {}, reranker=SharedWords()))
    with running(create_app(library)) as address:
        assert post(address, model=None).json()["model"] == "ranked"
