import hashlib
import re
from html.parser import HTMLParser

import pytest
from typer.testing import CliRunner

from ragkit.commands.eval_app import eval_app
from ragkit.errors import DataError
from ragkit.eval.reports.compare_paths import compare_paths
from ragkit.eval.reports.report_page import report_html, report_latex, report_markdown, reproducing_command
from ragkit.eval.sets.trec import write_qrels, write_run
from ragkit.evaluations.run_plan import code_version
from tests.compared_runs import write_answers_folder, write_collection, write_retrieval_folder, write_runs

HARM = "<script>alert(1)</script>"


class Elements(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("reported")


@pytest.fixture(scope="module")
def report(folder):
    _, qrels = write_runs(folder)
    fast = write_retrieval_folder(folder / "fast", "new", 0.002)
    slow = write_retrieval_folder(folder / "slow", "odd", 0.25)
    data = write_collection(folder / "data", f"words {HARM}")
    return compare_paths([folder / "old.run", fast, slow], qrels, ["RR", "nDCG@10"], data=data)


@pytest.fixture(scope="module")
def page(report):
    return report_html(report, code_version())


def test_the_page_needs_nothing_else(page):
    tags = Elements(page).tags
    assert not {tag for tag, _ in tags} & {"script", "link", "img", "iframe", "object", "base"}
    for _, attributes in tags:
        for name in ("src", "href", "xlink:href", "action", "data"):
            assert (attributes.get(name) or "#").startswith("#")
    assert "@import" not in page
    assert re.findall(r"url\((?!#)", page) == []


def test_the_page_tells_all_numbers(page):
    text = " ".join(Elements(page).text.split())
    # Means, the difference of fast from old, its p-values over 3 pairs and 2 measures, wins, losses, ties.
    assert "RR 0.4375 0.6875 +0.2500" in text
    found = re.search(r"RR 0\.4375 0\.6875 \+0\.2500 \[\S+ \S+\] (\S+) (\S+) 3 0 1", text)
    assert found, text
    assert found.groups() == ("0.2500", "1.0000")
    assert "equal scores by document id" in text
    assert "BCa" in text
    assert '"command": "eval retrieval"' in text
    assert "A run file alone; nothing says how it was made." in text
    assert "No times are known of old" in text
    assert "fast takes 2.00 ms for 0.6875" in text
    assert "Time of a query: the median of queries that were searched for one at a time" in text


def test_the_page_tells_how_it_is_made_again(page, report, folder):
    text = Elements(page).text
    read = [folder / "old.run"]
    read += [
        folder / run / name for run in ("fast", "slow") for name in ("run.trec", "finished.jsonl", "manifest.json")
    ]
    read += [folder / "qrels.txt", folder / "data" / "queries.jsonl", folder / "data" / "corpus.jsonl"]
    listed = re.findall(r'<th scope="row">([^<]*)</th><td><code>([0-9a-f]{64})</code>', page)
    assert listed == [(str(path), hashlib.sha256(path.read_bytes()).hexdigest()) for path in read]
    assert [(one["path"], one["sha256"]) for one in report.to_json()["files"]] == listed
    assert f"Made by ragkit {code_version()}" in text
    command = reproducing_command(report)
    assert command in text
    words = command.split()[2:]
    assert CliRunner().invoke(eval_app, [*words[:-1], str(folder / "again.html")]).exit_code == 0
    assert (folder / "again.html").read_text("utf-8") == page


def test_what_stands_in_files_is_shown_and_not_obeyed(page, tmp_path):
    assert HARM not in page
    assert f"words {HARM}" in Elements(page).text
    evil = f"d{HARM}\"'&lt;".replace(" ", "")
    for name, score in (("a<b>&$x_1$", 1.0), ("_b", 3.0)):
        write_run(tmp_path / f"{name}.run", {evil: {evil: 2.0, "<i>other</i>": score}})
    write_qrels(tmp_path / "qrels", {evil: {evil: 1}})
    hostile = report_html(
        compare_paths([tmp_path / "a<b>&$x_1$.run", tmp_path / "_b.run"], tmp_path / "qrels"), "1"
    )
    found = Elements(hostile)
    assert not {tag for tag, _ in found.tags} & {"script", "i", "b>"}
    assert evil in found.text
    # In the legends too, dollars and underscores as they are.
    assert found.text.count("a<b>&$x_1$") > 3


def test_tables_have_heads_and_plots_have_names(page):
    tags = Elements(page).tags
    assert [attributes for tag, attributes in tags if tag == "th" and "scope" not in attributes] == []
    plots = [attributes for tag, attributes in tags if tag == "svg"]
    # A plot of differences for each of three pairs, recall, latency.
    assert len(plots) == 5
    assert all(plot["role"] == "img" and len(plot["aria-label"] or "") > 40 for plot in plots)
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_markdown_and_latex_hold_the_numbers(report):
    markdown, latex = report_markdown(report), report_latex(report)
    assert "| RR | +0.2500 | \\[" in markdown
    assert "| 0.2500 | 1.0000 | 3/0/1 |" in markdown
    assert "RR & +0.2500 & {[}" in latex
    assert latex.count(r"\toprule") == 4
    assert latex.count(r"\begin{table}") == latex.count(r"\end{table}") == 4
    assert "BCa" in markdown
    # Below the first table, to be read by those who read it.
    first = latex[: latex.index(r"\end{table}")]
    assert r"Intervals: 95\% bootstrap intervals" in first
    assert "Documents are ordered as trec" in first
    assert "old: " not in first
    assert [line for line in latex.splitlines() if line.startswith("%")] == ["% Needs \\usepackage{booktabs}."]


def test_the_command_writes_all_three(tmp_path):
    paths, qrels = write_runs(tmp_path)
    out = [tmp_path / "out" / name for name in ("report.html", "tables.md", "tables.tex")]
    words = [*paths, "--qrels", qrels, "--out", out[0], "--markdown", out[1], "--latex", out[2]]
    done = CliRunner().invoke(eval_app, ["report", *map(str, words)])
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    assert " ".join(done.stderr.split()) == f"written: {', '.join(map(str, out))}"
    assert [path.read_text("utf-8")[:15] for path in out] == [
        "<!DOCTYPE html>",
        "## Comparison o",
        "% Needs \\usepac",
    ]


@pytest.mark.parametrize("option", ["--out", "--markdown", "--latex"])
def test_a_file_that_cannot_be_written_is_told_before_the_work(tmp_path, monkeypatch, option):
    paths, qrels = write_runs(tmp_path)

    def never(*_, **__):
        raise AssertionError

    monkeypatch.setattr("ragkit.eval.reports.compare_paths.compare_paths", never)
    words = ["report", *map(str, paths), "--qrels", str(qrels)]
    if option != "--out":
        words += ["--out", str(tmp_path / "report.html")]
    for place, reason in ((tmp_path, "Is a directory"), (qrels / "below" / "x", "Not a directory")):
        with pytest.raises(DataError) as refused:
            CliRunner().invoke(eval_app, [*words, option, str(place)], catch_exceptions=False)
        assert str(refused.value) == f"cannot write {place}: {reason}"
    words[0] = "compare"
    if option == "--out":
        with pytest.raises(DataError, match="cannot write .*: Is a directory"):
            CliRunner().invoke(eval_app, [*words, option, str(tmp_path)], catch_exceptions=False)


def test_answers_are_reported_without_recall(tmp_path):
    a = write_answers_folder(tmp_path / "a", {"q1": {"f1": 0.5}, "q2": {"f1": 0.0}})
    b = write_answers_folder(tmp_path / "b", {"q1": {"f1": 1.0}, "q2": {"f1": 1.0}})
    text = Elements(report_html(compare_paths([a, b]), "1")).text
    assert "Recall at k" not in text
    assert "Latency against quality" in text
    assert "gold word word" in text
    assert "gold: gold" in text
