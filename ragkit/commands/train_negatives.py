"""`ragkit train negatives`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, get_args

import typer

from ragkit.commands.shared import ConfigOption, JsonOption, going_on, show_report
from ragkit.config import load_config
from ragkit.retrievers.training.negatives import Denoise


def negatives(
    folder: Annotated[
        Path, typer.Argument(help="Training folder with passages.jsonl and questions.jsonl; gets lists.jsonl.")
    ],
    data: Annotated[
        Path | None,
        typer.Option(help="Write passages and questions of this folder in BEIR's layout first."),
    ] = None,
    split: Annotated[str, typer.Option(help="Of --data: the judged questions to train on.")] = "train",
    retriever: Annotated[
        list[str] | None,
        typer.Option(help="hybrid (the default), dense or bm25; several times: merged by reciprocal rank fusion."),
    ] = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option(
            help="retriever (its own scores, the default), cross-encoder:NAME, embedder:NAME, or reranker: the "
            "one of the settings' table rerank; several times: their standardised scores are added."
        ),
    ] = None,
    depth: Annotated[int, typer.Option(min=2, help="Candidates of a question.")] = 100,
    list_length: Annotated[int, typer.Option(min=2, help="Passages of a list, the positive among them.")] = 20,
    denoise: Annotated[
        str,
        typer.Option(
            help="Passages that the teacher finds nearly as good as the positive: mask in the loss, or drop."
        ),
    ] = "mask",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Mine hard negatives of questions and have a teacher score them: lists to train on.

    An interrupted run goes on with the same command.
    """
    from ragkit.progress import count_progress, index_progress
    from ragkit.training.make_teachers import RETRIEVER, make_teachers
    from ragkit.training.mine_negatives import MiningPlan, mine_negatives, write_labelled

    if denoise not in get_args(Denoise):
        raise typer.BadParameter(f"{denoise!r}; give mask or drop", param_hint="--denoise")
    settings = load_config(config)
    names = tuple(teacher or [RETRIEVER])
    plan = MiningPlan(tuple(retriever or ["hybrid"]), names, depth, list_length, denoise)  # type: ignore[arg-type]
    if data is not None:
        left_out = write_labelled(data, split, folder)
        print(f"ragkit: {left_out} questions left out: what is relevant is held out", file=sys.stderr)  # noqa: T201
    with going_on(folder), index_progress() as indexing:
        report = mine_negatives(
            folder,
            plan,
            make_teachers(names, settings, folder),
            settings,
            indexing,
            count_progress("questions scored"),
        )
    show_report(report, as_json)
