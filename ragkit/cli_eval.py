"""`ragkit eval …`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ragkit.config import load_config

eval_app = typer.Typer(no_args_is_help=True, help="Offline evaluation.")

ConfigOption = Annotated[Path | None, typer.Option("--config", help="TOML file of settings.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@eval_app.command()
def retrieval(
    data: Annotated[Path, typer.Option(help="Folder in BEIR's layout.")],
    split: Annotated[str, typer.Option(help="Which qrels/<split>.tsv.")] = "test",
    config: ConfigOption = None,
    measure: Annotated[
        list[str] | None, typer.Option("--measure", help="Such as nDCG@10 or Success@5; may be repeated.")
    ] = None,
    run_out: Annotated[Path | None, typer.Option(help="Write the ranking as a TREC run file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure retrieval on a judged collection."""
    from ragkit.eval.ranking_metrics import DEFAULT_MEASURES
    from ragkit.eval.trec import write_run
    from ragkit.evaluation import evaluate_beir
    from ragkit.progress import index_progress

    with index_progress() as progress:
        report = evaluate_beir(data, load_config(config), split, measure or DEFAULT_MEASURES, progress)
    if run_out is not None:
        write_run(run_out, report.run)
    if as_json:
        print(json.dumps(report.to_json(), indent=2))  # noqa: T201
    else:
        Console().print(report.table())


@eval_app.command()
def speed(
    data: Annotated[Path | None, typer.Option(help="BEIR folder whose documents are the texts.")] = None,
    texts: Annotated[int, typer.Option(min=1, help="How many texts are indexed.")] = 400,
    passages: Annotated[int, typer.Option(min=1, help="How many passages are searched.")] = 100_000,
    repeats: Annotated[int, typer.Option(min=1, help="Repetitions of indexing.")] = 3,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Time indexing and searching beside the bare libraries below them."""
    from ragkit.evaluation import measure_speed

    report = measure_speed(load_config(config), data, texts, passages, repeats)
    if as_json:
        print(json.dumps(report.to_json(), indent=2))  # noqa: T201
    else:
        Console().print(report.table())
