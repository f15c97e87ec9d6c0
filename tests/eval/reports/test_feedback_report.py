"""What `ragkit eval feedback` prints, from values worked out by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from rich.console import Console

from ragkit.eval.measures.significance import bootstrap_interval, holm, paired_randomization
from ragkit.eval.reports.feedback_report import MEASURES, FeedbackReport, FeedbackResult, report_feedback

QUERIES = "abcdef"
PLAIN = [0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
BETTER = [0.6, 0.7, 0.8, 0.9, 1.0, 0.4]
WORSE = [0.4, 0.5, 0.5, 0.3, 0.5, 0.5]


def result(name: str, depth: int, ndcg: list[float], ap: list[float], used: int | None = None) -> FeedbackResult:
    values = (ndcg, ap, PLAIN)
    by_query = {
        measure: dict(zip(QUERIES, row, strict=True)) for measure, row in zip(MEASURES, values, strict=True)
    }
    shown = dict.fromkeys(QUERIES, depth) | ({} if used is None else {"a": used})
    return FeedbackResult(name, depth, by_query, shown, [0.006, 0.002, 0.009], [0.001, 0.004, 0.007])


@pytest.fixture
def report() -> FeedbackReport:
    results = [
        result("none", 0, PLAIN, PLAIN),
        result("average", 2, BETTER, PLAIN),
        result("[/b]model", 3, WORSE, BETTER, used=0),
    ]
    return report_feedback(results, {"machine": "[/i]x"})


def test_changes_are_against_no_feedback_and_corrected_for_all_of_the_table(report: FeedbackReport) -> None:
    none, average, model = report.rows
    assert (average.changes["nDCG@10"].mean, none.changes["nDCG@10"].mean) == pytest.approx((4.4 / 6, 0.5))
    assert average.changes["nDCG@10"].change == pytest.approx(1.4 / 6)
    assert model.changes["nDCG@10"].change == pytest.approx(-0.3 / 6)
    tests = [row.changes[measure].p for row in report.rows[1:] for measure in MEASURES]
    # Of the 64 ways to set six signs 3 reach a sum of 1.4, those with at most one 0.1 negative, and 3 one of -1.4.
    assert tests == pytest.approx([6 / 64, 1, 1, 0.5, 6 / 64, 1])
    assert tests[0] == pytest.approx(paired_randomization(PLAIN, BETTER))
    assert [row.changes[measure].holm_p for row in report.rows[1:] for measure in MEASURES] == holm(tests)
    assert all(change.holm_p == 1 and change.change == 0 for change in none.changes.values())
    assert average.changes["nDCG@10"].interval == bootstrap_interval(BETTER)


def test_shares_and_times(report: FeedbackReport) -> None:
    none, average, model = report.rows
    assert [row.worse for row in report.rows] == pytest.approx([0, 1 / 6, 2 / 6])
    assert (none.used, average.used, model.used) == (0, 2, 2.5)
    # Of differences of 5, -2 and 2 ms the median.
    assert average.added_ms == pytest.approx(2)


def test_the_table_and_its_json(report: FeedbackReport, capsys: pytest.CaptureFixture[str]) -> None:
    Console(width=80).print(report.table())
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    rows = {line.split()[0]: line.split() for line in printed.splitlines() if line.strip()}
    assert rows["none"] == ["none", "0.5000", "0.5000", "0.5000"]
    assert rows["average"] == ["average", "2", "0.7333", "0.5000", "0.5000", "16.7%", "2.00"]
    assert rows["[/b]model"] == ["[/b]model", "3", "0.4500", "0.7333", "0.5000", "33.3%", "2.00"]
    assert "+0.2333" in printed
    assert "(2.50 used)" in printed
    assert "machine: [/i]x" in printed
    told = json.loads(json.dumps(report.to_json()))
    assert told["queries"] == 6
    assert told["rows"][2]["changes"]["AP"]["change"] == pytest.approx(1.4 / 6)
    assert told["rows"][2]["used"] == 2.5


def test_queries_are_paired_by_their_ids_whatever_their_order() -> None:
    plain, better = result("none", 0, PLAIN, PLAIN), result("average", 1, BETTER, PLAIN)
    turned = replace(
        better, by_query={measure: dict(reversed(row.items())) for measure, row in better.by_query.items()}
    )
    one, other = (report_feedback([plain, row], {}).rows[1].changes for row in (better, turned))
    assert one == other
