"""`ragkit train reranker`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, get_args

import typer

from ragkit.commands.shared import ConfigOption, JsonOption, going_on, show_report
from ragkit.config import load_config
from ragkit.retrievers.training.reranker_loss import RerankerLossSettings, RerankerMethod


def reranker(
    data: Annotated[
        Path, typer.Argument(help="A training folder: passages.jsonl, questions.jsonl and lists.jsonl.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run and its model; the same command goes on there.")],
    base: Annotated[
        str,
        typer.Option(help="A cross-encoder or an encoder, by hub name or folder; default: embedder.name."),
    ] = "",
    method: Annotated[
        str, typer.Option(help="listwise: distillation of the lists' scores; margin-mse: MarginMSE.")
    ] = "listwise",
    positive_weight: Annotated[
        float, typer.Option(min=0, help="How often the cross-entropy of the positive is added.")
    ] = 1.0,
    teacher_temperature: Annotated[float, typer.Option(min=0.001, help="Divides the teacher's scores.")] = 0.3,
    student_temperature: Annotated[float, typer.Option(min=0.001, help="Divides the model's logits.")] = 1.0,
    epochs: Annotated[int, typer.Option(min=1, help="At most; training stops when nothing improves.")] = 3,
    learning_rate: Annotated[float, typer.Option(min=0, help="The highest, after the warm-up.")] = 5e-5,
    batch_size: Annotated[int, typer.Option(min=1, help="Lists a step, of which one is in memory.")] = 8,
    list_length: Annotated[int, typer.Option(min=2, help="Passages of each list that are read.")] = 8,
    max_tokens: Annotated[int, typer.Option(min=8, help="Of question and passage; more is cut.")] = 256,
    weight: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Of the reranker beside the retriever; default: chosen on held-out questions."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the new head, the order and the draws.")] = 0,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a cross-encoder on lists of passages that a teacher has scored.

    A tenth of the questions is held out: training stops by their loss, and in the end they are searched for among
    the folder's passages, by the configuration, to choose how much the reranker counts beside the retriever.
    """
    from ragkit.retrievers.training.train_reranker import RerankerTraining
    from ragkit.training.reranker_run import RerankerRun, run_reranker_training

    if method not in get_args(RerankerMethod):
        raise typer.BadParameter(
            f"{method!r}; give one of {', '.join(get_args(RerankerMethod))}", param_hint="--method"
        )
    settings = load_config(config)
    loss = RerankerLossSettings(method, teacher_temperature, student_temperature, positive_weight)  # type: ignore[arg-type]
    training = RerankerTraining(
        loss=loss,
        learning_rate=learning_rate,
        epochs=epochs,
        batch_size=batch_size,
        list_length=list_length,
        seed=seed,
    )
    run = RerankerRun(data, base or settings.embedder.name, training, max_tokens, weight)
    with going_on(out):
        report = run_reranker_training(run, out, settings, lambda line: print(line, file=sys.stderr))  # noqa: T201
    show_report(report, as_json)
