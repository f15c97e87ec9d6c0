"""`ragkit train reranker`: from a training folder to a model that a corpus reranks with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ragkit.cli import app
from ragkit.corpus import Corpus
from ragkit.records import TextRecord
from tests.reranker_fakes import make_cross_encoder
from tests.retrievers.training.toy_rankings import write_toy_rankings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAGKIT_CACHE", str(tmp_path / "cache"))
    write_toy_rankings(tmp_path / "data")
    make_cross_encoder(tmp_path / "base")
    config = '[embedder]\nname = "none"\ndevice = "cpu"\ndtype = "float32"\n[retrieval]\nmethod = "bm25"\n'
    (tmp_path / "settings.toml").write_text(f"{config}[rerank]\ndepth = 12\n", "utf-8")
    return tmp_path


def run(folder: Path, *options: str) -> str:
    words = [
        "train",
        "reranker",
        str(folder / "data"),
        "--out",
        str(folder / "run"),
        "--base",
        str(folder / "base"),
    ]
    words += ["--config", str(folder / "settings.toml"), "--learning-rate", "3e-3", "--epochs", "2", *options]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_folder_becomes_a_model_with_its_weight(folder: Path) -> None:
    report = json.loads(run(folder, "--json"))
    kept = json.loads((folder / "run" / "model" / "reranking.json").read_text("utf-8"))
    assert kept == {"weight": report["weight"], "choice": report["held_out"]}
    held_out = report["held_out"]
    assert held_out["num_questions"] == 3
    assert held_out["both"] >= max(held_out["retriever"], held_out["reranker"])
    assert report["training"]["best"] < report["training"]["untrained"]
    assert "<svg" in (folder / "run" / "curves.svg").read_text("utf-8")
    # Given again, the command shows what came out and does nothing.
    assert json.loads(run(folder, "--json")) == report
    assert "with weight" in run(folder)
    settings = {
        "embedder": {"name": "none", "device": "cpu", "dtype": "float32"},
        "retrieval": {"method": "bm25"},
        "rerank": {"kind": "cross-encoder", "model": str(folder / "run" / "model"), "weight": 1.0},
    }
    with Corpus.open(folder / "corpus", config=settings) as corpus:
        corpus.add([TextRecord("dry", "cat sat on mat"), TextRecord("wet", "cat sat on river")])
        first, second = corpus.search("cat")
    assert (first.passage.document, second.passage.document) == ("wet", "dry")


def test_a_given_weight_is_kept_and_nothing_is_searched(folder: Path) -> None:
    report = json.loads(run(folder, "--json", "--weight", "0.4"))
    assert (report["weight"], report["held_out"]) == (0.4, None)
    assert json.loads((folder / "run" / "model" / "reranking.json").read_text("utf-8"))["weight"] == 0.4
    assert list((folder / "cache").rglob("manifest.json")) == []


def test_an_unknown_method_is_refused(folder: Path) -> None:
    words = ["train", "reranker", str(folder / "data"), "--out", str(folder / "run"), "--method", "magic"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert "listwise, margin-mse" in " ".join(result.output.split())
