"""What `ragkit eval context` prints."""

from __future__ import annotations

import json

from rich.console import Console

from ragkit.eval.contexts.context_outcomes import Outcome
from ragkit.eval.contexts.context_probe import Cell
from ragkit.eval.contexts.context_report import report_sweep

RANK, ENDS, LONG = Cell("set", 2, "rank"), Cell("set", 2, "ends"), Cell("set", 9, "rank")
RIGHT, WRONG = Outcome(correct=1.0, f1=0.5, num_tokens=100), Outcome(num_tokens=50)
SKIPPED = Outcome(skipped="longer than the context")


def test_the_report_says_n_a_and_why(capsys):
    report = report_sweep({RANK: {"a": RIGHT, "b": WRONG}, LONG: {"a": SKIPPED, "b": SKIPPED}}, 0, {"engine": "e"})
    Console(width=200).print(report.table())
    shown = capsys.readouterr().out
    lines = [line.replace("│", " ").split() for line in shown.splitlines()]
    assert ["9", "rank", "0", *["n/a"] * 5] in lines
    assert [line[:4] for line in lines if line[:2] == ["2", "rank"]] == [["2", "rank", "2", "0.500"]]
    assert "not asked, set, k = 9: 2, longer than the context" in shown
    told = report.to_json()
    assert json.loads(json.dumps(told))["cells"][1]["accuracy"] is None
    assert told["questions_in_every_cell"] == 2


def test_positions_and_comparisons_have_tables_of_their_own(capsys):
    outcomes = {
        RANK: dict.fromkeys("abcdef", WRONG),
        ENDS: dict.fromkeys("abcdef", RIGHT),
        Cell("set", 2, position=1): dict.fromkeys("abcdef", RIGHT),
        Cell("set", 2, position=2): dict.fromkeys("abcdef", WRONG),
    }
    Console(width=200).print(report_sweep(outcomes, 0, {"engine": "e"}).table())
    lines = [line.replace("│", " ").split() for line in capsys.readouterr().out.splitlines()]
    # Two of the 2^6 ways to set six equal differences are as far from 0.
    compared = ["set", "2", "ends", "-", "rank", "6", "+1.000", "(+1.000", "to", "+1.000)", "0.0312", "0.0312"]
    assert compared in lines
    # Wilson's interval of 6 of 6 and of 0 of 6.
    assert ["2", "1", "6", "1.000", "(0.610", "to", "1.000)"] in [line[:7] for line in lines]
    assert ["2", "2", "6", "0.000", "(0.000", "to", "0.390)"] in [line[:7] for line in lines]


def test_brackets_in_names_are_shown_as_they_are(capsys):
    Console(width=200).print(report_sweep({RANK: {"a": RIGHT}}, 0, {"set": "[/set].jsonl", "engine": "e"}).table())
    assert "set: [/set].jsonl; engine: e" in capsys.readouterr().out
