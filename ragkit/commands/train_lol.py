"""`ragkit train lol`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from ragkit.commands.shared import ConfigOption, JsonOption, going_on, show_report
from ragkit.config import load_config

# sparse: LoL's published one; dense: that of docs/measurements/2026-11-28-feedback.md; a small model from nothing
# takes a higher one.
_RATES = {"vector": 1e-3, "dense": 5e-5, "sparse": 2e-5}
_SCALES = {"vector": 50.0, "dense": 50.0, "sparse": 1.0}
_COUNTS_WITH = {"free": ("vector",), "passage_tokens": ("dense", "sparse"), "piece_tokens": ("dense", "sparse")}


def lol(
    context: typer.Context,
    data: Annotated[
        list[str],
        typer.Option(help="FOLDER or FOLDER:SPLIT in BEIR's layout, split train if none; may be repeated."),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run and its model; the same command goes on there.")],
    reformulator: Annotated[
        Literal["dense", "sparse", "vector"],
        typer.Option(
            help="Revises vectors from vectors, vectors from texts (dense), or terms from texts (sparse)."
        ),
    ] = "vector",
    comparative: Annotated[
        float, typer.Option(min=0, help="Weight of what keeps losses from growing with feedback; 0 leaves it out.")
    ] = 1.0,
    margin: Annotated[float, typer.Option(help="By which a loss has to fall with more feedback.")] = 0.0,
    detach: Annotated[
        bool, typer.Option("--detach", help="Never push up the loss with less feedback, only down that with more.")
    ] = False,
    scale: Annotated[
        float | None,
        typer.Option(min=0, help="Of scores before the softmax; unset 50, for cosines, or 1, for terms."),
    ] = None,
    revisions: Annotated[int, typer.Option(min=1, max=6, help="Of each query, by different depths, a step.")] = 2,
    free: Annotated[
        bool,
        typer.Option(
            "--free",
            help="Let revised vectors leave what query and passages span: more for collections like --data, less "
            "for others.",
        ),
    ] = False,
    epochs: Annotated[int, typer.Option(min=1, help="At most; training stops when nothing improves.")] = 20,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="The highest, after the warm-up; unset 0.001 (vector), 0.00005 (dense) or 0.00002 (sparse).",
        ),
    ] = None,
    passage_tokens: Annotated[
        int, typer.Option(min=1, help="Of each passage that is read as text; longer ones are cut.")
    ] = 128,
    batch_size: Annotated[int, typer.Option(min=1, help="Queries a step.")] = 64,
    chunk: Annotated[
        int, typer.Option(min=0, help="Passages scored at a time: bounds the memory alone; 0: all.")
    ] = 0,
    piece_tokens: Annotated[
        int, typer.Option(min=1, help="Tokens read at a time: bounds the memory alone.")
    ] = 4096,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, order and feedback.")] = 0,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a model that revises queries by the passages that they found first (LoL).

    A fifth of each collection's queries is held out: training stops by them, and they choose the guard. Use it
    with feedback = {kind = "lol", model = "OUT/model", depth = 2} in the table retrieval.
    """
    from ragkit.progress import index_progress
    from ragkit.retrievers.training.lol_loss import LolSettings
    from ragkit.retrievers.training.train_lol import LolTraining
    from ragkit.training.lol_run import LolRun, run_lol_training

    _refuse_ignored(context, reformulator)
    if scale == 0:
        raise typer.BadParameter("0 makes all passages equal; give more", param_hint="--scale")
    training = LolTraining(
        loss=LolSettings(comparative, margin, detach, _SCALES[reformulator] if scale is None else scale),
        revisions=revisions,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=_RATES[reformulator] if learning_rate is None else learning_rate,
        chunk=chunk,
        piece_tokens=piece_tokens,
        seed=seed,
    )
    with going_on(out), index_progress() as progress:
        report = run_lol_training(
            LolRun(tuple(data), training, reformulator, free, passage_tokens),
            out,
            load_config(config),
            progress,
            lambda line: print(line, file=sys.stderr),  # noqa: T201
        )
    show_report(report, as_json)


def _refuse_ignored(context: typer.Context, reformulator: str) -> None:
    """Options that were given and would not count."""
    for name, kinds in _COUNTS_WITH.items():
        source = context.get_parameter_source(name)
        if reformulator not in kinds and source is not None and source.name == "COMMANDLINE":
            told = " or ".join(f"--reformulator {kind}" for kind in kinds)
            raise typer.BadParameter(f"counts only with {told}", param_hint=f"--{name.replace('_', '-')}")
