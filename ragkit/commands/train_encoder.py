"""`ragkit train encoder`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, get_args

import typer

from ragkit.commands.shared import ConfigOption, JsonOption, going_on, show_report
from ragkit.config import load_config
from ragkit.retrievers.training.losses import LossSettings, Method


def encoder(
    data: Annotated[
        Path, typer.Argument(help="A training folder: passages.jsonl, questions.jsonl and lists.jsonl.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run and its model; the same command goes on there.")],
    base: Annotated[
        str, typer.Option(help="Model to begin with, by hub name or folder; default: embedder.name.")
    ] = "",
    method: Annotated[
        str,
        typer.Option(help="listwise: distillation with InfoNCE; infonce: InfoNCE alone; margin-mse: MarginMSE."),
    ] = "listwise",
    epochs: Annotated[int, typer.Option(min=1, help="At most; training stops when nothing improves.")] = 3,
    learning_rate: Annotated[float, typer.Option(min=0, help="The highest, after the warm-up.")] = 5e-5,
    batch_size: Annotated[int, typer.Option(min=2, help="Questions a step, in pieces that fit the memory.")] = 64,
    list_length: Annotated[int, typer.Option(min=2, help="Passages of each question that are used.")] = 20,
    max_passage_tokens: Annotated[
        int, typer.Option(min=0, help="While training, longer passages are cut; 0: none.")
    ] = 0,
    piece_tokens: Annotated[int, typer.Option(min=1, help="Tokens at a time: bounds the memory alone.")] = 4096,
    seed: Annotated[int, typer.Option(min=0, help="Of the order of questions.")] = 0,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train an embedder on lists of passages that a teacher has scored.

    A tenth of the questions is held out: training stops by their loss, and in the end both embedders search with
    them.
    """
    from ragkit.retrievers.training.train_encoder import EncoderTraining
    from ragkit.training.encoder_run import EncoderRun, run_encoder_training

    if method not in get_args(Method):
        raise typer.BadParameter(f"{method!r}; give one of {', '.join(get_args(Method))}", param_hint="--method")
    settings = load_config(config)
    training = EncoderTraining(
        loss=LossSettings(method),  # type: ignore[arg-type]
        learning_rate=learning_rate,
        epochs=epochs,
        batch_size=batch_size,
        list_length=list_length,
        piece_tokens=piece_tokens,
        seed=seed,
    )
    run = EncoderRun(data, base or settings.embedder.name, training, max_passage_tokens)
    with going_on(out):
        report = run_encoder_training(run, out, settings, lambda line: print(line, file=sys.stderr))  # noqa: T201
    show_report(report, as_json)
