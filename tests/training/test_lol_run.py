"""`ragkit train lol` from a folder in BEIR's layout to a model that a corpus searches with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ragkit import TextRecord
from ragkit.config import Config
from ragkit.corpus import Corpus
from ragkit.errors import ConfigError, DataError
from ragkit.retrievers.feedback.load_reformulator import load_reformulator
from ragkit.retrievers.feedback.term_reformulator import TermReformulator
from ragkit.retrievers.feedback.vector_reformulator import VectorReformulator
from ragkit.retrievers.training.lol_loss import LolSettings
from ragkit.retrievers.training.train_lol import LolTraining
from ragkit.retrievers.training.training_log import read_log
from ragkit.training.lol_data import parse_source, read_lol_data
from ragkit.training.lol_run import LolRun, run_lol_training
from tests.fakes import HashEmbedder
from tests.retrievers.training.tiny_text_model import make_tiny_model

TRAINING = LolTraining(LolSettings(scale=10.0), epochs=2, batch_size=4)
TOPICS = ("glaciers melt", "trees grow", "rivers flow", "bread rises")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAGKIT_CACHE", str(tmp_path / "cache"))
    data = tmp_path / "data"
    (data / "qrels").mkdir(parents=True)
    documents = [{"_id": f"d{i}", "title": "", "text": f"{TOPICS[i % 4]} in place {i}"} for i in range(16)]
    queries = [{"_id": f"q{i}", "text": f"{TOPICS[i % 4]} {i}"} for i in range(12)]
    for name, rows in (("corpus", documents), ("queries", queries)):
        (data / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = ["query-id\tcorpus-id\tscore", *(f"q{i}\td{i}\t1" for i in range(11)), "q11\td3\t0"]
    (data / "qrels" / "train.tsv").write_text("\n".join(lines) + "\n")
    return data


def test_sources() -> None:
    assert parse_source("a/b") == (Path("a/b"), "train")
    assert parse_source("a/b:dev") == (Path("a/b"), "dev")
    assert parse_source("c:/a") == (Path("c:/a"), "train")


def test_queries_with_feedback_are_what_search_finds(folder: Path) -> None:
    embedder = HashEmbedder()
    data = read_lol_data(str(folder), Config(), 5, 0, embedder)
    # q11 has nothing relevant; a fifth of eleven is held out.
    assert (len(data.train.queries), len(data.held_out.queries)) == (9, 2)
    texts = [f"{TOPICS[i % 4]} {i}" for i in range(11)]
    vectors = embedder.embed_queries(texts)
    for query in (*data.train.queries, *data.held_out.queries):
        number = int(np.argmin(np.abs(vectors - query.vector).sum(axis=1)))
        assert query.relevant == (number,)
        scores = data.train.passages @ query.vector
        assert scores[list(query.found)].tolist() == pytest.approx(sorted(scores, reverse=True)[:5])


def test_a_trained_model_is_searched_with_and_a_second_call_shows_the_same(folder: Path, tmp_path: Path) -> None:
    embedder, told = HashEmbedder(), []
    run = LolRun((str(folder),), TRAINING)
    report = run_lol_training(run, tmp_path / "out", Config(), tell=told.append, embedder=embedder)
    again = run_lol_training(run, tmp_path / "out", Config(), tell=told.append, embedder=embedder)
    assert again == report
    assert [line.split(":")[0] for line in told if "held-out" in line] == [f"after {n} epochs" for n in range(3)]
    log = read_log(tmp_path / "out" / "log.jsonl")
    assert [record["epoch"] for record in log if record["kind"] == "evaluation"] == [0, 1, 2]
    assert "<svg" in (tmp_path / "out" / "curves.svg").read_text()
    model = load_reformulator(report.model)
    assert isinstance(model, VectorReformulator)
    assert model.fingerprint == embedder.fingerprint
    figures = report.held_out[str(folder)]
    assert len(figures.by_depth) == len(figures.losses) == 6
    assert report.outcome.untrained == pytest.approx(figures.losses[0])
    assert report.outcome.best == pytest.approx(np.mean(figures.losses[1:]))
    feedback = {"kind": "lol", "model": str(report.model), "depth": 3}
    settings = {"retrieval": {"method": "dense", "feedback": feedback}}
    with Corpus.open(tmp_path / "corpus", config=settings, embedder=embedder) as corpus:
        note = tmp_path / "note.txt"
        note.write_text("Glaciers melt in summer.")
        corpus.add([note])
        assert [hit.feedback_depth for hit in corpus.search("glaciers")] == [1]


def test_a_model_of_terms_is_trained_and_searched_with(folder: Path, tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "tiny")
    config = Config.model_validate({"embedder": {"name": str(model)}})
    short = replace(TRAINING, epochs=1)
    report = run_lol_training(LolRun((str(folder),), short, "sparse", passage_tokens=4), tmp_path / "out", config)
    loaded = load_reformulator(report.model)
    assert isinstance(loaded, TermReformulator)
    # Sixteen texts of a few words do not say what language they are in.
    assert (loaded.language, loaded.encoder.limits.passage) == ("none", 4)
    assert np.isfinite(report.held_out[str(folder)].losses).all()
    feedback = {"kind": "lol", "model": str(report.model), "depth": 2}
    settings = {"embedder": {"name": "none"}, "retrieval": {"method": "bm25", "feedback": feedback}}
    with Corpus.open(tmp_path / "corpus", config=settings) as corpus:
        corpus.add([TextRecord("a", "Glaciers melt in summer."), TextRecord("b", "Summer comes.")])
        assert [(hit.passage.document, hit.feedback_depth) for hit in corpus.search("glaciers")] == [
            ("a", 1),
            ("b", 1),
        ]
    english = settings | {"lexical": {"language": "english"}}
    with (
        Corpus.open(tmp_path / "english", config=english) as corpus,
        pytest.raises(
            ConfigError, match="terms of the language 'none', and those of this corpus are of 'english'"
        ),
    ):
        corpus.add([TextRecord("a", "Glaciers melt in summer.")])
        corpus.search("glaciers")


def test_a_model_that_reads_texts_revises_the_vectors_of_its_embedder(folder: Path, tmp_path: Path) -> None:
    config = Config.model_validate({"embedder": {"name": str(make_tiny_model(tmp_path / "tiny"))}})
    run = LolRun((str(folder),), replace(TRAINING, epochs=1), "dense", passage_tokens=4)
    report = run_lol_training(run, tmp_path / "out", config)
    feedback = {"kind": "lol", "model": str(report.model), "depth": 2}
    settings = config.model_dump(exclude_unset=True) | {"retrieval": {"method": "dense", "feedback": feedback}}
    with Corpus.open(tmp_path / "corpus", config=settings) as corpus:
        corpus.add([TextRecord(name, f"{name} glaciers melt") for name in ("a", "b", "c")])
        assert {hit.feedback_depth for hit in corpus.search("glaciers")} == {2}


def test_another_plan_and_settings_without_embedder_are_refused(folder: Path, tmp_path: Path) -> None:
    out, embedder = tmp_path / "out", HashEmbedder()
    short = replace(TRAINING, epochs=1)
    run_lol_training(LolRun((str(folder),), short), out, Config(), embedder=embedder)
    with pytest.raises(DataError, match="reformulator"):
        run_lol_training(LolRun((str(folder),), short, is_free=True), out, Config(), embedder=embedder)
    with pytest.raises(ConfigError, match="named twice"):
        run_lol_training(LolRun((str(folder),) * 2, TRAINING), tmp_path / "b", Config(), embedder=embedder)
    none = Config.model_validate({"embedder": {"name": "none"}})
    for kind in ("vector", "dense", "sparse"):
        with pytest.raises(ConfigError, match=f"a reformulator of kind {kind} .* name one"):
            run_lol_training(LolRun((str(folder),), TRAINING, kind), tmp_path / "c", none)


def test_a_run_goes_on_with_less_memory_and_not_with_other_weights(folder: Path, tmp_path: Path) -> None:
    config = Config.model_validate({"embedder": {"name": str(make_tiny_model(tmp_path / "tiny"))}})
    short = replace(TRAINING, epochs=1)
    report = run_lol_training(LolRun((str(folder),), short, "sparse"), tmp_path / "out", config)
    less = LolRun((str(folder),), replace(short, chunk=4, piece_tokens=64), "sparse")
    assert run_lol_training(less, tmp_path / "out", config) == report
    make_tiny_model(tmp_path / "tiny", seed=1)
    with pytest.raises(DataError, match=r"reformulator\.encoder"):
        run_lol_training(LolRun((str(folder),), short, "sparse"), tmp_path / "out", config)
