"""`ragkit train rerank-weight`: a reranker that was trained elsewhere gets the weight that suits a corpus."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ragkit import assemble
from ragkit.cli import app
from ragkit.config import load_config
from ragkit.errors import ConfigError, DataError
from tests.reranker_fakes import make_cross_encoder, score_by_shared_words, serve_rerank
from tests.retrievers.training.tiny_text_model import make_tiny_model
from tests.retrievers.training.toy_rankings import write_toy_rankings

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
    write_toy_rankings(tmp_path / "data")
    make_cross_encoder(tmp_path / "model")
    return tmp_path


def run(folder: Path, *options: str, out: str = "run", kind: str = "cross-encoder", more: str = "") -> str:
    settings = folder / "settings.toml"
    settings.write_text(SETTINGS.format(kind=kind, model=folder / "model") + more, "utf-8")
    words = ["train", "rerank-weight", str(folder / "data"), "--config", str(settings)]
    result = CliRunner().invoke(app, [*words, "--out", str(folder / out), *options])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def in_force(folder: Path) -> float:
    return assemble.rerank_weight(load_config(folder / "settings.toml"))


def test_the_weight_is_chosen_and_lies_with_the_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tenth = json.loads(run(folder, "--json", out="tenth"))
    assert (tenth["num_questions"], tenth["kept_in"]) == (3, str(folder / "model"))
    shown = run(folder, "--json", "--every-question")
    report = json.loads(shown)
    assert report["num_questions"] == 30
    assert report["both"] >= max(report["retriever"], report["reranker"])
    kept = json.loads((folder / "model" / "reranking.json").read_text("utf-8"))
    assert kept["weight"] == report["weight"] == in_force(folder)
    assert kept["every_question"] is True
    # What is finished is shown, not done anew, and changes no weight that lies there now.
    (folder / "model" / "reranking.json").write_text('{"weight": 0.77}', "utf-8")
    monkeypatch.setattr("ragkit.training.weight_run.weigh", lambda *_: pytest.fail("done anew"))
    assert run(folder, "--json", "--every-question") == shown
    table = " ".join(run(folder, "--every-question").split())
    assert f"weight {report['weight']:g}: " in table
    assert f"holds 0.77 by now; set rerank.weight = {report['weight']:g} to use this one" in table
    assert in_force(folder) == 0.77
    # A weight that is set goes before the one that lies there, and the table says so.
    set_to = " ".join(run(folder, "--every-question", more="weight = 0.2\n").split())
    assert "rerank.weight = 0.2, which goes before it" in set_to


def test_every_question_needs_no_lists(folder: Path) -> None:
    with_lists = run(folder, "--json", "--every-question", out="with")
    (folder / "data" / "lists.jsonl").unlink()
    assert run(folder, "--json", "--every-question", out="without") == with_lists
    with pytest.raises(DataError, match=r"lists\.jsonl"):
        run(folder, "--json", out="tenth")


def test_an_embedder_is_weighed(folder: Path) -> None:
    (folder / "model").rename(folder / "cross-encoder")
    make_tiny_model(folder / "model")
    report = json.loads(run(folder, "--json", "--every-question", kind="embedder"))
    assert report["model"] == f"embedder {folder / 'model'}"
    assert json.loads((folder / "model" / "reranking.json").read_text("utf-8"))["weight"] == report["weight"]


def test_a_server_has_its_weight_printed(folder: Path) -> None:
    with serve_rerank(score_by_shared_words) as url:
        address = url.replace("://", "://user:secret@") + "?key=secret"
        more = f'url = "{address}"\n'
        report = json.loads(run(folder, "--json", kind="remote", more=more))
        table = run(folder, kind="remote", more=more)
    assert report["kept_in"] is None
    assert not (folder / "model" / "reranking.json").exists()
    assert f"set rerank.weight = {report['weight']:g}" in " ".join(table.split())
    assert "secret" not in (folder / "run" / "manifest.json").read_text("utf-8")


@pytest.mark.parametrize("what", ["another choice", "other weights"])
def test_what_is_another_choice_does_not_go_on_in_its_folder(folder: Path, what: str) -> None:
    run(folder)
    if what == "other weights":
        shutil.rmtree(folder / "model")
        make_cross_encoder(folder / "model", seed=8)
    with pytest.raises(DataError, match="every_question" if what == "another choice" else "fingerprint"):
        run(folder, *["--every-question"] * (what == "another choice"))


def test_without_a_reranker_there_is_nothing_to_weigh(folder: Path) -> None:
    with pytest.raises(ConfigError, match='kind is "none"'):
        run(folder, kind="none")
