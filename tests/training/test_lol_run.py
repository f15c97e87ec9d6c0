"""`ragkit train lol` from a folder in BEIR's layout to a model that a corpus searches with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ragkit.config import Config
from ragkit.corpus import Corpus
from ragkit.errors import ConfigError, DataError
from ragkit.retrievers.feedback.load_reformulator import load_reformulator
from ragkit.retrievers.training.lol_loss import LolSettings
from ragkit.retrievers.training.train_lol import LolTraining
from ragkit.retrievers.training.training_log import read_log
from ragkit.training.lol_data import parse_source, read_lol_data
from ragkit.training.lol_run import LolRun, run_lol_training
from tests.fakes import HashEmbedder

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
    assert [line.split(":")[0] for line in told] == [f"after {epoch} epochs" for epoch in range(3)]
    assert [record["epoch"] for record in read_log(tmp_path / "out" / "log.jsonl")] == [0, 1, 2]
    assert load_reformulator(report.model).fingerprint == embedder.fingerprint
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


def test_another_plan_and_settings_without_embedder_are_refused(folder: Path, tmp_path: Path) -> None:
    out, embedder = tmp_path / "out", HashEmbedder()
    short = replace(TRAINING, epochs=1)
    run_lol_training(LolRun((str(folder),), short), out, Config(), embedder=embedder)
    with pytest.raises(DataError, match="is_free"):
        run_lol_training(LolRun((str(folder),), short, is_free=True), out, Config(), embedder=embedder)
    with pytest.raises(ConfigError, match="named twice"):
        run_lol_training(LolRun((str(folder),) * 2, TRAINING), tmp_path / "b", Config(), embedder=embedder)
    none = Config.model_validate({"embedder": {"name": "none"}})
    with pytest.raises(ConfigError, match="name the embedder it is for"):
        run_lol_training(LolRun((str(folder),), TRAINING), tmp_path / "c", none)
