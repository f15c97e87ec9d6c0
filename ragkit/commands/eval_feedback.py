"""`ragkit eval feedback`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ragkit.commands.shared import ConfigOption, JsonOption, going_on, show_report
from ragkit.config import load_config


def feedback(
    data: Annotated[Path, typer.Option(help="Folder in BEIR's layout.")],
    split: Annotated[str, typer.Option(help="Which qrels/<split>.tsv.")] = "test",
    config: ConfigOption = None,
    depths: Annotated[
        str, typer.Option(help="Passages that queries are revised by, such as 0-5 or 1,3,10.")
    ] = "0-5",
    kinds: Annotated[
        str,
        typer.Option(help="Of none,average,rocchio,rm3,lol; rocchio+rm3 is both at once; all that fit if empty."),
    ] = "",
    model: Annotated[
        list[str] | None,
        typer.Option("--model", help="Of kind lol: FOLDER or NAME=FOLDER of ragkit train lol; may be repeated."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; the same command goes on where it was.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure what pseudo-relevance feedback changes: each kind at each depth, against searching once."""
    from ragkit.eval.runs.feedback_settings import feedback_settings, parse_depths, parse_kinds, parse_models
    from ragkit.evaluations.retrieval.feedback_evaluation import FeedbackPlan, evaluate_feedback
    from ragkit.progress import index_progress

    told = Console(stderr=True, markup=False, emoji=False)
    settings, models = load_config(config), parse_models(model or ())
    compared = feedback_settings(settings, parse_kinds(kinds, settings, models), parse_depths(depths), models)
    with going_on(out), index_progress() as progress:
        report = evaluate_feedback(
            data,
            settings,
            FeedbackPlan(compared, models),
            split,
            out,
            progress,
            lambda line: told.print(line, highlight=False),
        )
    show_report(report, as_json)
