import re

from ragkit.eval.reports.compare_paths import compare_paths
from ragkit.eval.reports.comparison import compare
from ragkit.eval.reports.report_plots import difference_plot, latency_plot, recall_plot
from tests.compared_runs import write_runs


def texts(svg):
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_differences_are_counted_and_their_ends_told(tmp_path):
    paths, qrels = write_runs(tmp_path)
    plot = difference_plot(compare_paths(paths, qrels, ["RR"]).comparison, "new", "odd")
    assert plot.title == "odd less new, query by query"
    assert plot.description == (
        "odd is better by RR for 1 of 4 queries, worse for 3, and alike for 0; "
        "the differences reach from −0.7500 to 0.5000."
    )
    assert "difference of RR" in texts(plot.svg)
    assert plot.svg.startswith('<svg role="img" aria-label="odd is better')
    assert plot.svg.endswith("</svg>")


def test_recall_is_told_at_its_last_depth(tmp_path):
    paths, qrels = write_runs(tmp_path)
    report = compare_paths(paths, qrels, ["RR"])
    plot = recall_plot(report.systems, report.judgements.qrels)
    assert plot.description == (
        "Mean recall from 1 to 10 documents: old reaches 0.7500; new reaches 1.0000; odd reaches 0.7500."
    )
    assert {"old", "new", "odd", "documents read (k)", "10"} <= set(texts(plot.svg))


def test_latency_is_in_milliseconds():
    scores = {"a": {"AP": {"q1": 0.25, "q2": 0.75}}, "b": {"AP": {"q1": 0.5, "q2": 1.0}}}
    plot = latency_plot(compare(scores), {"a": 0.0125, "b": 0.5})
    assert plot.description == (
        "Median time of a query against mean AP: a takes 12.50 ms for 0.5000; b takes 500.00 ms for 0.7500."
    )


def test_two_thousand_queries_make_a_small_plot_and_the_same_each_time():
    queries = {f"q{number}": number % 97 / 96 for number in range(2000)}
    scores = {"a": {"AP": queries}, "b": {"AP": dict.fromkeys(queries, 0.5)}}
    # About a hundred bytes a query: an element for each would take five times as many.
    comparison = compare(scores)
    first, again = (difference_plot(comparison, "a", "b").svg for _ in range(2))
    assert first == again
    assert len(first) < 250_000


def test_runs_that_took_no_time_are_plotted_too():
    scores = {"a": {"AP": {"q1": 0.25}}, "b": {"AP": {"q1": 0.5}}}
    assert "a takes 0.00 ms" in latency_plot(compare(scores), {"a": 0.0, "b": 0.0}).description


def test_names_that_no_font_has_or_that_mean_formulas_are_plain_text():
    scores = {
        name: {"AP": {"q1": 0.5, "q2": value}} for name, value in (("$\\frac{$", 0.1), ("検索", 0.2), ("_x", 0.3))
    }
    plot = latency_plot(compare(scores), dict.fromkeys(scores, 0.1))
    assert {"$\\frac{$", "検索"} <= set(texts(plot.svg))
    assert any(text.endswith("_x") for text in texts(plot.svg))
