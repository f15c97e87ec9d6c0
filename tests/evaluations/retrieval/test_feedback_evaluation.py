"""`ragkit eval feedback` from a BEIR folder to figures, through real corpora."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ragkit.cli import app
from ragkit.config import Config, parse_config
from ragkit.errors import DataError
from ragkit.eval.reports.feedback_report import FeedbackReport
from ragkit.eval.runs.feedback_settings import feedback_settings
from ragkit.evaluations.retrieval.feedback_evaluation import FeedbackPlan, evaluate_feedback
from tests.fakes import HashEmbedder

BM25: dict[str, Any] = {
    "embedder": {"name": "none"},
    "passages": {"split": "none"},
    "lexical": {"language": "none"},
    "retrieval": {"method": "bm25"},
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """ "tide" finds d1 alone, whose other word is in d2."""
    folder = tmp_path / "tiny"
    (folder / "qrels").mkdir(parents=True)
    texts = {"d1": "tide crane", "d2": "crane barge", "d3": "rope rope", "d4": "quay storm anchor"}
    rows = [json.dumps({"_id": id_, "title": "", "text": text}) for id_, text in texts.items()]
    (folder / "corpus.jsonl").write_text("\n".join(rows))
    queries = {"q1": "tide", "q2": "rope", "q3": "zebra"}
    (folder / "queries.jsonl").write_text(
        "\n".join(json.dumps({"_id": id_, "text": text}) for id_, text in queries.items())
    )
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td2\t1\nq2\td3\t1\nq3\td4\t1\n")
    return folder


def compare(data: Path, config: Config, *kinds: str, **more: Any) -> FeedbackReport:
    settings = feedback_settings(config, kinds, (1, 2), {})
    return evaluate_feedback(data, config, FeedbackPlan(settings, {}), **more)


def test_feedback_finds_what_shares_no_word_with_the_query(data: Path) -> None:
    none, one, two = compare(data, parse_config(BM25), "rm3").rows
    assert [none.changes["R@100"].mean, none.changes["AP"].mean] == pytest.approx([1 / 3, 1 / 3])
    # d2 comes second, behind the passage that feedback is taken from: AP 1/2, nDCG 1/log2(3).
    assert one.changes["R@100"].mean == pytest.approx(2 / 3)
    assert one.changes["AP"].change == pytest.approx(0.5 / 3)
    assert one.changes["nDCG@10"].change == pytest.approx(0.63093 / 3, abs=1e-5)
    # "tide" and "rope" find one passage each, "zebra" none.
    assert (one.used, two.used, two.worse) == (pytest.approx(2 / 3), pytest.approx(2 / 3), 0)
    assert one.changes == two.changes


def test_a_run_is_gone_on_with_where_it_was(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, out, told = parse_config(BM25), tmp_path / "run", list[str]()

    def interrupted(line: str) -> None:
        if line.startswith("rm3 2"):
            raise KeyboardInterrupt
        told.append(line)

    with pytest.raises(KeyboardInterrupt):
        compare(data, config, "rm3", out=out, tell=interrupted)
    report = compare(data, config, "rm3", out=out, tell=told.append)
    assert [line.split(":")[0] for line in told] == ["none", "rm3 1", "rm3 2"]
    without = compare(data, config, "rm3")
    assert [row.changes for row in report.rows] == [row.changes for row in without.rows]
    again = compare(data, config, "rm3", out=out, tell=told.append)
    assert again.rows == report.rows
    assert len(told) == 3
    with pytest.raises(DataError, match="another plan"):
        compare(data, config, "none", out=out)


def test_vectors_are_made_once_for_all_settings(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Counting(HashEmbedder):
        def embed_queries(self, texts: Any) -> Any:
            asked.extend(texts)
            return super().embed_queries(texts)

    config = parse_config({**BM25, "embedder": {"name": "fake"}, "retrieval": {"method": "hybrid"}})
    embedder = Counting()
    report = compare(data, config, "average", "rm3", "average+rm3", embedder=embedder)
    assert [row.name for row in report.rows[1::2]] == ["average", "rm3", "average+rm3"]
    passages = {"tide crane", "crane barge", "rope rope", "quay storm anchor"}
    assert sorted(set(asked) - passages) == ["rope", "tide", "zebra"]
    assert [text for text in asked if text not in passages] == ["tide", "rope", "zebra"]
    # Hybrid retrieval finds every document, and so does each query's feedback.
    assert [row.used for row in report.rows] == [0, 1, 2, 1, 2, 1, 2]


def test_a_document_of_several_passages_is_found_once(data: Path) -> None:
    long = " ".join(["tide crane."] * 40)
    with (data / "corpus.jsonl").open("a") as file:
        file.write("\n" + json.dumps({"_id": "d5", "title": "", "text": long}))
    config = parse_config({**BM25, "passages": {"split": "sentences", "max_tokens": 16, "overlap_tokens": 0}})
    none, one, _ = compare(data, config, "rm3").rows
    assert none.changes["R@100"].mean == pytest.approx(1 / 3)
    assert one.changes["R@100"].mean == pytest.approx(2 / 3)


def test_the_command_prints_its_rows(data: Path, tmp_path: Path) -> None:
    config = tmp_path / "bm25.toml"
    config.write_text(
        '[embedder]\nname = "none"\n[passages]\nsplit = "none"\n[lexical]\nlanguage = "none"\n'
        '[retrieval]\nmethod = "bm25"\n'
    )
    arguments = ["eval", "feedback", "--data", str(data), "--config", str(config), "--depths", "0-1", "--json"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    assert [(row["name"], row["depth"]) for row in printed["rows"]] == [("none", 0), ("rm3", 1)]
    assert printed["rows"][1]["changes"]["R@100"]["change"] == pytest.approx(1 / 3)
    assert "rm3 1: searching 3 queries" in done.stderr
