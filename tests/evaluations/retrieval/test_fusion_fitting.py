"""`ragkit train fusion`: from labelled questions to weights in the corpus, and back into its searches."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from typer.testing import CliRunner

from ragkit.commands.train_app import train_app
from ragkit.corpus import Corpus
from ragkit.errors import CorpusError, CorpusLockedError, DataError
from ragkit.eval.sets.page_sets import read_page_set
from ragkit.evaluations.retrieval.fusion_fitting import (
    PageQuestion,
    fit_corpus_fusion,
    questions_of,
    read_questions,
    store_page_fusion,
    stored_page_fusion,
)
from ragkit.indexers.lock import writer_lock
from ragkit.records import FloatArray, Passage
from ragkit.retrievers.page_fusion_weights import PageFusionWeights
from tests.fakes import HashEmbedder
from tests.pdf_maker import PdfPage, make_pdf

CONFIG = {
    "documents": {"ocr": "never"},
    "embedder": {"name": "none"},
    "lexical": {"language": "none"},
    "pages": {"embed": "both", "dpi": 36, "keep_pages": False},
    "retrieval": {"method": "bm25"},
}
DOCUMENTS = [f"doc{i}" for i in range(8)]
NUM_PAGES = 5
PAGES = [(document, page) for document in DOCUMENTS for page in range(1, NUM_PAGES + 1)]
# A page is known by a topic that four pages share, which its text says, and a look that its picture alone shows.
TOPIC = {place: f"topic{i % 10}" for i, place in enumerate(PAGES)}
LOOKS = ["striped", "dotted", "plain", "framed"]
LOOK = {place: LOOKS[i // 10] for i, place in enumerate(PAGES)}


class PlantedPictures:
    """Embeds a page's picture as the direction of its look; "random" instead draws a vector for it."""

    metric: Literal["cosine"] = "cosine"

    def __init__(self, kind: Literal["looks", "random"]) -> None:
        self.dim, self.fingerprint, self.kind = len(LOOKS), f"planted-{kind}", kind

    def embed_queries(self, texts: Sequence[str]) -> FloatArray:
        return np.eye(self.dim, dtype=np.float32)[[LOOKS.index(text.split()[-1]) for text in texts]]

    def embed_passages(self, passages: Sequence[Passage]) -> FloatArray:
        places = [(passage.document.removesuffix(".pdf"), passage.page) for passage in passages]
        if self.kind == "looks":
            return self.embed_queries([LOOK[place] for place in places])
        rows = np.array([np.random.default_rng(PAGES.index(place)).normal(size=self.dim) for place in places])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def pdfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pdfs")
    for document in DOCUMENTS:
        places = [(document, page) for page in range(1, NUM_PAGES + 1)]
        # A bar of its own length on each page: equal pictures would be embedded once for all of them.
        bars = [b"72 72 %d 20 re f" % (10 * (1 + PAGES.index(place))) for place in places]
        pages = [PdfPage(TOPIC[place], drawing=bar) for place, bar in zip(places, bars, strict=True)]
        make_pdf(folder / f"{document}.pdf", pages)
    return folder


def questions() -> list[PageQuestion]:
    places = random.Random(7).sample(PAGES, 30)
    return [PageQuestion(f"{TOPIC[place]} {LOOK[place]}", place[0], frozenset({place[1]})) for place in places]


def build(folder: Path, pdfs: Path, kind: Literal["looks", "random"]) -> PlantedPictures:
    embedder = PlantedPictures(kind)
    with Corpus.open(folder, config=CONFIG, page_embedder=embedder) as corpus:
        assert not corpus.add(sorted(pdfs.glob("*.pdf"))).failed
    return embedder


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory, pdfs: Path) -> tuple[Path, PlantedPictures]:
    folder = tmp_path_factory.mktemp("planted") / "corpus"
    return folder, build(folder, pdfs, "looks")


def found(folder: Path, embedder: PlantedPictures, question: str) -> tuple[str, int]:
    with Corpus.open(folder, page_embedder=embedder, create=False) as corpus:
        hit = corpus.search(question, 1, level="page")[0]
    return hit.passage.document.removesuffix(".pdf"), hit.passage.page


def test_text_and_looks_together_find_what_neither_finds(planted):
    folder, embedder = planted
    weights = fit_corpus_fusion(folder, questions(), page_embedder=embedder)
    assert weights.routes == ("text", "image")
    assert min(weights.weights) > 0.1
    assert weights.fused > 0.99
    assert max(weights.alone) < 0.8
    assert (weights.num_questions, weights.depth) == (30, 500)
    store_page_fusion(folder, weights)
    for place in PAGES[::7]:
        assert found(folder, embedder, f"{TOPIC[place]} {LOOK[place]}") == place


def test_within_a_document_its_pages_are_all_there_are(planted):
    folder, embedder = planted
    weights = fit_corpus_fusion(folder, questions(), within_document=True, page_embedder=embedder)
    # Within a document the five topics differ, so that the text alone finds every page.
    assert weights.alone[0] == 1.0


def test_random_pictures_are_left_out(tmp_path: Path, pdfs: Path):
    embedder = build(tmp_path / "corpus", pdfs, "random")
    weights = fit_corpus_fusion(tmp_path / "corpus", questions(), page_embedder=embedder)
    assert weights.weights == (1.0, 0.0)


WEIGHTS = PageFusionWeights(
    ("text", "image"), (0.5, 0.5), 40, (0.5, 0.5), 30, 8, (0.4, 0.3), 0.6, (0.2, 0.1), (0.3, 0.1)
)


def test_weights_are_kept_and_taken_out_and_nothing_else_changes(tmp_path: Path):
    with Corpus.open(tmp_path / "c", embedder=HashEmbedder()) as corpus:
        (tmp_path / "a.txt").write_text("Ropes are checked on Mondays.")
        corpus.add(tmp_path / "a.txt")
        before = corpus.info().settings
        store_page_fusion(tmp_path / "c", WEIGHTS)
        assert stored_page_fusion(corpus.info().settings) == WEIGHTS
        assert {**corpus.info().settings, "page_fusion": None} == {**before, "page_fusion": None}
        corpus.add(tmp_path / "a.txt")
        assert stored_page_fusion(corpus.info().settings) == WEIGHTS
        assert corpus.verify() == []
        assert corpus.search("ropes", 1)[0].passage.text == "Ropes are checked on Mondays."
        store_page_fusion(tmp_path / "c", None)
        assert corpus.info().settings == before
        assert stored_page_fusion(before) is None


def test_a_corpus_that_is_being_written_to_is_left_alone(tmp_path: Path):
    with (
        Corpus.open(tmp_path / "c", embedder=HashEmbedder()),
        writer_lock(tmp_path / "c"),
        pytest.raises(CorpusLockedError),
    ):
        store_page_fusion(tmp_path / "c", WEIGHTS)


def test_a_corpus_of_texts_alone_has_nothing_to_fuse(tmp_path: Path):
    with Corpus.open(tmp_path / "c", config={"embedder": {"name": "none"}}) as corpus:
        (tmp_path / "a.txt").write_text("Ropes.")
        corpus.add(tmp_path / "a.txt")
    with pytest.raises(CorpusError, match="--pages both"):
        fit_corpus_fusion(tmp_path / "c", [PageQuestion("ropes", "a.txt", frozenset({1}))])


def test_an_unknown_document_is_named(planted):
    with pytest.raises(
        DataError, match=r"about document 'dok3', which is not in the corpus; did you mean 'doc3'\?"
    ):
        fit_corpus_fusion(planted[0], [PageQuestion("x", "dok3", frozenset({1}))], page_embedder=planted[1])


def test_questions_are_read(tmp_path: Path):
    path = tmp_path / "questions.jsonl"
    path.write_text('{"question": "Who?", "document": "a.pdf", "pages": [2, 3], "more": 1}\n\n')
    assert read_questions(path) == [PageQuestion("Who?", "a.pdf", frozenset({2, 3}))]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", ":1: not JSON"),
        ("[]", ":1: list, expected an object"),
        ('{"question": "Who?", "pages": [1]}', "document None"),
        ('{"question": "Who?", "document": "a", "pages": []}', r"pages is \[\]"),
        ('{"question": "Who?", "document": "a", "pages": [0]}', r"pages is \[0\]"),
        ('{"question": "Who?", "document": "a", "pages": [true]}', r"pages is \[True\]"),
        ('{"question": "Who?", "document": "a", "pages": "1"}', "pages is '1'"),
    ],
)
def test_malformed_questions_are_told(tmp_path: Path, line: str, message: str):
    (tmp_path / "questions.jsonl").write_text(line)
    with pytest.raises(DataError, match=message):
        read_questions(tmp_path / "questions.jsonl")


def test_questions_of_a_page_level_collection(tmp_path: Path):
    (tmp_path / "qrels").mkdir()
    rows = [{"_id": "a#p1", "title": "", "text": "x"}, {"_id": "b#p7", "title": "", "text": "y"}]
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)))
    queries = [{"_id": "q1", "text": "Who?"}, {"_id": "q2", "text": "Both?"}]
    (tmp_path / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    judged = "q1\tb#p7\t1\nq2\ta#p1\t1\nq2\tb#p7\t1\n"
    (tmp_path / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}")
    assert questions_of(read_page_set(tmp_path)) == [PageQuestion("Who?", "b", frozenset({7}))]


def test_the_command_says_what_is_missing(tmp_path: Path):
    (tmp_path / "questions.jsonl").write_text('{"question": "Who?", "document": "a.pdf", "pages": [2]}')
    arguments = ["fusion", "--corpus", str(tmp_path / "none"), "--questions", str(tmp_path / "questions.jsonl")]
    done = CliRunner().invoke(train_app, arguments)
    assert "there is no corpus" in str(done.exception)
    assert CliRunner().invoke(train_app, [*arguments, "--within", "page"]).exit_code == 2
