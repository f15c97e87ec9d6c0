"""A judge over labelled answers: replies are kept as they were written, and nothing is judged twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ragkit.cli import app
from ragkit.config import Config, parse_config
from ragkit.errors import DataError, EngineTimeoutError
from ragkit.eval.judging.judge_agreement import labelled_answers
from ragkit.eval.measures.answer_metrics import without_citation_marks
from ragkit.eval.runs.answer_rows import AnswerRow
from ragkit.eval.runs.run_folder import read_finished, read_manifest
from ragkit.eval.sets.questions import Question
from ragkit.evaluations.answers.judging import judge_answers, judge_report_of
from ragkit.records import ChatReply, ChatRequest
from ragkit.serve.engines.echo_engine import EchoEngine

LABELS = {(one.question, without_citation_marks(one.answer)): one.label for one in labelled_answers()}


class Judge(EchoEngine):
    """Says what people said of labelled answers, and CORRECT of others; fails where it is told to."""

    def __init__(self, fails_at: str = "") -> None:
        super().__init__()
        self.asked: list[str] = []
        self._fails_at = fails_at

    async def chat(self, request: ChatRequest) -> ChatReply:
        self.asked.append(request.question)
        if self._fails_at and self._fails_at in request.question:
            raise EngineTimeoutError("no verdict in time")
        shown = request.messages[-1].content
        known = [
            label
            for (question, answer), label in LABELS.items()
            if question == request.question and f'\nAnswer: """{answer}"""\n' in shown
        ]
        verdict = str(known[0]).upper() if known else "CORRECT"
        return ChatReply(f"Because.\nVERDICT: {verdict}")


def row(question: Question, text: str, *, refusal: bool = False) -> AnswerRow:
    return AnswerRow(question, text, refusal, "echo", (), (), (), "stop", {}, 0.1, 1, 1)


ROWS = {
    "q1": row(Question("q1", "first?", ("red",)), "red"),
    "q2": row(Question("q2", "second?", ("red",)), "Not found in these documents.", refusal=True),
    "q3": row(Question("q3", "third?", is_answerable=False), "red"),
    "q4": row(Question("q4", "fourth?"), "red"),
}


@pytest.fixture
def config() -> Config:
    return parse_config({"generation": {"engine": "echo"}})


def test_only_answers_with_a_gold_answer_are_judged_and_replies_are_kept(config: Config, tmp_path: Path):
    judge = Judge()
    judge_answers(ROWS, config, tmp_path / "judge", engine=judge)
    assert len(judge.asked) == len(LABELS) + 1
    kept = read_finished(tmp_path / "judge")
    (key,) = [query for query in kept if query.startswith("answer/")]
    assert key.startswith("answer/q1/")
    assert kept[key]["reply"] == "Because.\nVERDICT: CORRECT"
    assert kept[key]["verdict"] == "correct"
    report = judge_report_of(tmp_path / "judge", ROWS)
    # One correct, and a refusal of a question with an answer.
    assert report.correct is not None
    assert (report.correct.value, report.correct.num_questions) == (0.5, 2)
    assert report.agreement is not None
    assert (report.agreement.share, report.agreement.kappa) == (1.0, 1.0)
    assert read_manifest(tmp_path / "judge").completed is not None


def test_a_judge_that_refuses_is_no_verdict_and_its_words_are_kept(config: Config, tmp_path: Path):
    class Refusing(Judge):
        async def chat(self, request: ChatRequest) -> ChatReply:
            return ChatReply("", refusal="I cannot judge.")

    judge_answers(ROWS, config, tmp_path / "judge", engine=Refusing())
    kept = read_finished(tmp_path / "judge").values()
    assert {(row["verdict"], row["reply"]) for row in kept} == {("unreadable", "I cannot judge.")}


def test_what_was_judged_is_not_judged_again_and_failures_are(config: Config, tmp_path: Path):
    first, second = Judge(fails_at="first?"), Judge()
    judge_answers(ROWS, config, tmp_path / "judge", engine=first)
    ((key, reason),) = judge_report_of(tmp_path / "judge", ROWS).failures.items()
    assert key.startswith("answer/q1/")
    assert reason == "no verdict in time"
    assert read_manifest(tmp_path / "judge").completed is None
    judge_answers(ROWS, config, tmp_path / "judge", engine=second)
    assert second.asked == ["first?"]
    assert judge_report_of(tmp_path / "judge", ROWS).failures == {}


@pytest.mark.parametrize(
    "changed",
    [
        row(Question("q1", "first?", ("red",)), "blue"),
        row(Question("q1", "first?", ("red", "blue")), "red"),
        row(Question("q1", "at first?", ("red",)), "red"),
    ],
)
def test_a_verdict_on_another_answer_does_not_count(config: Config, tmp_path: Path, changed: AnswerRow):
    before = {"q1": ROWS["q1"]}
    judge_answers(before, config, tmp_path / "judge", engine=Judge())
    assert judge_report_of(tmp_path / "judge", before).verdicts["correct"] == 1
    assert judge_report_of(tmp_path / "judge", {"q1": changed}).correct is None
    again = Judge()
    judge_answers({"q1": changed}, config, tmp_path / "judge", engine=again)
    assert again.asked == [changed.question.text]
    assert judge_report_of(tmp_path / "judge", {"q1": changed}).verdicts["correct"] == 1
    # Both verdicts are kept; the earlier answer has its own still.
    assert len(read_finished(tmp_path / "judge")) == len(LABELS) + 2


def test_failures_at_answers_that_are_gone_are_not_told(config: Config, tmp_path: Path):
    judge_answers(ROWS, config, tmp_path / "judge", engine=Judge(fails_at="first?"))
    changed = {"q1": row(Question("q1", "first?", ("red",)), "blue")}
    assert judge_report_of(tmp_path / "judge", changed).failures == {}


def test_another_judge_is_refused_in_the_same_folder(config: Config, tmp_path: Path):
    judge_answers({}, config, tmp_path / "judge")
    other = parse_config({"generation": {"engine": "extractive"}})
    with pytest.raises(DataError, match=r'config\.generation\.engine: "echo" there, "extractive" now'):
        judge_answers({}, other, tmp_path / "judge")


def test_the_command_prints_the_agreement_alone(tmp_path: Path):
    settings = tmp_path / "judge.toml"
    settings.write_text('[generation]\nengine = "echo"\n')
    done = CliRunner().invoke(app, ["eval", "judge", "--config", str(settings), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["agreement_with_labels"]
    assert (found["answers"], found["unreadable"], found["agreement"]) == (len(LABELS), len(LABELS), 0.0)
    table = CliRunner().invoke(app, ["eval", "judge", "--config", str(settings)])
    assert f"{len(LABELS)} verdicts unreadable" in " ".join(table.stdout.split())
