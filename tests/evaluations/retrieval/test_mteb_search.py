"""mteb's evaluator and ragkit's measures over one pipeline, on collections with ties and with empty answers."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ragkit.cli import app
from ragkit.config import parse_config
from ragkit.errors import ConfigError
from ragkit.eval.measures.ranking_metrics import CONVENTIONS
from ragkit.evaluations.retrieval.mteb_evaluation import MtebReport, TaskScores, referee, run_tasks
from ragkit.evaluations.retrieval.mteb_search import RagkitSearch
from ragkit.evaluations.retrieval.mteb_task import UNROUNDED, local_task

BM25 = {
    "embedder": {"name": "none"},
    "passages": {"split": "none"},
    "lexical": {"language": "none"},
    "retrieval": {"method": "bm25"},
}
# "crane" stands once in each of four documents of one length: all four tie, and ids decide.
TEXTS = {"d1": "red crane", "d2": "blue crane", "d3": "old crane", "d4": "new crane", "d5": "green rope long"}
QUERIES = {"q1": "crane", "q2": "rope", "q3": "anchor", "q4": "red crane"}
QRELS = {"q1": {"d1": 1, "d3": 2}, "q2": {"d5": 1}, "q3": {"d2": 1}, "q4": {"d2": 1, "d4": 0}}


@pytest.fixture(autouse=True)
def _no_network(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*address: object) -> None:
        raise AssertionError(f"a connection to {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    # mteb makes the folder of its cache when it is imported.
    monkeypatch.setenv("MTEB_CACHE", str(tmp_path_factory.getbasetemp() / "mteb"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    (folder / "qrels").mkdir(parents=True)
    for name, texts in (("corpus", TEXTS), ("queries", QUERIES)):
        rows = [json.dumps({"_id": id_, "title": "", "text": text}) for id_, text in texts.items()]
        (folder / f"{name}.jsonl").write_text("\n".join(rows))
    judged = [f"{query}\t{document}\t{grade}" for query, row in QRELS.items() for document, grade in row.items()]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged]))
    return folder


def test_mteb_says_what_ragkit_says(data: Path):
    report = referee(data, parse_config(BM25))
    # By hand: q1 ranks d4, d3, d2, d1: (2/log2(3) + 1/log2(5)) / (2 + 1/log2(3)); q2 1; q3 0; q4 ranks d1, d4,
    # d3, d2: 1/log2(5).
    expected = ((1.2618595071 + 0.4306765581) / 2.6309297536 + 1 + 0 + 0.4306765581) / 4
    assert report.by_ragkit == pytest.approx(expected, abs=1e-9)
    assert report.by_mteb == pytest.approx(expected, abs=1e-9)
    (task,) = report.tasks
    assert (task.task, task.subset, task.split) == ("tiny", "default", "test")
    assert task.main_score == round(expected, 5)
    assert task.scores["mrr_at_10"] == pytest.approx((1 / 2 + 1 + 0 + 1 / 4) / 4)


def test_names_of_tasks_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]):
    from rich.console import Console

    report = MtebReport("ragkit/[/m]", (TaskScores("[/t]", "default", "test", 0.5, {}),))
    Console(width=200).print(report.table())
    printed = capsys.readouterr().out
    assert "[/t]" in printed
    assert "ragkit/[/m]" in printed


def test_the_command_prints_both_figures(data: Path, tmp_path: Path):
    config = tmp_path / "bm25.toml"
    config.write_text('[embedder]\nname = "none"\n[passages]\nsplit = "none"\n[lexical]\nlanguage = "none"\n')
    arguments = ["eval", "mteb", "--data", str(data), "--config", str(config)]
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    assert printed["nDCG@10"]["difference"] < 1e-9
    assert printed["nDCG@10"]["mteb"] > 0
    assert printed["model"] == "ragkit/bm25"
    assert printed["tasks"][0]["scores"][UNROUNDED] == printed["nDCG@10"]["mteb"]
    table = CliRunner().invoke(app, arguments).stdout
    assert f"{printed['nDCG@10']['ragkit']:.8f}" in table
    assert printed["conventions"] == CONVENTIONS
    assert "equal scores by document id" in " ".join(table.split())
    for wrong in (["eval", "mteb"], [*arguments, "--task", "SciFact"]):
        with pytest.raises(ConfigError, match="either --data FOLDER or --task NAME"):
            CliRunner().invoke(app, wrong, catch_exceptions=False)


def test_tasks_of_mteb_are_taken_by_name(data: Path, monkeypatch: pytest.MonkeyPatch):
    import mteb

    asked = []

    def get_tasks(*, tasks: list[str]) -> list[object]:
        asked.extend(tasks)
        return [local_task(data)]

    monkeypatch.setattr(mteb, "get_tasks", get_tasks)
    report = run_tasks(["SciFact"], parse_config(BM25))
    assert asked == ["SciFact"]
    assert report.tasks[0].main_score == pytest.approx(referee(data, parse_config(BM25)).by_ragkit, abs=1e-5)
    assert report.to_json()["tasks"][0]["scores"]["recall_at_1"] == 0.25


def test_the_protocol_is_mtebs(data: Path):
    from mteb.models import ModelMeta, SearchProtocol

    with RagkitSearch(parse_config(BM25), name="mine") as search:
        assert isinstance(search, SearchProtocol)
        meta = search.mteb_model_meta
    assert isinstance(meta, ModelMeta)
    assert (meta.name, meta.model_type) == ("ragkit/mine", ["sparse"])
    other = RagkitSearch(parse_config({**BM25, "lexical": {"k1": 0.9}})).mteb_model_meta
    assert other.revision != meta.revision


def test_titles_instructions_and_given_candidates(tmp_path: Path):
    from datasets import Dataset

    documents = [{"id": "a", "title": "Rope", "text": "long"}, {"id": "b", "title": None, "text": "rope rope"}]
    queries = [
        {"id": "q", "text": "rope", "instruction": "long"},
        {"id": "r", "text": "rope", "instruction": None},
    ]
    with RagkitSearch(parse_config(BM25), tmp_path / "corpus") as search:
        search.index(Dataset.from_list(documents), task_metadata=None)
        found = search.search(Dataset.from_list(queries), top_k=10)
        assert list(found["q"]) == ["a", "b"]
        assert list(found["r"]) == ["b", "a"]
        only = search.search(Dataset.from_list(queries), top_k=10, top_ranked={"q": ["b"], "r": ["a", "b"]})
        assert {query: list(scores) for query, scores in only.items()} == {"q": ["b"], "r": ["b", "a"]}
        assert search.search(Dataset.from_list(queries), top_k=1).keys() == {"q", "r"}


def test_each_collection_has_a_corpus_of_its_own():
    from datasets import Dataset

    with RagkitSearch(parse_config(BM25)) as search:
        for documents in (["rope"], ["crane", "rope"]):
            rows = [{"id": f"d{number}", "text": text} for number, text in enumerate(documents)]
            search.index(Dataset.from_list(rows), task_metadata=None)
            found = search.search(Dataset.from_list([{"id": "q", "text": "rope"}]), top_k=10)
            assert list(found["q"]) == [f"d{documents.index('rope')}"]


def test_what_is_no_text_is_refused(data: Path):
    from datasets import Dataset

    with RagkitSearch(parse_config(BM25)) as search:
        pictures = Dataset.from_list([{"id": "d", "image": b"x"}])
        with pytest.raises(ConfigError, match=r"documents of tiny have id, image: no text"):
            search.index(pictures, task_metadata=local_task(data).metadata)
        search.index(Dataset.from_list([{"id": "d", "text": "x"}]), task_metadata=None)
        turns = Dataset.from_list([{"id": "q", "text": [{"role": "user", "content": "x"}]}])
        with pytest.raises(ConfigError, match="query 'q' is a list"):
            search.search(turns, top_k=1)
