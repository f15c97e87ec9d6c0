"""`ragkit train rerank-weight`: a reranker that was trained elsewhere gets the weight that suits a corpus."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ragkit import assemble
from ragkit.cli import app
from ragkit.config import load_config
from ragkit.errors import ConfigError, DataError
from ragkit.retrievers.training.examples import LISTS, PASSAGES, QUESTIONS, write_rows
from tests.reranker_fakes import make_cross_encoder
from tests.retrievers.training.toy_rankings import toy_rankings

SETTINGS = """[embedder]
name = "none"
device = "cpu"
dtype = "float32"
[retrieval]
method = "bm25"
[rerank]
kind = "{kind}"
model = "{model}"
depth = 12
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAGKIT_CACHE", str(tmp_path / "cache"))
    data, made = toy_rankings(), tmp_path / "data"
    made.mkdir()
    write_rows(made / PASSAGES, data.passages.values())
    write_rows(made / QUESTIONS, data.questions.values())
    write_rows(made / LISTS, data.lists)
    make_cross_encoder(tmp_path / "model")
    return tmp_path


def run(folder: Path, *options: str, kind: str = "cross-encoder") -> str:
    settings = folder / "settings.toml"
    settings.write_text(SETTINGS.format(kind=kind, model=folder / "model"), "utf-8")
    words = ["train", "rerank-weight", str(folder / "data"), "--config", str(settings), *options]
    result = CliRunner().invoke(app, words)
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_the_weight_is_chosen_and_lies_beside_the_model(folder: Path) -> None:
    tenth = json.loads(run(folder, "--out", str(folder / "tenth"), "--json"))
    assert (tenth["num_questions"], tenth["kept_in"]) == (3, str(folder / "model"))
    shown = run(folder, "--out", str(folder / "all"), "--every-question", "--json")
    report = json.loads(shown)
    assert report["num_questions"] == 30
    assert report["both"] >= max(report["retriever"], report["reranker"])
    kept = json.loads((folder / "model" / "reranking.json").read_text("utf-8"))
    assert kept["weight"] == report["weight"]
    assert assemble.rerank_weight(load_config(folder / "settings.toml")) == report["weight"]
    # The same again is shown, not done anew, though a weight lies in the model's folder now.
    assert run(folder, "--out", str(folder / "all"), "--every-question", "--json") == shown
    table = run(folder, "--out", str(folder / "all"), "--every-question")
    assert f"weight {report['weight']:g}" in " ".join(table.split())


def test_another_choice_does_not_go_on_in_its_folder(folder: Path) -> None:
    run(folder, "--out", str(folder / "run"))
    with pytest.raises(DataError, match="every_question"):
        run(folder, "--out", str(folder / "run"), "--every-question")


def test_without_a_reranker_there_is_nothing_to_weigh(folder: Path) -> None:
    with pytest.raises(ConfigError, match='kind is "none"'):
        run(folder, "--out", str(folder / "run"), kind="none")
