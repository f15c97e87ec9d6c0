import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ragkit.commands.eval_app import eval_app
from ragkit.errors import ConfigError, DataError
from ragkit.eval.reports.compare_paths import compare_paths
from ragkit.eval.runs.run_folder import RunFolder
from ragkit.eval.sets.trec import write_run
from tests.compared_runs import PLACES, ranking, write_answers_folder, write_retrieval_folder, write_runs


def command(*words: object) -> str:
    done = CliRunner().invoke(eval_app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_compare_gives_what_was_worked_out_by_hand(tmp_path):
    paths, qrels = write_runs(tmp_path)
    found = json.loads(command("compare", *paths, "--qrels", qrels, "--measure", "mrr", "--json"))
    assert found["measures"] == ["RR"]
    assert found["queries"] == {"RR": 4}
    assert [one["means"]["RR"]["value"] for one in found["systems"]] == [0.4375, 0.6875, 0.375]
    first = found["differences"][0]
    assert (first["a"], first["b"], first["value"], first["p"], first["p_holm"]) == (
        "old",
        "new",
        0.25,
        0.25,
        0.75,
    )
    assert (first["wins"], first["losses"], first["ties"]) == (3, 0, 1)
    assert first["interval"]["low"] < 0.25 < first["interval"]["high"]
    assert found["method"]["corrected_for"] == 3
    assert found["changed"][0]["query"] == "q2"
    assert found["changed"][0]["b"]["found"][0] == {
        "rank": 1,
        "document": "r",
        "score": 4.0,
        "grade": 2,
        "text": "",
    }
    assert found["scores"]["odd"]["RR"] == {"q1": 0.25, "q2": 0.25, "q3": 1.0, "q4": 0.0}


def test_compare_prints_tables_that_fit_eighty_columns(tmp_path):
    paths, qrels = write_runs(tmp_path)
    shown = command("compare", *paths[:2], "--qrels", qrels, "--measure", "RR")
    assert "Means over 4 queries" in shown
    assert "new less old" in shown
    (row,) = [line for line in shown.splitlines() if line.split()[:2] == ["RR", "+0.2500"]]
    assert row.split()[-3:] == ["0.2500", "0.2500", "3/0/1"]
    assert "equal scores by document id" in " ".join(shown.split())
    assert max(map(len, shown.splitlines())) <= 80


def test_judgements_may_be_of_beirs_form(tmp_path):
    paths, qrels = write_runs(tmp_path)
    rows = [line.split() for line in qrels.read_text().splitlines()]
    lines = ["query-id\tcorpus-id\tscore", *("\t".join((row[0], row[2], row[3])) for row in rows)]
    (tmp_path / "test.tsv").write_text("\n".join(lines) + "\n")
    first, second = (compare_paths(paths, path).comparison for path in (qrels, tmp_path / "test.tsv"))
    assert first == second


def test_queries_that_are_missing_or_not_judged_are_counted_and_said(tmp_path):
    paths, qrels = write_runs(tmp_path)
    part = {query: ranking(PLACES["new"][query]) for query in ("q1", "q2")}
    write_run(tmp_path / "part.run", {**part, "x1": ranking(1)})
    report = compare_paths([paths[0], tmp_path / "part.run"], qrels, ["RR"])
    assert report.notes() == [
        "part: 2 of 4 judged queries missing; they count as 0.",
        "part: 1 of its 3 queries not judged; they do not count.",
    ]
    assert report.comparison.means["part"]["RR"].value == 0.5
    assert "part: 2 of 4 judged queries missing" in command(
        "compare", paths[0], tmp_path / "part.run", "--qrels", qrels
    )
    write_run(tmp_path / "other.run", {"x1": ranking(1)})
    with pytest.raises(
        DataError, match=r"none of the 1 queries of .*other\.run is judged .* 'x1' there and 'q1' here"
    ):
        compare_paths([paths[0], tmp_path / "other.run"], qrels)


def test_a_system_that_found_nothing_counts_as_zero(tmp_path):
    paths, qrels = write_runs(tmp_path)
    (tmp_path / "none.run").write_text("")
    report = compare_paths([paths[0], tmp_path / "none.run"], qrels, ["RR"])
    assert report.notes() == ["none: 4 of 4 judged queries missing; they count as 0."]
    assert report.comparison.means["none"]["RR"].value == 0.0
    assert report.comparison.differences[0].value == -0.4375
    with RunFolder(tmp_path / "kept", {"command": "eval retrieval"}) as kept:
        kept.record({query: {"ranking": []} for query in PLACES["old"]})
        write_run(tmp_path / "kept" / "run.trec", {query: {} for query in PLACES["old"]})
        kept.complete()
    found = compare_paths([paths[0], tmp_path / "kept"], qrels, ["RR"])
    assert found.notes() == ["kept: 4 of 4 judged queries missing; they count as 0."]
    (tmp_path / "neither.run").write_text("")
    words = ["report", tmp_path / "none.run", tmp_path / "neither.run", "--qrels", qrels]
    assert command(*words, "--out", tmp_path / "report.html") == ""
    assert "neither: 4 of 4 judged queries missing" in (tmp_path / "report.html").read_text("utf-8")


def test_run_folders_tell_where_their_data_differ(tmp_path):
    _, qrels = write_runs(tmp_path)
    a = write_retrieval_folder(tmp_path / "a", "old", 0.01, {"fingerprint": "f1", "split": "test"})
    b = write_retrieval_folder(tmp_path / "b", "new", 0.02, {"fingerprint": "f2", "split": "test"})
    report = compare_paths([a, b], qrels, ["RR"])
    assert report.notes() == ["a and b ran on other data: fingerprint is 'f1' and 'f2'."]
    assert report.comparison.differences[0].value == 0.25
    assert report.to_json()["systems"][1]["query_seconds"] == 0.02


def test_answers_are_compared_by_what_they_score(tmp_path):
    cited = "citation_precision"
    a = write_answers_folder(tmp_path / "a", {"q1": {"f1": 0.5, cited: 1.0}, "q2": {"f1": 0.0, cited: 1.0}})
    b = write_answers_folder(tmp_path / "b", {"q1": {"f1": 1.0}, "q2": {"f1": 1.0, cited: 0.5}})
    report = compare_paths([a, b], measures=["f1", cited])
    assert [(one.measure, one.value) for one in report.comparison.differences] == [("f1", 0.75), (cited, -0.5)]
    assert report.notes() == [f"{cited} is compared over the 1 of 2 queries for which all systems have it."]
    with pytest.raises(ConfigError, match="leave out --qrels"):
        compare_paths([a, b], Path("qrels.txt"))


def test_rankings_need_judgements(tmp_path):
    paths, _ = write_runs(tmp_path)
    with pytest.raises(ConfigError, match="name their file with --qrels"):
        compare_paths(paths)
