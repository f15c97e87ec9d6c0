"""`ragkit eval tradeoff`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ragkit.commands.shared import ConfigOption, JsonOption, check_writable, going_on, show_report, writing
from ragkit.config import load_config


def tradeoff(
    data: Annotated[
        Path,
        typer.Option(
            help="Folder in BEIR's layout; its pdfs/ are read where the settings read pictures of pages."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run; the same command goes on where it was.")],
    kind: Annotated[
        str, typer.Option(help="Kinds of index, or FAISS factory strings; the first is compared with.")
    ] = "flat,hnsw,ivf-flat,ivf-sq8,ivf-pq,ivf-rabitq",
    dtype: Annotated[
        str, typer.Option(help="Of token vectors (late interaction): float16,int8; the settings' own if empty.")
    ] = "",
    pooling: Annotated[
        str, typer.Option(help="So many token vectors become one: 1,2,3; the settings' own if empty.")
    ] = "",
    split: Annotated[str, typer.Option(help="Which qrels/<split>.tsv.")] = "test",
    plot: Annotated[Path | None, typer.Option(help="Draw bytes and times against nDCG@10, as SVG.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure what each way to keep vectors takes on disk, how fast it is searched, and how well it ranks."""
    from ragkit.eval.speed.tradeoff import TradeoffPlan, parse_kinds, parse_pool_factors, parse_token_dtypes
    from ragkit.eval.speed.tradeoff_plot import save_plot
    from ragkit.evaluations.speed.tradeoff import measure_tradeoff
    from ragkit.progress import index_progress

    told = Console(stderr=True, markup=False, emoji=False)
    plan = TradeoffPlan(parse_kinds(kind), parse_token_dtypes(dtype), parse_pool_factors(pooling))
    check_writable(plot)
    with going_on(out), index_progress() as progress:
        report = measure_tradeoff(
            data, load_config(config), plan, out, split, progress, lambda line: told.print(line, highlight=False)
        )
    show_report(report, as_json)
    if plot is not None:
        with writing(plot):
            save_plot(report.summaries, plot)
