"""`ragkit train questions`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ragkit.commands.shared import ConfigOption, JsonOption, going_on, show_report
from ragkit.config import load_config

if TYPE_CHECKING:
    from ragkit.training.passage_sources import PassagePool


def questions(
    out: Annotated[Path, typer.Option(help="Training folder: gets passages.jsonl and questions.jsonl.")],
    corpus: Annotated[Path | None, typer.Option(help="Corpus whose texts the questions are written to.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="In the place of a corpus: a folder in BEIR's layout; a document is a passage."),
    ] = None,
    held_out: Annotated[
        list[str] | None,
        typer.Option(
            help="Of --data: split whose relevant documents, and near duplicates of them, are left out; several "
            "times for several; default: every split but train."
        ),
    ] = None,
    kinds: Annotated[
        str,
        typer.Option(
            help="Some of questions, claims, titles, keywords, web, free (written by a model) and sentences, "
            "terms (taken from the passages), with commas between; default: the former where the settings name "
            "an engine, else the latter."
        ),
    ] = "",
    per_kind: Annotated[
        int | None, typer.Option(min=1, help="Questions of each kind; default: one to every passage.")
    ] = None,
    passages: Annotated[int, typer.Option(min=1, help="Take at most so many, drawn at random.")] = 100_000,
    config: ConfigOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Of passages, examples and replies.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Write questions to passages: what a retriever can be trained on without labels.

    The language model is that of the settings' table generation; where they name none and a model is to write, a
    small packaged one. An interrupted run goes on with the same command.
    """
    from ragkit.progress import count_progress
    from ragkit.training.question_plan import QuestionPlan, default_kinds, kinds_of
    from ragkit.training.write_questions import write_questions

    settings = load_config(config)
    plan = QuestionPlan(kinds_of(kinds) or default_kinds(settings), per_kind, seed)
    pool = _pool(corpus, data, held_out, passages, seed)
    with going_on(out):
        report = write_questions(pool, plan, settings, out, writing=count_progress("replies"))
    show_report(report, as_json)


def _pool(
    corpus: Path | None, data: Path | None, held_out: list[str] | None, limit: int, seed: int
) -> PassagePool:
    from ragkit.corpus import Corpus
    from ragkit.training.passage_sources import beir_pool, corpus_pool

    if (corpus is None) == (data is None):
        raise typer.BadParameter("give one of --corpus and --data", param_hint="--corpus")
    if data is not None:
        return beir_pool(data, held_out or None, limit, seed)
    if held_out:
        raise typer.BadParameter("counts only with --data", param_hint="--held-out")
    assert corpus is not None, "one of both is given"
    with Corpus.open(corpus, create=False) as opened:
        return corpus_pool(opened, limit, seed)
