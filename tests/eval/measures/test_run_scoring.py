import json

import pytest
from typer.testing import CliRunner

from ragkit.cli import app
from ragkit.errors import DataError
from ragkit.eval.measures.ranking_metrics import CONVENTIONS
from ragkit.eval.measures.run_scoring import score_as_report

# q1 finds its document second; q2 is not run; q3 is not judged.
QRELS = {"q1": {"a": 1, "b": 0}, "q2": {"a": 1}}
RUN = {"q1": {"b": 2.0, "a": 1.0}, "q3": {"a": 1.0}}


def test_values_and_counts_by_hand():
    report = score_as_report(QRELS, RUN, ["MRR@10", "hit@1"], shows_queries=True)
    assert report.to_json() == {
        "measures": {"RR@10": 0.25, "Success@1": 0.0},
        "queries": 2,
        "queries_not_in_run": 1,
        "queries_not_judged": 1,
        "by_query": {"RR@10": {"q1": 0.5, "q2": 0.0}, "Success@1": {"q1": 0.0, "q2": 0.0}},
        "conventions": CONVENTIONS,
    }
    columns = [list(column.cells) for column in report.table().columns]
    columns[0] = [str(cell) for cell in columns[0]]
    assert columns == [["q1", "q2", "mean"], ["0.5000", "0.0000", "0.2500"], ["0.0000", "0.0000", "0.0000"]]
    assert "by_query" not in score_as_report(QRELS, RUN, ["AP"]).to_json()


def test_a_run_of_another_collection_is_refused():
    with pytest.raises(DataError, match=r"none of the 1 queries of the run is judged: it has 'x'.*have 'q1'"):
        score_as_report(QRELS, {"x": {"a": 1.0}}, ["AP"])


def test_a_run_that_found_nothing_scores_zero():
    report = score_as_report(QRELS, {}, ["AP"])
    assert (report.scores.means, report.num_queries, report.num_unanswered) == ({"AP": 0.0}, 2, 2)


def test_ids_are_shown_as_they_are(tmp_path):
    query = "[/red]q[bold]"
    (tmp_path / "some.run").write_text(f"{query} Q0 a 1 2.0 x\n")
    (tmp_path / "qrels").write_text(f"{query} 0 a 1\n")
    arguments = ["eval", "score", str(tmp_path / "some.run"), "--qrels", str(tmp_path / "qrels"), "--by-query"]
    shown = CliRunner().invoke(app, [*arguments, "--measure", "mrr"], catch_exceptions=False).stdout
    assert query in shown


def test_the_command_scores_files(tmp_path):
    (tmp_path / "some.run").write_text("q1 Q0 b 1 2.0 x\nq1 Q0 a 2 1.0 x\n")
    (tmp_path / "trec").write_text("q1 0 a 1\n")
    (tmp_path / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\ta\t1\n")
    for qrels in ("trec", "test.tsv"):
        arguments = ["eval", "score", str(tmp_path / "some.run"), "--qrels", str(tmp_path / qrels)]
        done = CliRunner().invoke(app, [*arguments, "--measure", "mrr", "--json"])
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["measures"] == {"RR": 0.5}
    table = CliRunner().invoke(app, [*arguments, "--measure", "mrr", "--by-query"]).stdout
    rows = [line.split()[1:4:2] for line in table.splitlines() if "0.5" in line]
    assert rows == [["q1", "0.5000"], ["mean", "0.5000"]]
    (tmp_path / "some.run").write_text("q1 Q0 b 1 2.0 x\nq1 Q0 a\n")
    with pytest.raises(DataError, match=r"some\.run:2: 3 columns, expected 6"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
