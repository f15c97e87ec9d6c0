"""`ragkit eval compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ragkit.commands.shared import JsonOption, check_writable, show_report, writing

SystemsArgument = Annotated[
    list[Path],
    typer.Argument(
        help="TREC run files, or run folders of eval retrieval or eval answers; the baseline first.",
        show_default=False,
    ),
]
QrelsOption = Annotated[
    Path | None, typer.Option(help="Judgements in TREC's form or BEIR's; answers need none, rankings do.")
]
DataOption = Annotated[
    Path | None, typer.Option(help="Folder in BEIR's layout: texts of the changed queries are shown.")
]
MeasureOption = Annotated[
    list[str] | None,
    typer.Option("--measure", help="Such as nDCG@10; may be repeated. Queries change by the first."),
]
SeedOption = Annotated[int, typer.Option(min=0, help="Of the random draws of intervals and p-values.")]


def compare(
    systems: SystemsArgument,
    qrels: QrelsOption = None,
    data: DataOption = None,
    measure: MeasureOption = None,
    seed: SeedOption = 0,
    out: Annotated[
        Path | None, typer.Option(help="Write the report of eval report too, as one HTML file.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare systems: means with intervals, differences with p-values, and the queries that changed most.

    Differences are tested by paired randomisation, and p-values are corrected by Holm's method for all pairs and
    measures. Each system is named by its file or folder.
    """
    from ragkit.eval.reports.compare_paths import compare_paths
    from ragkit.eval.reports.report_page import write_report
    from ragkit.evaluations.run_plan import code_version

    check_writable(out)
    report = compare_paths(systems, qrels, measure or (), data=data, seed=seed)
    show_report(report, as_json)
    if out is not None:
        with writing(out):
            write_report(out, report, code_version())
