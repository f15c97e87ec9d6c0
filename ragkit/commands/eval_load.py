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
    upstream: Annotated[
        str,
        typer.Option(metavar="URL", help="A vLLM server: compare asking it directly with asking through ragkit."),
    ] = "",
    model: Annotated[str, typer.Option(help="With --upstream: the model's name there.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Put load on a server with the echo engine: what it adds to the bare search, and whether it stays up.

    With --upstream: what it adds to a vLLM server that runs, with the same prompts both ways.
    """
    from ragkit.evaluations.speed.load_check import measure_load
    from ragkit.evaluations.speed.load_server import LoadScale
    from ragkit.evaluations.speed.upstream_check import UpstreamScale, measure_upstream

    told = Console(stderr=True, markup=False, emoji=False)

    def tell(line: str) -> None:
        told.print(line, highlight=False)

    if bool(upstream) != bool(model):
        raise typer.BadParameter("--upstream and --model are given together", param_hint="--upstream and --model")
    if upstream:
        used = UpstreamScale(seconds, clients, documents=num_documents)
        show_report(measure_upstream(upstream.rstrip("/"), model, used, tell), as_json)
    else:
        show_report(measure_load(LoadScale(seconds, clients, num_documents), data, tell), as_json)
