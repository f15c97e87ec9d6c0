"""`ragkit eval report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ragkit.commands.eval_compare import DataOption, MeasureOption, QrelsOption, SeedOption, SystemsArgument
from ragkit.commands.shared import check_writable, writing


def report(
    systems: SystemsArgument,
    out: Annotated[Path, typer.Option(help="HTML file to write; it needs no other file.")] = Path("report.html"),
    qrels: QrelsOption = None,
    data: DataOption = None,
    measure: MeasureOption = None,
    seed: SeedOption = 0,
    markdown: Annotated[Path | None, typer.Option(help="Write the tables as Markdown too.")] = None,
    latex: Annotated[Path | None, typer.Option(help="Write the tables as LaTeX too (package booktabs).")] = None,
) -> None:
    """Write the comparison of systems as one HTML file: tables, plots, changed queries, manifests.

    It takes what eval compare takes; the same files and seed make the same report, byte for byte.
    """
    from ragkit.eval.reports.compare_paths import compare_paths
    from ragkit.eval.reports.report_page import report_latex, report_markdown, write_report, write_tables
    from ragkit.evaluations.run_plan import code_version

    check_writable(out, markdown, latex)
    found = compare_paths(systems, qrels, measure or (), data=data, seed=seed)
    with writing(out):
        write_report(out, found, code_version())
    for path, text in ((markdown, report_markdown), (latex, report_latex)):
        if path is not None:
            with writing(path):
                write_tables(path, text(found))
    written = ", ".join(str(path) for path in (out, markdown, latex) if path is not None)
    typer.echo(f"written: {written}", err=True)
