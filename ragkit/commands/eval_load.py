"""`ragkit eval load`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ragkit.commands.shared import JsonOption, show_report


def load(
    seconds: Annotated[float, typer.Option(min=1, help="Of the long run; the others take a tenth each.")] = 60,
    clients: Annotated[int, typer.Option(min=1, help="Streaming clients of the long run.")] = 64,
    num_documents: Annotated[int, typer.Option("--documents", min=1, help="Of the made-up corpus.")] = 1000,
    data: Annotated[Path | None, typer.Option(help="Where the corpus is kept for another run.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Put load on a server with the echo engine: what it adds to the bare search, and whether it stays up."""
    from ragkit.evaluations.load_check import LoadScale, measure_load

    told = Console(stderr=True)
    scale = LoadScale(seconds, clients, num_documents)
    report = measure_load(scale, data, lambda line: told.print(line, highlight=False))
    show_report(report, as_json)
