"""The report of a comparison as one HTML file that needs nothing else, and its tables in Markdown and LaTeX."""

from __future__ import annotations

import json
import shlex
from importlib import resources
from pathlib import Path
from typing import Any

from ragkit.eval.reports.comparison_report import ComparisonReport
from ragkit.eval.reports.comparison_tables import (
    grade_text,
    interval_text,
    number,
    number_tables,
    p_text,
    queries_text,
)
from ragkit.eval.reports.report_plots import Plot, difference_plot, latency_plot, recall_plot
from ragkit.eval.reports.text_tables import latex_page, markdown_page, one_line
from ragkit.extras import require
from ragkit.files import atomic_write

SIGNIFICANT = 0.05
_TITLE = "Comparison of systems"


def write_report(path: Path, report: ComparisonReport, made_by: str) -> None:
    """Write the HTML file. The same files make the same bytes. made_by: version of the code."""
    with atomic_write(path) as file:
        file.write(report_html(report, made_by).encode())


def write_tables(path: Path, text: str) -> None:
    """Write tables of `report_markdown` or `report_latex`."""
    with atomic_write(path) as file:
        file.write(text.encode())


def report_markdown(report: ComparisonReport) -> str:
    """Means and differences as Markdown tables, with how they were come by."""
    return markdown_page(_TITLE, number_tables(report.comparison), [*report.notes(), *report.conventions()])


def report_latex(report: ComparisonReport) -> str:
    """Means and differences as LaTeX tables that need booktabs."""
    return latex_page(number_tables(report.comparison), [*report.notes(), *report.conventions()])


def report_html(report: ComparisonReport, made_by: str) -> str:
    """The whole page. Everything that comes from files is escaped."""
    jinja2 = require("jinja2")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    filters = {"line": one_line, "number": number, "interval": interval_text, "p": p_text, "grade": grade_text}
    environment.filters.update(filters, manifest=_manifest_text)
    template = resources.files("ragkit.eval.reports").joinpath("report.html.j2").read_text("utf-8")
    plots, missing = _plots(report)
    page: str = environment.from_string(template).render(
        title=_TITLE,
        report=report,
        comparison=report.comparison,
        queries=queries_text(report.comparison),
        plots=plots,
        missing=missing,
        command=reproducing_command(report),
        significant=SIGNIFICANT,
        made_by=made_by,
    )
    return page


def reproducing_command(report: ComparisonReport) -> str:
    """The command that makes this report again, where the files lie as they did."""
    words = ["ragkit", "eval", "report", *(str(system.path) for system in report.systems)]
    if report.judgements.path is not None:
        words += ["--qrels", str(report.judgements.path)]
    if report.data is not None:
        words += ["--data", str(report.data)]
    for measure in report.comparison.measures:
        words += ["--measure", measure]
    return shlex.join([*words, "--seed", str(report.comparison.seed), "--out", "report.html"])


def _plots(report: ComparisonReport) -> tuple[list[Plot], list[str]]:
    """Plots, and what is not plotted for what reason."""
    comparison = report.comparison
    plots, missing = [difference_plot(comparison, a, b) for a, b in comparison.pairs], []
    if report.judgements.path is not None:
        plots.append(recall_plot(report.systems, report.judgements.qrels))
    seconds = {system.name: taken for system in report.systems if (taken := system.query_seconds) is not None}
    if seconds:
        plots.append(latency_plot(comparison, seconds))
    untimed = [name for name in comparison.systems if name not in seconds]
    if untimed:
        missing.append(
            f"No times are known of {', '.join(untimed)}: run folders (--out of ragkit eval retrieval) have them."
        )
    return plots, missing


def _manifest_text(facts: Any) -> str:
    return json.dumps(facts, indent=2, ensure_ascii=False)
