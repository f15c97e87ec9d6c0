"""`ragkit eval context`."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ragkit.commands.shared import ConfigOption, JsonOption, check_writable, going_on, show_report, writing
from ragkit.config import load_config

_SECONDS_BETWEEN_LINES = 10.0


def context(
    data: Annotated[
        Path,
        typer.Option(help="Questions with passages: a .jsonl or .jsonl.gz file, or a folder with one .jsonl."),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run; the same command goes on where it was.")],
    form: Annotated[
        str, typer.Option(help="ctxs (Lost in the Middle's), rgb (RGB's counterfactual set), or auto.")
    ] = "auto",
    k: Annotated[str, typer.Option("--k", help="Numbers of passages in a prompt.")] = "1,5,10",
    order: Annotated[
        str, typer.Option(help='Of rank, ends, reverse, document, shuffle; "" for none.')
    ] = "rank,ends,reverse,document",
    negatives: Annotated[
        str,
        typer.Option(
            help="What the other passages are: the set's own (set), its counterfactual ones first "
            "(counterfactual), or passages of the whole set: random, or the best by bm25 or the embedder (dense)."
        ),
    ] = "set",
    questions: Annotated[int, typer.Option(min=1, help="So many are drawn.")] = 100,
    seed: Annotated[
        int, typer.Option(min=0, help="Of drawing questions and random passages, and of resampling.")
    ] = 0,
    positions: Annotated[
        str,
        typer.Option(
            help='Where the gold passage stands among the largest k, such as "1,5,10", or all: the position curve.'
        ),
    ] = "",
    curve_out: Annotated[
        Path | None, typer.Option(help="Write the position curve, for generation.position_curve.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure answers by the number of passages, their order, and the strength of hard negatives.

    The engine is generation.engine; smollm2, with answers of 32 tokens, where the file does not say.
    """
    from ragkit.eval.contexts.context_probe import make_sweep
    from ragkit.evaluations.contexts.context_sweep import check_curve, position_curve, sweep_contexts
    from ragkit.progress import index_progress
    from ragkit.serve.prompting.position_curve import save_position_curve

    sweep = make_sweep(k, order, negatives, positions, questions, seed)
    if curve_out is not None:
        check_curve(sweep)
        check_writable(curve_out)
    with going_on(out), index_progress() as progress:
        report = sweep_contexts(data, load_config(config), sweep, out, form, progress, _counting())
    show_report(report, as_json)
    if curve_out is not None:
        with writing(curve_out):
            save_position_curve(position_curve(report), curve_out)


def _counting() -> Callable[[int, int], None]:
    """Says on stderr how many questions in cells are done, every few seconds."""
    last = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            typer.echo(f"{done} of {total} questions in cells", err=True)

    return tell
