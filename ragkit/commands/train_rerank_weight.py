"""`ragkit train rerank-weight`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ragkit.commands.shared import ConfigOption, JsonOption, going_on, show_report
from ragkit.config import load_config


def rerank_weight(
    data: Annotated[
        Path,
        typer.Argument(
            help="A training folder: passages.jsonl, questions.jsonl and, but for --every-question, lists.jsonl."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run; the same command goes on there.")],
    every_question: Annotated[
        bool,
        typer.Option(
            "--every-question",
            help="Use all questions of the folder: right where neither reranker nor embedder was trained on it. "
            "Default: the tenth that training on it leaves out.",
        ),
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Choose how much the reranker of the settings counts beside the retriever.

    The questions are searched for among the folder's passages, by the configuration, and reranked. The weight is
    kept beside a model that is a folder, and used with it from then on; of others it is printed.
    """
    from ragkit.training.weight_run import run_weight_choice

    settings = load_config(config)
    with going_on(out):
        report = run_weight_choice(
            data,
            out,
            settings,
            every_question=every_question,
            tell=lambda line: print(line, file=sys.stderr),  # noqa: T201
        )
    show_report(report, as_json)
