"""`ragkit eval speed`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ragkit.commands.shared import ConfigOption, JsonOption, show_report
from ragkit.config import Config, load_config

if TYPE_CHECKING:
    from ragkit.eval.speed.index_speed_report import IndexSpeedReport
    from ragkit.eval.speed.page_speed import PageSpeedReport
    from ragkit.eval.speed.timing import SpeedReport

# What options of `eval speed` count with: --scale, --pages, --training, or "", none of them.
_COUNTS_WITH = {
    **dict.fromkeys(("texts", "passages"), ("",)),
    "data": ("", "--pages", "--scale"),
    "num_pages": ("--pages",),
    "repeats": ("", "--scale", "--training"),
    **dict.fromkeys(("kind", "dim", "queries", "seed"), ("--scale",)),
}


def speed(
    context: typer.Context,
    data: Annotated[
        Path | None,
        typer.Option(
            help="BEIR folder whose documents are the texts; with --pages a folder of PDFs; with --scale where "
            "corpora are kept for another run."
        ),
    ] = None,
    pages: Annotated[bool, typer.Option("--pages", help="Time drawing and embedding page pictures.")] = False,
    training: Annotated[
        bool, typer.Option("--training", help="Time a step of training the embedder beside a bare loop.")
    ] = False,
    num_pages: Annotated[int, typer.Option(min=1, help="With --pages: about how many pages.")] = 100,
    texts: Annotated[int, typer.Option(min=1, help="How many texts are indexed.")] = 400,
    passages: Annotated[int, typer.Option(min=1, help="How many passages are searched.")] = 100_000,
    repeats: Annotated[
        int,
        typer.Option(min=1, help="Repetitions of indexing, or of steps; with --scale of opening and changing."),
    ] = 3,
    scale: Annotated[
        str, typer.Option(help="Time vector indexes of so many passages, such as 10000,100000,1000000.")
    ] = "",
    kind: Annotated[
        list[str] | None, typer.Option("--kind", help="With --scale: an index.kind; may be repeated.")
    ] = None,
    dim: Annotated[int, typer.Option(min=1, help="With --scale: dimensions of the vectors.")] = 384,
    queries: Annotated[
        int, typer.Option(min=1, help="With --scale: fresh queries that recall and memory are measured with.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="With --scale: of the made-up vectors.")] = 0,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Time indexing and searching beside the bare libraries below, page pictures, vector indexes, or training."""
    from ragkit.demo import SAMPLES
    from ragkit.evaluations.speed.page_speed import measure_page_speed
    from ragkit.evaluations.speed.text_speed import measure_speed

    _refuse_ignored(context, {"--scale": bool(scale), "--pages": pages, "--training": training})
    settings = load_config(config)
    report: SpeedReport | PageSpeedReport | IndexSpeedReport
    if scale:
        report = _scale_report(settings, scale, kind, dim, queries, seed, repeats, data)
    elif training:
        from ragkit.evaluations.speed.training_speed import measure_training_speed

        report = measure_training_speed(settings, repeats)
    elif pages:
        report = measure_page_speed(settings, data or SAMPLES / "documents", num_pages)
    else:
        report = measure_speed(settings, data, texts, passages, repeats)
    show_report(report, as_json)


def _refuse_ignored(context: typer.Context, asked: Mapping[str, bool]) -> None:
    """Options of `eval speed` that were given and would not count."""
    given = [name for name, is_given in asked.items() if is_given]
    if len(given) > 1:
        raise typer.BadParameter("one thing is timed at a time", param_hint=" and ".join(given))
    chosen = given[0] if given else ""
    for name, counts_with in _COUNTS_WITH.items():
        source = context.get_parameter_source(name)
        if chosen not in counts_with and source is not None and source.name == "COMMANDLINE":
            told = " or ".join(f"with {one}" if one else f"without {', '.join(asked)}" for one in counts_with)
            raise typer.BadParameter(f"counts only {told}", param_hint=f"--{name.replace('_', '-')}")


def _scale_report(
    settings: Config,
    scale: str,
    kinds: list[str] | None,
    dim: int,
    queries: int,
    seed: int,
    repeats: int,
    data: Path | None,
) -> IndexSpeedReport:
    from ragkit.eval.speed.index_speed import DEFAULT_KINDS, IndexSpeedPlan, parse_sizes
    from ragkit.evaluations.speed.index_speed import measure_index_speed

    try:
        sizes = parse_sizes(scale)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--scale") from error
    try:
        plan = IndexSpeedPlan(sizes, tuple(kinds or DEFAULT_KINDS), dim, seed, queries, repeats)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--repeats") from error
    told = Console(stderr=True, markup=False, emoji=False)
    return measure_index_speed(settings, plan, data, lambda line: told.print(line, highlight=False))
