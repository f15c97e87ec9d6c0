"""`ragkit eval` from a BEIR folder to figures, through real corpora."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ragkit.cli import app
from ragkit.config import parse_config
from ragkit.errors import ConfigError, DataError
from ragkit.eval.measures.ranking_metrics import CONVENTIONS
from ragkit.eval.sets.trec import read_run
from ragkit.evaluations.retrieval.beir_evaluation import evaluate_beir

BM25 = {"embedder": {"name": "none"}, "passages": {"split": "none"}, "lexical": {"language": "none"}}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    (folder / "qrels").mkdir(parents=True)
    texts = {"d1": "red crane", "d2": "blue barge", "d3": "red barge red", "d4": "green rope"}
    rows = [json.dumps({"_id": id_, "title": "", "text": text}) for id_, text in texts.items()]
    (folder / "corpus.jsonl").write_text("\n".join(rows))
    queries = {"q1": "red", "q2": "rope", "q3": "anchor"}
    (folder / "queries.jsonl").write_text(
        "\n".join(json.dumps({"_id": id_, "text": text}) for id_, text in queries.items())
    )
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td4\t1\nq3\td2\t1\n")
    return folder


def test_measures_are_means_over_all_judged_queries(data: Path):
    # "red" finds d3 (twice the term) before d1; "rope" finds d4; "anchor" finds nothing.
    report = evaluate_beir(data, parse_config(BM25), measures=["RR@10", "Success@1", "R@100"])
    assert report.measures == pytest.approx({"RR@10": (0.5 + 1 + 0) / 3, "Success@1": 1 / 3, "R@100": 2 / 3})


def test_the_command_prints_the_fixed_json_and_writes_a_run(data: Path, tmp_path: Path):
    config = tmp_path / "bm25.toml"
    config.write_text('[embedder]\nname = "none"\n[passages]\nsplit = "none"\n[lexical]\nlanguage = "none"\n')
    arguments = ["eval", "retrieval", "--data", str(data), "--config", str(config), "--json"]
    done = CliRunner().invoke(app, [*arguments, "--run-out", str(tmp_path / "bm25.run")])
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    assert set(printed["measures"]) == {"nDCG@10", "RR@10", "R@100"}
    assert printed["queries"] == 3
    run = read_run(tmp_path / "bm25.run")
    assert list(run["q1"]) == ["d3", "d1"]
    assert list(run["q2"]) == ["d4"]


def test_an_id_that_a_run_file_cannot_carry_loses_no_result(data: Path, tmp_path: Path):
    config = tmp_path / "bm25.toml"
    config.write_text('[embedder]\nname = "none"\n[passages]\nsplit = "none"\n[lexical]\nlanguage = "none"\n')
    for path in (data / "corpus.jsonl", data / "qrels" / "test.tsv"):
        path.write_text(path.read_text().replace("d1", "d 1"))
    arguments = ["eval", "retrieval", "--data", str(data), "--config", str(config), "--json"]
    done = CliRunner().invoke(app, [*arguments, "--measure", "hit@1", "--run-out", str(tmp_path / "bm25.run")])
    assert json.loads(done.stdout)["measures"] == {"Success@1": pytest.approx(1 / 3)}
    assert done.exit_code == 1
    assert isinstance(done.exception, DataError)
    assert "'d 1' is empty or holds white space" in str(done.exception)


def test_a_run_file_that_cannot_be_written_is_told_before_the_work(data: Path, tmp_path: Path):
    (data / "corpus.jsonl").unlink()
    with pytest.raises(DataError, match=r"cannot write .*tiny: Is a directory"):
        CliRunner().invoke(
            app, ["eval", "retrieval", "--data", str(data), "--run-out", str(data)], catch_exceptions=False
        )


def test_a_cached_corpus_is_used_again(data: Path):
    first = evaluate_beir(data, parse_config(BM25))
    again = evaluate_beir(data, parse_config({**BM25, "lexical": {"language": "none", "k1": 0.9}}))
    assert first.run["q2"].keys() == again.run["q2"].keys()
    assert first.run["q1"]["d3"] != again.run["q1"]["d3"]


def test_a_document_that_cannot_be_indexed_is_told(data: Path):
    with (data / "corpus.jsonl").open("a") as file:
        file.write("\n" + json.dumps({"_id": "d\ud800", "title": "", "text": "red"}))
    with pytest.raises(DataError, match=r"1 documents cannot be indexed: d.*: "):
        evaluate_beir(data, parse_config(BM25))


def test_topics_of_trec_are_run_against_the_documents(data: Path, tmp_path: Path):
    (data / "queries.jsonl").unlink()
    topics, qrels, config = tmp_path / "topics", tmp_path / "qrels", tmp_path / "bm25.toml"
    topics.write_text("<top>\n<num> Number: 51\n<title> rope\n</top>\n")
    qrels.write_text("51 0 d4 1\n")
    config.write_text('[embedder]\nname = "none"\n[lexical]\nlanguage = "none"\n')
    arguments = ["eval", "retrieval", "--data", str(data), "--config", str(config), "--json"]
    arguments += ["--topics", str(topics), "--qrels", str(qrels)]
    done = CliRunner().invoke(app, [*arguments, "--measure", "mrr"])
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    assert (printed["measures"], printed["queries"]) == ({"RR": 1.0}, 1)
    assert printed["conventions"] == CONVENTIONS
    with pytest.raises(ConfigError, match="run with its own queries"):
        CliRunner().invoke(app, [*arguments, "--within", "doc"], catch_exceptions=False)
