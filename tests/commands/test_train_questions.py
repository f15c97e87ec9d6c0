"""`ragkit train questions`: options, what is printed where, and the exit status of a mistake."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ragkit import assemble
from ragkit.cli import app
from ragkit.config import Config
from ragkit.corpus import Corpus
from ragkit.errors import ConfigError, DataError
from ragkit.records import ChatReply, ChatRequest, TextRecord, Usage
from ragkit.retrievers.training.examples import PASSAGES, QUESTIONS, read_passages, read_questions
from ragkit.retrievers.training.extracted_questions import ExtractedKind
from ragkit.retrievers.training.question_prompts import QuestionKind
from ragkit.serve.engines.echo_engine import EchoEngine
from ragkit.training.question_plan import kinds_of
from tests.training.test_passage_sources import OTHER, RELEVANT, write_collection


class Writer(EchoEngine):
    def chat_batch(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        return [ChatReply("Why is that so?", usage=Usage(9, 5)) for _ in requests]


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    """What engines were made: their word and the temperature that the settings name."""
    made: list[tuple[str, float]] = []

    def make_engine(config: Config, embedder: object) -> Writer:
        made.append((config.generation.engine, config.generation.temperature))
        return Writer()

    monkeypatch.setattr(assemble, "make_engine", make_engine)
    return made


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    documents = {"d1": ("", RELEVANT), "d2": ("", OTHER), "d3": ("", "A third, about ice on lakes.")}
    return write_collection(tmp_path / "set", documents, {"test": "q1\td1\t1\n", "dev": "q1\td2\t1\n"})


def run(*words: str | Path) -> str:
    result = CliRunner().invoke(app, ["train", "questions", *map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_collection_gets_questions_and_a_report(
    collection: Path, tmp_path: Path, engines: list[tuple[str, float]]
) -> None:
    words = ("--data", collection, "--out", tmp_path / "t", "--held-out", "test", "--kinds", "web, claims,web")
    report = json.loads(run(*words, "--json"))
    assert report["passages"] == {
        "found": 3,
        "held_out": 1,
        "short": 0,
        "repeated": 0,
        "passages": 2,
        "splits": ["test"],
    }
    assert (report["questions"], report["completion_tokens"]) == (4, 20)
    assert {kind: counts["kept"] for kind, counts in report["replies"].items()} == {"web": 2, "claims": 2}
    assert list(read_questions(tmp_path / "t" / QUESTIONS)) == ["web/d2", "claims/d2", "web/d3", "claims/d3"]
    shown = run(*words)
    assert "4 questions to 2 passages" in shown
    assert "1 held out (relevant in test)" in " ".join(shown.split())
    assert engines == [("smollm2", 0.0)]


def test_a_corpus_gets_questions_by_the_configured_engine(
    tmp_path: Path, engines: list[tuple[str, float]]
) -> None:
    with Corpus.open(tmp_path / "corpus", config={"embedder": {"name": "none"}}) as corpus:
        corpus.add([TextRecord("a", RELEVANT), TextRecord("b", OTHER), TextRecord("c", "A third, about ice.")])
    (tmp_path / "c.toml").write_text('[generation]\nengine = "transformers"\nmodel = "m"\ntemperature = 0.5\n')
    options = ("--passages", "2", "--per-kind", "1", "--config", tmp_path / "c.toml", "--json")
    report = json.loads(run("--corpus", tmp_path / "corpus", "--out", tmp_path / "t", *options))
    assert len(read_passages(tmp_path / "t" / PASSAGES)) == 2
    assert report["questions"] == 6
    assert engines == [("transformers", 0.5)]


def test_without_a_named_engine_questions_are_taken_from_the_passages(
    collection: Path, tmp_path: Path, engines: list[tuple[str, float]]
) -> None:
    report = json.loads(run("--data", collection, "--out", tmp_path / "t", "--json"))
    assert list(report["replies"]) == ["sentences", "terms"]
    assert engines == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "one of --corpus and --data"),
        (("--data", "x", "--corpus", "y"), "one of --corpus and --data"),
        (("--corpus", "y", "--held-out", "test"), "counts only with --data"),
    ],
)
def test_mistakes_are_told_before_the_work(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    result = CliRunner().invoke(app, ["train", "questions", "--out", str(tmp_path / "t"), *words])
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []


def test_a_kind_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'riddles'; give some of questions, claims"):
        kinds_of("web,riddles")
    assert kinds_of("") == ()
    assert kinds_of("web, terms,web") == (QuestionKind.web, ExtractedKind.terms)


def test_a_split_that_is_not_there_is_named(collection: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no .*tset\.tsv; splits here: dev, test"):
        run("--data", collection, "--out", tmp_path / "t", "--held-out", "tset")
