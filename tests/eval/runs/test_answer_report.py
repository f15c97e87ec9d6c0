"""From rows to a report."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from ragkit.errors import DataError
from ragkit.eval.judging.judge import Verdict
from ragkit.eval.judging.judge_agreement import measure_agreement
from ragkit.eval.judging.judge_report import judge_report
from ragkit.eval.runs.answer_report import report_answers
from ragkit.eval.runs.answer_rows import AnswerRow, FoundPlace, row_from_json, row_of
from ragkit.eval.sets.questions import Place, Question
from ragkit.records import Answer, Citation, Hit, Passage, Usage

GOLD = frozenset({Place("d", 1)})


def row(question: Question, text: str, *cited: Place, refusal: bool = False) -> AnswerRow:
    timings = {"retrieve": 10.0, "generate": 30.0}
    return AnswerRow(question, text, refusal, "echo", cited, (), (), "stop", timings, 0.5, 7, 2)


ROWS = {
    "q1": row(Question("q1", "?", ("red",), places=GOLD), "red [1]", Place("d", 1), Place("d", 2)),
    "q2": row(Question("q2", "?", ("blue",), places=GOLD), "green [1]", Place("d", 3)),
    "q3": row(Question("q3", "?", ("blue",)), "Not found in these documents.", refusal=True),
    "q4": row(Question("q4", "?", is_answerable=False), "Not found in these documents.", refusal=True),
    "q5": row(Question("q5", "?", is_answerable=False, places=GOLD), "red [1]", Place("d", 1)),
}


def test_means_and_counts_by_hand():
    report = report_answers(ROWS, {"q6": "no answer in time"}, {"index": 1.5}, num_questions=8)
    means = {name: (mean.value, mean.num_questions) for name, mean in report.measures.items()}
    assert means == {
        **dict.fromkeys(("exact_match", "f1", "anls", "vqa", "containment"), (pytest.approx(1 / 3), 3)),
        "citation_precision": (0.25, 2),
        "citation_recall": (0.5, 2),
        "answered": (pytest.approx(2 / 3), 3),
        "right_refusal": (0.5, 2),
    }
    assert report.counts == {
        "asked": 6,
        "failed": 1,
        "not_asked_yet": 2,
        "answered": 2,
        "wrongly_refused": 1,
        "rightly_refused": 1,
        "wrongly_answered": 1,
        "without_gold_answer": 0,
        "without_gold_place": 1,
    }
    pooled = report.to_json()["citations_pooled"]
    assert pooled == {"cited": 3, "right": 1, "gold": 2, "precision": pytest.approx(1 / 3), "recall": 0.5}
    assert report.tokens == {"prompt": 35, "completion": 10}
    assert report.seconds == {
        "index": 1.5,
        "median_question": 0.5,
        "p95_question": 0.5,
        "mean_retrieve": pytest.approx(0.01),
        "mean_generate": pytest.approx(0.03),
    }


def test_the_table_shows_means_failures_and_how_far_the_judge_can_be_trusted():
    verdicts = {"q1": Verdict.correct, "q2": Verdict.unreadable}
    agreement = measure_agreement([Verdict.correct, Verdict.wrong], [Verdict.correct, Verdict.correct])
    judged = judge_report("smollm", verdicts, 1, agreement, {})
    report = report_answers(ROWS, {"q6": "no answer in time"}, {}, num_questions=6)
    console = Console(file=io.StringIO(), width=140)
    console.print(replace(report, judge=judged).table())
    shown = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert "6 questions, 1 FAILED" in shown
    assert "not answered: q6: no answer in time" in shown
    # One correct, one refusal, and an unreadable verdict that counts for nothing.
    assert "correct, as smollm judges │ 0.5000 │ 0.0945 to 0.9055 │ 2" in shown
    assert "smollm agrees with 50% of 2 answers that people labelled" in shown


def test_brackets_in_ids_messages_and_names_are_shown_as_they_are():
    agreement = measure_agreement([Verdict.correct], [Verdict.correct])
    judged = judge_report("[/org]judge", {"q1": Verdict.correct}, 0, agreement, {"[/j]": "no [/verdict]"})
    failures = {"[/q]": "500: [/INST] \x1b[31mred :cat:"}
    report = replace(report_answers(ROWS, failures, {}, num_questions=6), judge=judged)
    console = Console(file=io.StringIO(), width=140)
    console.print(report.table())
    console.print(judged.table())
    shown = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert "not answered: [/q]: 500: [/INST] \N{REPLACEMENT CHARACTER}[31mred :cat:" in shown
    assert "correct, as [/org]judge judges" in shown
    assert "verdicts of [/org]judge on labelled answers" in shown
    assert shown.count("not judged: [/j]: no [/verdict]") == 2


def test_a_run_of_failures_alone_has_counts():
    report = report_answers({}, {"q1": "down"}, {}, num_questions=1)
    assert report.measures == {}
    assert report.counts["failed"] == 1


def test_a_row_is_read_back_and_bears_the_names_of_the_set():
    passage = Passage(1, "a.pdf", 4, 0, 3, "red")
    answer = Answer(
        question="?",
        text="red [1]",
        engine="echo",
        found=True,
        citations=(Citation(1, "a.pdf", 4, "red", 0, 7, 0, 3, 1.0),),
        hits=(Hit(2.0, passage), Hit(1.0, replace(passage, document="b#p9", page=1))),
        notes=("note",),
        usage=Usage(5, 6),
        timings_ms={"generate": 3.0},
    )
    names = {"a.pdf": Place("a"), "b#p9": Place("b", 9)}
    made = row_of(Question("q", "?", ("red",), places=frozenset({Place("a", 4)})), answer, names, 0.25)
    assert made.cited == (Place("a", 4),)
    assert made.hits == (FoundPlace(Place("a", 4), 2.0), FoundPlace(Place("b", 9), 1.0))
    kept = json.loads(json.dumps(made.to_json()))
    assert row_from_json("q", kept) == made
    assert kept["scores"]["citation_precision"] == 1.0
    with pytest.raises(DataError, match="query 'q' has no row of an answer"):
        row_from_json("q", {"ranking": []})
