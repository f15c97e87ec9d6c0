from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from typer.testing import CliRunner

from ragkit.commands.eval_app import eval_app
from ragkit.config import Config, parse_config
from ragkit.corpus import Corpus
from ragkit.errors import DataError
from ragkit.eval.runs.run_folder import read_finished, read_manifest
from ragkit.eval.runs.systems import read_systems
from ragkit.eval.sets.trec import read_run
from ragkit.evaluations.retrieval.beir_evaluation import evaluate_beir
from tests.warm_python import WarmPython

NUM_QUERIES = 150
WORDS = "anchor beacon cable dredge engine fender gauge hatch island jetty".split()


def config(**retrieval: object) -> Config:
    return parse_config({"embedder": {"name": "none"}, "retrieval": {"method": "bm25", **retrieval}})


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    folder = tmp_path / "harbour"
    (folder / "qrels").mkdir(parents=True)
    documents = [{"_id": f"d{i}", "text": f"The {word} number {i}.", "title": ""} for i, word in enumerate(WORDS)]
    queries = [{"_id": f"q{i}", "text": f"{WORDS[i % 10]} q{i}"} for i in range(NUM_QUERIES)]
    for name, rows in {"corpus": documents, "queries": queries}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    lines = "".join(f"q{i}\td{i % 10 if i % 2 else 9 - i % 10}\t1\n" for i in range(NUM_QUERIES))
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{lines}", "utf-8")
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGKIT_CACHE", str(tmp_path / "cache"))


def test_a_run_that_stopped_goes_on_where_it_was(beir: Path, tmp_path: Path, monkeypatch: Any) -> None:
    whole = evaluate_beir(beir, config())
    asked: list[str] = []
    search_many = Corpus.search_many

    def counting(self: Corpus, queries: Sequence[str], *arguments: Any, **more: Any) -> Any:
        if len(queries) > 1:  # Those alone are timed.
            if len(asked) == 64:
                raise KeyboardInterrupt
            asked.extend(queries)
        return search_many(self, queries, *arguments, **more)

    out = tmp_path / "run"
    monkeypatch.setattr(Corpus, "search_many", counting)
    with pytest.raises(KeyboardInterrupt):
        evaluate_beir(beir, config(), out=out)
    assert list(read_finished(out)) == [f"q{i}" for i in range(64)]
    asked.clear()
    asked.append("not the number that stops it")
    report = evaluate_beir(beir, config(), out=out)
    assert len(asked) - 1 == NUM_QUERIES - 64
    assert report.run == whole.run
    assert report.measures == whole.measures
    # Odd queries find their only document; of the even ones none is about the word that is judged.
    assert report.measures["RR@10"] == 0.5
    assert read_run(out / "run.trec") == whole.run
    assert json.loads((out / "scores.json").read_text("utf-8")) == whole.by_query
    completed = read_manifest(out).completed
    assert completed is not None
    assert completed["measures"] == whole.measures
    # Once more: nothing is searched, and other measures can be taken of what is there.
    asked.clear()
    assert evaluate_beir(beir, config(), measures=["P@1"], out=out).measures == {"P@1": 0.5}
    assert asked == []


def test_a_killed_run_does_not_search_twice(beir: Path, tmp_path: Path, warm_python: WarmPython) -> None:
    code = f"""
import time
from pathlib import Path
from ragkit.corpus import Corpus
from ragkit.evaluations.retrieval.beir_evaluation import evaluate_beir
from tests.evaluations.retrieval.test_retrieval_run import config
found = Corpus.search_many
def slow(self, queries, *rest, **more):
    if len(queries) > 1:  # Those alone are timed.
        print(*[query.split()[1] for query in queries], flush=True)
        time.sleep(0.2)
    return found(self, queries, *rest, **more)
Corpus.search_many = slow
evaluate_beir(Path({str(beir)!r}), config(), out=Path({str(tmp_path / "run")!r}))
"""
    with warm_python.start(["-c", code]) as process:
        first = [next(process.stdout).split() for _ in range(2)]
        process.kill()
    finished = list(read_finished(tmp_path / "run"))
    assert finished == first[0]
    again = warm_python.run(["-c", code])
    assert again.returncode == 0, again.stderr
    asked = again.stdout.split()
    assert sorted(asked + finished) == sorted(f"q{i}" for i in range(NUM_QUERIES))


def test_other_settings_and_other_data_are_refused_with_the_difference(beir: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    evaluate_beir(beir, config(), out=out)
    with pytest.raises(DataError, match=r"config.retrieval.depth: 500 there, 7 now"):
        evaluate_beir(beir, config(depth=7), out=out)
    with (beir / "qrels" / "test.tsv").open("a", encoding="utf-8") as file:
        file.write("q0\td4\t1\n")
    with pytest.raises(DataError, match=r"data.queries: .* there, .* now") as refused:
        evaluate_beir(beir, config(), out=out)
    assert "config" not in str(refused.value)


def test_a_copy_elsewhere_is_the_same_data(beir: Path, tmp_path: Path) -> None:
    evaluate_beir(beir, config(), out=tmp_path / "run")
    cached = list((tmp_path / "cache" / "eval").iterdir())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    copy = beir.rename(elsewhere / "another name")
    assert evaluate_beir(copy, config(), out=tmp_path / "run").num_queries == NUM_QUERIES
    assert list((tmp_path / "cache" / "eval").iterdir()) == cached
    assert read_manifest(tmp_path / "run").sessions[0]["data_folder"] == "harbour"


def slowly(self: Corpus, queries: Sequence[str], *arguments: Any, **more: Any) -> Any:
    """A search that takes 20 ms whatever it is given."""
    time.sleep(0.02)
    return _search_many(self, queries, *arguments, **more)


_search_many = Corpus.search_many


def test_queries_are_timed_alone_and_batches_as_batches(beir: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(Corpus, "search_many", slowly)
    report = evaluate_beir(beir, config(), out=tmp_path / "run")
    rows = read_finished(tmp_path / "run")
    timed = {query: row["seconds"] for query, row in rows.items() if "seconds" in row}
    assert list(timed) == [f"q{i}" for i in range(0, 150, 3)]
    assert all(0.02 <= seconds < 1 for seconds in timed.values())
    assert [row["batch_queries"] for row in rows.values()] == [64] * 128 + [22] * 22
    batches = [rows[f"q{i}"]["batch_seconds"] for i in (0, 64, 128)]
    assert all(0.02 <= seconds < 1 for seconds in batches)
    # What timing took is none of the stage.
    assert report.seconds["search"] == pytest.approx(sum(batches))
    (tmp_path / "other.run").write_text("q1 Q0 d1 1 1 x\n")
    system, _ = read_systems([tmp_path / "run", tmp_path / "other.run"])
    assert system.query_seconds == median(timed.values())


def test_times_are_those_of_all_sessions_and_stay(beir: Path, tmp_path: Path, monkeypatch: Any) -> None:
    out = tmp_path / "run"
    batches = 0

    def stopping(self: Corpus, queries: Sequence[str], *arguments: Any, **more: Any) -> Any:
        nonlocal batches
        batches += len(queries) > 1
        if batches == 3:
            raise KeyboardInterrupt
        return slowly(self, queries, *arguments, **more)

    monkeypatch.setattr(Corpus, "search_many", stopping)
    with pytest.raises(KeyboardInterrupt):
        evaluate_beir(beir, config(), out=out)
    monkeypatch.setattr(Corpus, "search_many", slowly)
    report = evaluate_beir(beir, config(), out=out)
    assert report.seconds["search"] >= 3 * 0.02
    indexed = [session["index_s"] for session in read_manifest(out).sessions]
    assert len(indexed) == 2
    assert report.seconds["index"] == pytest.approx(sum(indexed))
    completed = read_manifest(out).completed
    assert completed is not None
    assert completed["seconds"] == report.seconds
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    again = evaluate_beir(beir, config(), measures=["P@1"], out=out)
    assert (again.measures, again.seconds) == ({"P@1": 0.5}, report.seconds)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_run_that_lost_rows_searches_for_them_again(beir: Path, tmp_path: Path) -> None:
    whole = evaluate_beir(beir, config(), out=tmp_path / "run")
    path = tmp_path / "run" / "finished.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:100]))
    again = evaluate_beir(beir, config(), out=tmp_path / "run")
    assert again.measures == whole.measures
    completed = read_manifest(tmp_path / "run").completed
    assert completed is not None
    assert completed["queries"] == len(read_finished(tmp_path / "run")) == NUM_QUERIES


def test_ids_that_a_trec_run_cannot_carry(beir: Path, tmp_path: Path) -> None:
    for path in (beir / "corpus.jsonl", beir / "qrels" / "test.tsv"):
        path.write_text(path.read_text("utf-8").replace("d3", "d 3"), "utf-8")
    report = evaluate_beir(beir, config(), out=tmp_path / "run")
    completed = read_manifest(tmp_path / "run").completed
    assert completed is not None
    assert completed["notes"] == [
        "no run.trec: the id 'd 3' is empty or holds white space; TREC files cannot carry it"
    ]
    assert not (tmp_path / "run" / "run.trec").exists()
    assert report.run["q3"].keys() == {"d 3"} == dict(read_finished(tmp_path / "run")["q3"]["ranking"]).keys()


def test_the_command_keeps_a_run(beir: Path, tmp_path: Path) -> None:
    settings = tmp_path / "bm25.toml"
    settings.write_text('[embedder]\nname = "none"\n[retrieval]\nmethod = "bm25"\n', "utf-8")
    command = [
        "retrieval",
        "--data",
        str(beir),
        "--config",
        str(settings),
        "--out",
        str(tmp_path / "run"),
        "--json",
    ]
    done = CliRunner().invoke(eval_app, command, catch_exceptions=False)
    assert json.loads(done.stdout)["measures"]["RR@10"] == 0.5
    plan = read_manifest(tmp_path / "run").plan
    assert plan["data"].keys() == {"split", "fingerprint", "queries"}
    assert plan["config"]["retrieval"]["method"] == "bm25"
    assert "serve" not in plan["config"]


def test_whoever_interrupts_a_kept_run_is_told_that_it_goes_on(
    beir: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Corpus, "search_many", interrupted)
    settings, out = tmp_path / "bm25.toml", tmp_path / "run"
    settings.write_text('[embedder]\nname = "none"\n[retrieval]\nmethod = "bm25"\n', "utf-8")
    command = ["retrieval", "--data", str(beir), "--config", str(settings)]
    assert "goes on" not in CliRunner().invoke(eval_app, command).stderr
    done = CliRunner().invoke(eval_app, [*command, "--out", str(out)])
    assert f"ragkit: interrupted; the same command goes on with {out}\n" in done.stderr
    assert done.exit_code != 0
