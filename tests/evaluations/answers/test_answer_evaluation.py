"""`ragkit eval answers` from questions to figures, through real corpora; killed, gone on with, refused."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ragkit.cli import app
from ragkit.config import Config, parse_config
from ragkit.corpus import Corpus
from ragkit.errors import ConfigError, DataError, EngineTimeoutError
from ragkit.eval.runs.run_folder import read_finished, read_manifest
from ragkit.eval.runs.systems import answer_scores, read_systems
from ragkit.eval.sets.page_sets import PageScope
from ragkit.evaluations.answers.answer_evaluation import AnswerPlan, evaluate_answers
from ragkit.evaluations.answers.answer_run import read_failures, report_of, write_failures
from ragkit.records import ChatReply, ChatRequest, TextRecord
from ragkit.serve.engines.extractive_engine import ExtractiveEngine
from tests.pdf_maker import make_pdf
from tests.warm_python import WarmPython

BM25 = '[embedder]\nname = "none"\n[lexical]\nlanguage = "none"\n[retrieval]\nmethod = "bm25"\n'
TEXTS = {
    "crane": "The red crane lifts 40 tonnes.",
    "barge": "The blue barge carries 900 tonnes of coal.",
    "rope": "The green rope is made of hemp.",
}
QUESTIONS = {
    "q1": ("How much does the red crane lift?", ["40 tonnes"], "crane"),
    "q2": ("How much coal does the blue barge carry?", ["900 tonnes"], "barge"),
    "q3": ("What is the green rope made of?", ["hemp"], "rope"),
}


@pytest.fixture
def config() -> Config:
    return parse_config(
        {"embedder": {"name": "none"}, "lexical": {"language": "none"}, "retrieval": {"method": "bm25"}}
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    (folder / "qrels").mkdir(parents=True)
    lines(folder / "corpus.jsonl", [{"_id": id_, "title": "", "text": text} for id_, text in TEXTS.items()])
    rows = [{"_id": id_, "text": text, "metadata": {"answers": a}} for id_, (text, a, _) in QUESTIONS.items()]
    lines(folder / "queries.jsonl", rows)
    judged = "".join(f"{id_}\t{document}\t1\n" for id_, (_, _, document) in QUESTIONS.items())
    (folder / "qrels" / "test.tsv").write_text(judged)
    return folder


def lines(path: Path, rows: Sequence[object]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


class Counting(ExtractiveEngine):
    """Counts the questions that it is asked, and fails at some of them."""

    def __init__(self, fails_at: str = "") -> None:
        super().__init__()
        self.asked: list[str] = []
        self._fails_at = fails_at

    async def chat(self, request: ChatRequest) -> ChatReply:
        self.asked.append(request.question)
        if self._fails_at and self._fails_at in request.question:
            raise EngineTimeoutError("no answer in time")
        return await super().chat(request)


def test_quoted_sentences_are_measured_and_cited(data: Path, config: Config, tmp_path: Path):
    out = tmp_path / "run"
    evaluate_answers(AnswerPlan(data), config, out)
    report = report_of(out)
    assert report.measures["containment"].value == 1.0
    assert report.measures["number"].value == 1.0
    assert report.measures["number"].num_questions == 2
    assert report.measures["citation_recall"].value == 1.0
    assert report.measures["exact_match"].value == 0.0
    assert report.counts["asked"] == 3
    row = read_finished(out)["q3"]
    assert row["answer"] == "The green rope is made of hemp. [1]"
    assert row["hits"][0]["document"] == "rope"
    assert row["scores"]["containment"] == 1.0
    assert json.loads((out / "scores.json").read_text())["containment"] == {"q1": 1.0, "q2": 1.0, "q3": 1.0}
    manifest = read_manifest(out)
    assert manifest.completed is not None
    assert manifest.completed["measures"]["containment"]["mean"] == 1.0
    assert manifest.plan["models"]["generator"]["engine"] == "extractive"


def test_a_finished_question_is_not_asked_again_and_a_failed_one_is(data: Path, config: Config, tmp_path: Path):
    out, first, second = tmp_path / "run", Counting(fails_at="barge"), Counting()
    evaluate_answers(AnswerPlan(data), config, out, engine=first)
    assert sorted(first.asked) == sorted(text for text, _, _ in QUESTIONS.values())
    assert read_failures(out) == {"q2": "no answer in time"}
    assert report_of(out).counts["failed"] == 1
    assert read_manifest(out).completed is None
    evaluate_answers(AnswerPlan(data), config, out, engine=second)
    assert second.asked == [QUESTIONS["q2"][0]]
    assert read_failures(out) == {}
    assert report_of(out).counts["asked"] == 3
    assert read_manifest(out).completed is not None


def test_a_failure_that_was_answered_before_a_kill_is_none(data: Path, config: Config, tmp_path: Path):
    out = tmp_path / "run"
    evaluate_answers(AnswerPlan(data), config, out)
    # As a session leaves it that is killed after it answered what an earlier one had failed at.
    write_failures(out, {"q2": "no answer in time"})
    assert read_failures(out) == {}
    counts = report_of(out).counts
    assert (counts["asked"], counts["failed"], counts["not_asked_yet"]) == (3, 0, 0)


def test_a_comparison_scores_answers_as_rescoring_does(data: Path, config: Config, tmp_path: Path):
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        evaluate_answers(AnswerPlan(data), config, folder)
    rows = [json.loads(line) for line in (folders[1] / "finished.jsonl").read_text().splitlines()]
    lines(folders[1] / "finished.jsonl", [{**row, "scores": {"f1": 0.0}} for row in rows])
    assert answer_scores(read_systems(folders), []) == [report_of(folder).by_query for folder in folders]


def test_another_configuration_or_set_is_refused_with_the_difference(data: Path, config: Config, tmp_path: Path):
    out = tmp_path / "run"
    evaluate_answers(AnswerPlan(data), config, out)
    fewer = config.model_copy(update={"generation": config.generation.model_copy(update={"num_passages": 2})})
    with pytest.raises(DataError, match=r"config\.generation\.num_passages: 8 there, 2 now"):
        evaluate_answers(AnswerPlan(data), fewer, out)
    with pytest.raises(DataError, match=r"data\.limit: null there, 2 now"):
        evaluate_answers(AnswerPlan(data, limit=2), config, out)
    text = (data / "queries.jsonl").read_text()
    (data / "queries.jsonl").write_text(text.replace("hemp", "steel"))
    with pytest.raises(DataError, match=r"data\.fingerprint: "):
        evaluate_answers(AnswerPlan(data), config, out)


_SLOWLY = """
import asyncio, sys
from pathlib import Path
from ragkit.config import load_config
from ragkit.evaluations.answers.answer_evaluation import AnswerPlan, evaluate_answers
from ragkit.serve.engines.extractive_engine import ExtractiveEngine

class Slow(ExtractiveEngine):
    count = 0
    async def chat(self, request):
        Slow.count += 1
        if Slow.count == 3:
            print("third", flush=True)
            await asyncio.sleep(60)
        return await super().chat(request)

data, config, out = map(Path, sys.argv[1:])
evaluate_answers(AnswerPlan(data), load_config(config), out, engine=Slow())
"""


def test_killed_in_the_middle_it_goes_on_with_what_is_left(
    data: Path, config: Config, tmp_path: Path, warm_python: WarmPython
):
    out, settings = tmp_path / "run", tmp_path / "bm25.toml"
    settings.write_text(BM25)
    with warm_python.start(["-c", _SLOWLY, str(data), str(settings), str(out)]) as process:
        assert process.stdout.readline() == "third\n"
        process.kill()
    before = read_finished(out)
    assert list(before) == ["q1", "q2"]
    engine = Counting()
    evaluate_answers(AnswerPlan(data), config, out, engine=engine)
    assert engine.asked == [QUESTIONS["q3"][0]]
    after = read_finished(out)
    assert {query: after[query] for query in before} == before
    assert len(read_manifest(out).sessions) == 2


@pytest.mark.parametrize("documents", ["corpus", "pdfs"])
def test_pages_of_a_page_level_collection_are_cited_by_its_own_names(tmp_path: Path, config: Config, documents):
    folder = tmp_path / "pages"
    (folder / "qrels").mkdir(parents=True)
    (folder / "pdfs").mkdir()
    pages = {"alpha": [TEXTS["crane"], TEXTS["rope"]], "beta": [TEXTS["barge"], "The red crane lifts 50 tonnes."]}
    for name, texts in pages.items():
        make_pdf(folder / "pdfs" / f"{name}.pdf", texts)
    lines(
        folder / "corpus.jsonl",
        [
            {"_id": f"{name}#p{number}", "title": "", "text": text}
            for name, texts in pages.items()
            for number, text in enumerate(texts, 1)
        ],
    )
    lines(folder / "queries.jsonl", [{"_id": "q1", "text": QUESTIONS["q1"][0], "metadata": {"doc": "alpha"}}])
    (folder / "qrels" / "test.tsv").write_text("q1\talpha#p1\t1\n")
    about = {"relevant_doc": "alpha"}
    lines(
        folder / "questions.jsonl",
        [
            {"id": "q1", "question": QUESTIONS["q1"][0], "answer": "40 tonnes", "relevant_pages": [1], **about},
            {
                "id": "q2",
                "question": "Who founded the observatory?",
                "answer": "Not answerable",
                "answerable": False,
                "relevant_pages": [],
                **about,
            },
        ],
    )
    out = tmp_path / "run"
    evaluate_answers(AnswerPlan(folder, scope=PageScope(documents, within="doc")), config, out)
    report = report_of(out)
    cited = {(place["document"], place["page"]) for place in read_finished(out)["q1"]["citations"]}
    assert cited == {("alpha", 1)}
    assert {hit["document"] for hit in read_finished(out)["q1"]["hits"]} == {"alpha"}
    assert report.measures["citation_precision"].value == 1.0
    assert report.counts["rightly_refused"] == 1


@pytest.mark.parametrize("documents", ["corpus", "pdfs"])
def test_a_gold_page_beyond_a_page_level_collection_is_refused(tmp_path: Path, config: Config, documents):
    folder = tmp_path / "pages"
    (folder / "qrels").mkdir(parents=True)
    (folder / "pdfs").mkdir()
    make_pdf(folder / "pdfs" / "alpha.pdf", [TEXTS["crane"], TEXTS["rope"]])
    rows = [
        {"_id": f"alpha#p{number}", "title": "", "text": TEXTS[name]}
        for number, name in ((1, "crane"), (2, "rope"))
    ]
    lines(folder / "corpus.jsonl", rows)
    lines(folder / "queries.jsonl", [{"_id": "q1", "text": QUESTIONS["q1"][0]}])
    (folder / "qrels" / "test.tsv").write_text("q1\talpha#p1\t1\n")
    row = {"id": "q1", "question": QUESTIONS["q1"][0], "answer": "40 tonnes", "relevant_doc": "alpha"}
    lines(folder / "questions.jsonl", [{**row, "relevant_pages": [1, 3]}])
    with pytest.raises(DataError, match=r"questions\.jsonl:1: a gold place is page 3 of 'alpha', which has 2"):
        evaluate_answers(AnswerPlan(folder, scope=PageScope(documents)), config, tmp_path / "run")


def test_a_corpus_of_ones_own_is_asked_and_unknown_gold_documents_are_named(tmp_path: Path, config: Config):
    (tmp_path / "docs").mkdir()
    for name, text in TEXTS.items():
        (tmp_path / "docs" / f"{name}.txt").write_text(text)
    with Corpus.open(tmp_path / "corpus", config=config) as corpus:
        corpus.add(tmp_path / "docs")
    row = {"id": "a", "question": QUESTIONS["q3"][0], "answers": ["hemp"]}
    questions = lines(tmp_path / "q.jsonl", [{**row, "pages": [{"document": "rope.txt", "page": 1}]}])
    evaluate_answers(AnswerPlan(questions), config, tmp_path / "run", tmp_path / "corpus")
    assert report_of(tmp_path / "run").measures["citation_recall"].value == 1.0
    with pytest.raises(ConfigError, match="--corpus DIR"):
        evaluate_answers(AnswerPlan(questions), config, tmp_path / "other")
    lines(questions, [{**row, "pages": [{"document": "ropes.txt", "page": 1}]}])
    with pytest.raises(DataError, match=r"q\.jsonl:1: .* has no document 'ropes\.txt'; did you mean 'rope\.txt'"):
        evaluate_answers(AnswerPlan(questions), config, tmp_path / "other", tmp_path / "corpus")


def own_corpus(folder: Path, config: Config, texts: dict[str, str]) -> Path:
    """Text files and a corpus of them, made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "docs").mkdir(parents=True)
    for name, text in texts.items():
        (folder / "docs" / f"{name}.txt").write_text(text)
    with Corpus.open(folder / "corpus", config=config) as corpus:
        corpus.add(folder / "docs")
    return folder / "corpus"


def test_a_corpus_of_ones_own_that_was_rebuilt_with_other_texts_is_refused(tmp_path: Path, config: Config):
    row = {"id": "a", "question": QUESTIONS["q3"][0], "answers": ["hemp"]}
    plan, out = AnswerPlan(lines(tmp_path / "q.jsonl", [row])), tmp_path / "run"
    evaluate_answers(plan, config, out, own_corpus(tmp_path / "own", config, TEXTS))
    # The same texts in a new corpus are the same documents.
    evaluate_answers(plan, config, out, own_corpus(tmp_path / "own", config, TEXTS))
    # As many pages, passages and commits as before.
    other = own_corpus(tmp_path / "own", config, TEXTS | {"barge": "The blue barge carries 950 tonnes."})
    with pytest.raises(DataError, match=r"data\.documents: "):
        evaluate_answers(plan, config, out, other)


def test_a_compacted_corpus_goes_on_with_its_run(tmp_path: Path, config: Config):
    row = {"id": "a", "question": QUESTIONS["q3"][0], "answers": ["hemp"]}
    plan, out = AnswerPlan(lines(tmp_path / "q.jsonl", [row])), tmp_path / "run"
    # One dead document of so many is not compacted by itself.
    others = {f"other-{number}": f"It rained on day {number}." for number in range(30)}
    folder = own_corpus(tmp_path / "own", config, TEXTS | others)
    with Corpus.open(folder, config=config) as corpus:
        corpus.remove("barge.txt")
        before = corpus.info().generation
    evaluate_answers(plan, config, out, folder)
    with Corpus.open(folder, config=config) as corpus:
        corpus.compact()
        assert corpus.info().generation > before
    evaluate_answers(plan, config, out, folder)
    assert len(read_manifest(out).sessions) == 2


def test_documents_beside_a_sets_own_make_another_run(data: Path, config: Config, tmp_path: Path):
    folder, out = own_corpus(tmp_path / "own", config, {"beside": "Cranes lift."}), tmp_path / "run"
    evaluate_answers(AnswerPlan(data), config, out, folder)
    with Corpus.open(folder, config=config) as corpus:
        corpus.add([TextRecord("more", "The red crane, the blue barge and the green rope.")])
    with pytest.raises(DataError, match=r"data\.documents: "):
        evaluate_answers(AnswerPlan(data), config, out, folder)


def test_a_gold_page_that_the_document_does_not_have_is_refused(tmp_path: Path, config: Config):
    folder = own_corpus(tmp_path / "own", config, TEXTS)
    row = {"id": "a", "question": QUESTIONS["q3"][0], "answers": ["hemp"]}
    questions = lines(tmp_path / "q.jsonl", [{**row, "pages": [{"document": "rope.txt", "page": 2}]}])
    with pytest.raises(DataError, match=r"q\.jsonl:1: a gold place is page 2 of 'rope\.txt', which has 1 page"):
        evaluate_answers(AnswerPlan(questions), config, tmp_path / "run", folder)


def test_the_command_asks_judges_and_scores_anew_without_asking(data: Path, tmp_path: Path):
    settings, judge, out = tmp_path / "bm25.toml", tmp_path / "judge.toml", tmp_path / "run"
    settings.write_text(BM25)
    # The echo engine repeats sources, and a judge is shown none: every verdict is unreadable.
    judge.write_text('[generation]\nengine = "echo"\n')
    arguments = ["eval", "answers", "--data", str(data), "--config", str(settings), "--out", str(out), "--json"]
    done = CliRunner().invoke(app, [*arguments, "--judge", str(judge)])
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    containment = printed["measures"]["containment"]
    assert (containment["mean"], containment["questions"]) == (1.0, 3)
    assert containment["interval"] == pytest.approx([3 / (3 + 1.959964**2), 1.0])
    assert printed["judge"]["verdicts"] == {"correct": 0, "partly": 0, "wrong": 0, "unreadable": 3}
    assert printed["judge"]["correct"] is None
    agreement = printed["judge"]["agreement_with_labels"]
    assert (agreement["unreadable"], agreement["agreement"], agreement["kappa"]) == (
        agreement["answers"],
        0.0,
        None,
    )
    times = {path: path.stat().st_mtime_ns for path in (out / "finished.jsonl", out / "judge" / "finished.jsonl")}
    time.sleep(0.01)
    again = CliRunner().invoke(app, ["eval", "answers", "--out", str(out), "--rescore", "--json"])
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout) == printed
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_the_command_refuses_what_would_not_count(data: Path, tmp_path: Path):
    out = str(tmp_path / "run")
    both = CliRunner().invoke(app, ["eval", "answers", "--out", out, "--rescore", "--data", str(data)])
    assert both.exit_code == 2
    assert "counts only without --rescore" in both.output
    none = CliRunner().invoke(app, ["eval", "answers", "--out", out])
    assert none.exit_code == 2
    assert "--data" in none.output


def test_a_run_of_another_command_is_not_scored(tmp_path: Path):
    (tmp_path / "run").mkdir()
    facts = {"format": 1, "plan": {"command": "eval retrieval"}, "sessions": [], "completed": None}
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(facts))
    with pytest.raises(DataError, match="is a run of ragkit eval retrieval"):
        report_of(tmp_path / "run")
