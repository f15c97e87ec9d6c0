"""What `ragkit eval tradeoff` prints."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ragkit.eval.measures.ranking_metrics import CONVENTIONS
from ragkit.eval.speed.tradeoff import Variant, VariantResult, summarise_variants
from ragkit.eval.speed.tradeoff_report import TradeoffReport

FLAT = VariantResult(
    Variant("flat"), 10, 5, "exact", "why", 1.0, 4000, 0, 0, {"a": 1.0, "b": 0.5, "c": 0.0, "d": 0.5}
)
CODES = VariantResult(
    Variant("ivf-pq"), 10, 5, "IVF2,PQ8np", "why", 0.9, 4000, 200, 0, {"d": 0.5, "a": 0.6, "b": 0.1, "c": 0.0}
)
SECONDS = {"flat": [0.001, 0.003, 0.002], "ivf-pq": [0.002] * 21}


@pytest.fixture
def report() -> TradeoffReport:
    return TradeoffReport(tuple(summarise_variants([FLAT, CODES], SECONDS)), {"passages": 10}, ("A note.",))


def test_names_are_shown_as_they_are(capsys):
    from rich.console import Console

    odd = replace(FLAT, variant=Variant("[/b]flat"))
    report = TradeoffReport(tuple(summarise_variants([odd], {"[/b]flat": [0.001]})), {"machine": "[/i]x"}, ())
    Console(width=220).print(report.table())
    printed = capsys.readouterr().out
    assert "[/b]flat" in printed
    assert "machine: [/i]x" in printed


def test_the_table_and_its_json(report: TradeoffReport, capsys):
    from rich.console import Console

    Console(width=220).print(report.table())
    printed = capsys.readouterr().out
    row = next(line for line in printed.splitlines() if "IVF2" in line)
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells[:5] == ["ivf-pq", "IVF2,PQ8np", "840 (800 + 40)", "2.00 (2.00)", "0.900"]
    assert cells[5].startswith("0.3000 (")
    assert cells[6].startswith("-0.2000 (-0.4")
    assert "A note." in printed
    assert CONVENTIONS in " ".join(printed.split())
    assert report.to_json()["conventions"] == CONVENTIONS
    told = json.loads(json.dumps(report.to_json()))["variants"][1]
    assert (told["name"], told["bytes"], told["index_bytes"], told["ndcg"]) == ("ivf-pq", 4200, 200, 0.3)
    assert "by_query" not in told


def test_brackets_in_facts_and_notes_are_shown_as_they_are(report: TradeoffReport, capsys):
    from rich.console import Console

    Console(width=220).print(replace(report, facts={"data": "[/set]"}, notes=("[/note]",)).table())
    printed = capsys.readouterr().out
    assert "data: [/set]" in printed
    assert "[/note]" in printed
