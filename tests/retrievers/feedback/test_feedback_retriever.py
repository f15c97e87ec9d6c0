"""Retrieval in two passes, alone and as a corpus does it by its settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from ragkit import Corpus, CorpusParts, Query, TextRecord
from ragkit.assemble import make_retriever
from ragkit.cli import app
from ragkit.config import parse_config
from ragkit.errors import ConfigError
from ragkit.records import Filter, FloatArray, Hit
from ragkit.retrievers.feedback.feedback_retriever import FeedbackRetriever
from ragkit.serve.api.wire import hit_json
from tests.fakes import HashEmbedder, ThumbnailEmbedder
from tests.pdf_maker import PdfPage, make_pdf

WORDS = "tide crane rope barge pilot storm ledger signal quay anchor".split()
RECORDS = [TextRecord(f"d{i}", f"{WORDS[i % 10]} {WORDS[(i * 3) % 10]} {WORDS[i % 7]}.") for i in range(40)]
AVERAGE, RM3 = {"kind": "average", "depth": 3}, {"kind": "rm3", "depth": 3, "terms": 4}


class CountingEmbedder(HashEmbedder):
    """Remembers the queries that it embedded."""

    def __init__(self) -> None:
        super().__init__()
        self.queries: list[str] = []

    def embed_queries(self, texts: Sequence[str]) -> FloatArray:
        self.queries += texts
        return super().embed_queries(texts)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    opened = Corpus.open(tmp_path_factory.mktemp("feedback") / "corpus", embedder=CountingEmbedder())
    opened.add(RECORDS)
    return opened


@pytest.fixture
def parts(corpus: Corpus) -> CorpusParts:
    return corpus._searcher.open_parts()


def retriever(parts: CorpusParts, method: str, *feedback: dict[str, Any]) -> Any:
    return make_retriever(parse_config({"retrieval": {"method": method, "feedback": feedback}}), parts)


def keys(hits: Sequence[Hit]) -> list[int]:
    return [hit.passage.key for hit in hits]


def test_many_queries_are_revised_a_few_at_a_time_each_by_its_own_hits(parts: CorpusParts):
    class Watching:
        num_hits = 1

        def __init__(self) -> None:
            self.sizes: list[int] = []

        def revise(self, queries: Sequence[Query], found: Sequence[Sequence[Hit]]) -> list[Query]:
            self.sizes.append(len(queries))
            return [Query(hits[0].passage.text) for hits in found]

    watching, plain = Watching(), retriever(parts, "bm25")
    queries = [Query(f"{WORDS[i % 10]} {WORDS[(i * 3) % 10]}") for i in range(40)]
    again = FeedbackRetriever(plain, [watching]).retrieve(queries, 2)
    first = [Query(hits[0].passage.text) for hits in plain.retrieve(queries, 1)]
    assert [keys(hits) for hits in again] == [keys(hits) for hits in plain.retrieve(first, 2)]
    assert watching.sizes == [16, 16, 8]


def test_a_dense_search_is_repeated_with_the_mean_of_query_and_first_hits(parts: CorpusParts):
    plain, revised = retriever(parts, "dense"), retriever(parts, "dense", AVERAGE)
    assert parts.embedder is not None
    first = plain.retrieve([Query("tide crane")], 3)[0]
    vectors = [parts.embedder.embed_queries(["tide crane"])[0]]
    vectors += list(parts.embedder.embed_passages([hit.passage for hit in first]))
    mean = np.mean(vectors, axis=0)
    by_hand = plain.retrieve([Query("", dense=mean / np.linalg.norm(mean))], 8)[0]
    hits = revised.retrieve([Query("tide crane")], 8)[0]
    assert keys(hits) == keys(by_hand)
    np.testing.assert_allclose([hit.score for hit in hits], [hit.score for hit in by_hand], atol=1e-6)
    assert keys(hits) != keys(plain.retrieve([Query("tide crane")], 8)[0])
    assert {hit.feedback_depth for hit in hits} == {3}


def test_a_search_of_terms_is_repeated_with_terms_of_the_first_hits(parts: CorpusParts):
    plain, revised = retriever(parts, "bm25"), retriever(parts, "bm25", RM3)
    # "anchor" stands in few passages: those with their other words find more.
    few, more = (each.retrieve([Query("anchor")], 40)[0] for each in (plain, revised))
    assert set(keys(few)) < set(keys(more))
    assert (few[0].feedback_depth, more[0].feedback_depth) == (0, 3)


@pytest.mark.parametrize("feedback", [[AVERAGE], [RM3], [AVERAGE, RM3]])
def test_in_hybrid_retrieval_the_merged_hits_revise_vectors_and_terms(parts: CorpusParts, feedback):
    plain, revised = retriever(parts, "hybrid"), retriever(parts, "hybrid", *feedback)
    assert parts.embedder is not None
    text = "storm quay"
    asked = Query(text, parts.embedder.embed_queries([text])[0])
    found = plain.retrieve([asked], 3)
    for table in feedback:
        alone = retriever(parts, "dense" if table is AVERAGE else "bm25", table)
        (asked,) = alone._feedback[0].revise([asked], found)
    assert (asked.terms is not None) == (RM3 in feedback)
    by_hand, hits = plain.retrieve([asked], 8)[0], revised.retrieve([Query(text)], 8)[0]
    assert keys(hits) == keys(by_hand)
    np.testing.assert_allclose([hit.score for hit in hits], [hit.score for hit in by_hand], atol=1e-6)


@pytest.mark.parametrize("method", ["dense", "hybrid"])
def test_a_query_is_embedded_once(parts: CorpusParts, method):
    embedder = parts.embedder
    assert isinstance(embedder, CountingEmbedder)
    embedder.queries.clear()
    retriever(parts, method, AVERAGE).retrieve([Query("tide"), Query("rope quay")], 5)
    assert embedder.queries == ["tide", "rope quay"]


@pytest.mark.parametrize(("method", "table"), [("dense", AVERAGE), ("bm25", RM3), ("hybrid", AVERAGE)])
def test_the_filter_holds_in_both_passes(parts: CorpusParts, method, table):
    wanted = frozenset({"d1", "d11"})
    hits = retriever(parts, method, table).retrieve([Query("crane tide")], 10, Filter(wanted))[0]
    # Two passages are there, fewer than the depth: both revise the query, and no other does.
    assert {hit.passage.document for hit in hits} == wanted
    assert {hit.feedback_depth for hit in hits} == {2}
    assert retriever(parts, method, table).retrieve([Query("crane")], 10, Filter(frozenset())) == [[]]


def test_a_query_that_finds_nothing_goes_with_others(parts: CorpusParts):
    found = retriever(parts, "bm25", RM3).retrieve([Query("zebra"), Query("tide")], 5)
    assert found[0] == []
    assert len(found[1]) == 5


@pytest.mark.parametrize(("method", "table"), [("dense", AVERAGE), ("bm25", RM3), ("hybrid", AVERAGE)])
def test_a_corpus_without_documents_finds_nothing(tmp_path: Path, method, table):
    config = {"retrieval": {"method": method, "feedback": table}}
    with Corpus.open(tmp_path / "c", config=config, embedder=HashEmbedder()) as empty:
        assert empty.search("tide", 3) == []


def test_no_feedback_is_the_plain_retriever(parts: CorpusParts):
    assert type(retriever(parts, "dense", {"kind": "none"})) is type(retriever(parts, "dense"))


class Recorder:
    """A `Retriever` that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[Query], int]] = []

    def retrieve(self, queries: Sequence[Query], k: int, where: Filter | None = None) -> list[list[Hit]]:
        self.asked.append((list(queries), k))
        return [[] for _ in queries]


class Deeper:
    """A `Feedback` that adds its number of hits to the query's text."""

    def __init__(self, num_hits: int) -> None:
        self.num_hits = num_hits

    def revise(self, queries: Sequence[Query], found: Sequence[Sequence[Hit]]) -> list[Query]:
        return [Query(f"{query.text} {self.num_hits}") for query in queries]


def test_the_first_pass_finds_as_many_hits_as_any_feedback_wants():
    """Any retriever may be wrapped, with any feedback."""
    inner = Recorder()
    FeedbackRetriever(inner, [Deeper(2), Deeper(7), Deeper(4)]).retrieve([Query("a")], 3)
    assert inner.asked == [([Query("a")], 7), ([Query("a 2 7 4")], 3)]


@pytest.mark.parametrize("kind", ["flat", "numpy", "ivf-flat", "ivf-sq8", "hnsw"])
def test_every_index_is_searched_again_with_the_revised_vectors(tmp_path: Path, kind):
    """Vectors are read where they are exact, whatever codes or graphs search them."""
    index = {"kind": kind, "min_vectors": 10, "recall_target": 1.0}
    texts = [
        TextRecord(f"d{i}", " ".join(WORDS[(i * step + i // 10) % 10] for step in (1, 3, 7, 9)))
        for i in range(200)
    ]
    config = {"index": index, "retrieval": {"method": "dense", "feedback": AVERAGE}}
    with Corpus.open(tmp_path / "c", config=config, embedder=HashEmbedder()) as corpus:
        corpus.add(texts)
        assert bool(corpus.info().indexes) == (kind not in ("flat", "numpy"))
        exact = {**config, "index": {**index, "kind": "numpy"}}
        with Corpus.open(tmp_path / "c", config=exact, embedder=HashEmbedder()) as reference:
            for text in ("storm quay", "tide anchor rope"):
                found, wanted = corpus.search(text, 10), reference.search(text, 10)
                np.testing.assert_allclose([h.score for h in found], [h.score for h in wanted], atol=1e-5)
                assert {hit.feedback_depth for hit in found} == {3}


def ink(left: float, top: float, width: float, height: float) -> PdfPage:
    return PdfPage(text="", drawing=f"{left} {top} {width} {height} re f".encode())


@pytest.mark.parametrize("embed", ["image", "both"])
def test_pictures_of_pages_revise_queries_too(tmp_path: Path, embed):
    """The left half is asked for; what it finds is dark at the top as well, and draws that page up."""
    pages = [ink(0, 0, 306, 792), ink(0, 396, 612, 396), ink(0, 0, 612, 200), ink(306, 0, 306, 792)]
    make_pdf(tmp_path / "a.pdf", pages)
    config: dict[str, Any] = {
        "pages": {"embed": embed, "dpi": 36},
        "documents": {"ocr": "never"},
        "retrieval": {"method": "dense"},
    }
    embedders = {"page_embedder": ThumbnailEmbedder(), "embedder": HashEmbedder() if embed == "both" else None}
    with Corpus.open(tmp_path / "c", config=config, **embedders) as corpus:  # type: ignore[arg-type]
        corpus.add(tmp_path / "a.pdf")
        plain = corpus.search("left", 4, level="page")
    config["retrieval"]["feedback"] = {"kind": "average", "depth": 2}
    with Corpus.open(tmp_path / "c", config=config, **embedders) as corpus:  # type: ignore[arg-type]
        revised = corpus.search("left", 4, level="page")
    pictures = {hit.passage.page: hit.passage.image for hit in revised}
    assert all(image is not None for image in pictures.values())
    assert [hit.passage.page for hit in plain][:2] == [1, 2]
    assert {hit.feedback_depth for hit in plain} == {0}
    assert {hit.feedback_depth for hit in revised} == {2}
    embedder = ThumbnailEmbedder()
    vectors = embedder.embed_passages([hit.passage for hit in sorted(plain, key=lambda hit: hit.passage.page)])
    mean = np.mean([embedder.embed_queries(["left"])[0], vectors[0], vectors[1]], axis=0)
    best = np.argsort(-(vectors @ mean)) + 1
    assert [hit.passage.page for hit in revised] == best.tolist()


def test_a_hit_says_by_how_many_passages_its_query_was_revised(corpus: Corpus):
    config = {"retrieval": {"method": "dense", "feedback": AVERAGE}}
    with Corpus.open(corpus.path, config=config, embedder=HashEmbedder()) as revised:
        hit = revised.search("tide", 1)[0]
        answer = revised.ask("tide")
    assert hit_json(1, hit)["feedback_depth"] == 3
    assert {hit.feedback_depth for hit in answer.hits} == {3}
    assert "feedback_depth" not in hit_json(1, corpus.search("tide", 1)[0])


def test_a_reranker_keeps_what_is_known_of_the_search(corpus: Corpus):
    class Reversing:
        def rerank(self, query: Query, hits: Sequence[Hit]) -> list[Hit]:
            return [Hit(float(rank), hit.passage) for rank, hit in reversed(list(enumerate(hits)))]

    config = {"retrieval": {"method": "dense", "feedback": AVERAGE}, "rerank": {"depth": 2}}
    with Corpus.open(corpus.path, config=config, embedder=HashEmbedder(), reranker=Reversing()) as revised:
        hits = revised.search("tide", 3)
    assert [(hit.feedback_depth, hit.retrieved_rank) for hit in hits] == [(3, 2), (3, 1), (3, 3)]


def test_pictures_alone_have_no_terms_to_revise(tmp_path: Path):
    config = {"pages": {"embed": "image"}, "retrieval": {"feedback": RM3}}
    with (
        Corpus.open(tmp_path / "c", config=config, page_embedder=ThumbnailEmbedder()) as corpus,
        pytest.raises(ConfigError, match="'rm3' revises terms, and this corpus holds page pictures alone"),
    ):
        corpus.search("left")


def test_the_command_searches_with_the_feedback_of_its_settings(tmp_path: Path):
    (tmp_path / "a.md").write_text("crane tide\n", "utf-8")
    config = tmp_path / "c.toml"
    config.write_text(
        '[embedder]\nname = "none"\n[retrieval]\nmethod = "bm25"\nfeedback = {kind = "rm3", depth = 2}\n', "utf-8"
    )
    rest = ["--corpus", str(tmp_path / "c"), "--config", str(config), "--json"]
    assert CliRunner().invoke(app, ["index", str(tmp_path / "a.md"), *rest]).exit_code == 0
    done = CliRunner().invoke(app, ["search", "crane", *rest])
    assert '"feedback_depth": 1' in done.stdout
