"""Trained models in the settings of feedback: which vectors they are given, and what does not fit."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ragkit import Corpus, Query, TextRecord
from ragkit.devices import Placement
from ragkit.errors import ConfigError
from ragkit.retrievers.feedback.feedback_sequences import SequenceLimits
from ragkit.retrievers.feedback.load_reformulator import save_reformulator
from ragkit.retrievers.feedback.sequence_encoder import SequenceEncoder
from ragkit.retrievers.feedback.term_reformulator import TermReformulator
from tests.fakes import HashEmbedder, ThumbnailEmbedder
from tests.pdf_maker import PdfPage, make_pdf
from tests.retrievers.feedback.fake_reformulators import CautiousReformulator, SumReformulator
from tests.retrievers.training.tiny_text_model import make_tiny_model

TEXTS = [TextRecord("a", "crane tide rope"), TextRecord("b", "rope quay"), TextRecord("c", "storm pilot crane")]


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> dict[str, SumReformulator]:
    """What is loaded from which folder."""
    held: dict[str, SumReformulator] = {}
    module = ModuleType("load_reformulator")
    module.load_reformulator = lambda folder, place: held[folder.name]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ragkit.retrievers.feedback.load_reformulator", module)
    return held


def opened(folder: Path, method: str = "dense", guard: bool = False) -> Corpus:
    feedback = {"kind": "lol", "model": "models/m", "depth": 2, "guard": guard}
    corpus = Corpus.open(
        folder, config={"retrieval": {"method": method, "feedback": feedback}}, embedder=HashEmbedder()
    )
    corpus.add(TEXTS)
    return corpus


@pytest.mark.parametrize("method", ["dense", "hybrid"])
def test_queries_are_searched_again_by_the_model_s_vectors(tmp_path: Path, models, method):
    models["m"] = SumReformulator()
    with opened(tmp_path / "c", method) as corpus:
        hits = corpus.search("crane tide", 3)
        [(question, shown)] = models["m"].shown
        assert question == "crane tide"
        assert len(shown) == 2
        assert {hit.feedback_depth for hit in hits} == {2}
        passages = corpus.store.passages(shown)
    if method == "dense":
        embedder = HashEmbedder()
        vector = embedder.embed_queries(["crane tide"])[0] + embedder.embed_passages(passages).sum(axis=0)
        with Corpus.open(tmp_path / "c", config={"retrieval": {"method": "dense"}}, embedder=embedder) as plain:
            by_hand = plain.search(Query("", dense=vector), 3)
        assert [hit.passage.key for hit in hits] == [hit.passage.key for hit in by_hand]
        np.testing.assert_allclose([hit.score for hit in hits], [hit.score for hit in by_hand], atol=1e-5)


def test_a_guard_chooses_the_depth(tmp_path: Path, models):
    models["m"] = CautiousReformulator()
    with opened(tmp_path / "c", guard=True) as corpus:
        found = corpus.search_many(["crane", "crane tide", "crane tide rope storm"], 3)
    assert [hits[0].feedback_depth for hits in found] == [0, 1, 2]


def test_a_model_of_another_embedder_is_refused_when_the_corpus_is_loaded(tmp_path: Path, models):
    models["m"] = SumReformulator("other")
    said = "embedder other, and this corpus has those of hash-64"
    with opened(tmp_path / "c") as corpus, pytest.raises(ConfigError, match=said):
        corpus.load()


def test_what_a_model_revises_must_be_searched_and_by_one_kind_only(tmp_path: Path, models):
    models["m"] = SumReformulator()
    with (
        opened(tmp_path / "c", "bm25") as corpus,
        pytest.raises(ConfigError, match="set retrieval.method to 'dense'"),
    ):
        corpus.load()
    feedback = [{"kind": "lol", "model": "models/m"}, {"kind": "average"}]
    config = {"retrieval": {"method": "dense", "feedback": feedback}}
    with (
        Corpus.open(tmp_path / "c", config=config, embedder=HashEmbedder()) as corpus,
        pytest.raises(ConfigError, match="models/m and average would revise vectors twice"),
    ):
        corpus.load()


@pytest.mark.parametrize(("fingerprint", "depths"), [("thumbnail", {2}), ("hash-64", {2})])
def test_of_texts_and_pictures_the_model_revises_those_it_was_made_for(
    tmp_path: Path, models, fingerprint, depths
):
    model = models["m"] = SumReformulator(fingerprint)
    make_pdf(tmp_path / "a.pdf", [PdfPage(text="crane tide"), PdfPage(text="rope quay"), PdfPage(text="storm")])
    config: dict[str, Any] = {
        "pages": {"embed": "both", "dpi": 36},
        "retrieval": {"method": "dense", "feedback": {"kind": "lol", "model": "models/m", "depth": 2}},
    }
    with Corpus.open(
        tmp_path / "c", config=config, embedder=HashEmbedder(), page_embedder=ThumbnailEmbedder()
    ) as corpus:
        corpus.add(tmp_path / "a.pdf")
        hits = corpus.search("crane tide", 3)
        shown = corpus.store.passages([key for _, keys in model.shown for key in keys])
    assert {passage.image is not None for passage in shown} == {fingerprint == "thumbnail"}
    assert {hit.feedback_depth for hit in hits} == depths


@pytest.fixture(scope="module")
def of_terms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a reformulator of terms."""
    folder = tmp_path_factory.mktemp("terms")
    encoder = SequenceEncoder(make_tiny_model(folder / "tiny"), Placement("cpu", "float32"), SequenceLimits())
    save_reformulator(TermReformulator(encoder, "none", 5), folder / "model")
    return folder / "model"


@pytest.mark.parametrize(("embed", "said"), [("both", ""), ("image", "this corpus holds page pictures alone")])
def test_beside_pictures_a_model_of_terms_revises_the_search_of_texts(
    tmp_path: Path, of_terms: Path, embed: str, said: str
) -> None:
    make_pdf(tmp_path / "a.pdf", [PdfPage(text="crane tide"), PdfPage(text="rope quay"), PdfPage(text="storm")])
    config: dict[str, Any] = {
        "pages": {"embed": embed, "dpi": 36},
        "lexical": {"language": "none"},
        "retrieval": {"method": "hybrid", "feedback": {"kind": "lol", "model": str(of_terms), "depth": 2}},
    }
    texts = None if embed == "image" else HashEmbedder()
    with Corpus.open(tmp_path / "c", config=config, embedder=texts, page_embedder=ThumbnailEmbedder()) as corpus:
        corpus.add(tmp_path / "a.pdf")
        if said:
            with pytest.raises(ConfigError, match=said):
                corpus.search("crane tide", 3)
        else:
            assert max(hit.feedback_depth for hit in corpus.search("crane tide", 3)) == 2


def test_a_model_that_reads_texts_runs_where_the_embedder_does(tmp_path: Path, of_terms: Path) -> None:
    feedback = {"kind": "lol", "model": str(of_terms)}
    config: dict[str, Any] = {
        "embedder": {"name": "none", "device": "cuda:7"},
        "lexical": {"language": "none"},
        "retrieval": {"method": "bm25", "feedback": feedback},
    }
    with (
        Corpus.open(tmp_path / "c", config=config) as corpus,
        pytest.raises(ConfigError, match="device 'cuda:7' cannot be used here"),
    ):
        corpus.add(TEXTS)
        corpus.search("crane", 3)
