"""`ragkit eval answers`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ragkit.commands.eval_retrieval import Documents, Within
from ragkit.commands.shared import ConfigOption, JsonOption, going_on, show_report
from ragkit.config import load_config

if TYPE_CHECKING:
    from ragkit.evaluations.answers.answer_evaluation import AnswerPlan

_COUNTS_WITH_RESCORE = {"out", "rescore", "judge", "as_json"}


def answers(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder of the run: kept, killed and gone on with, scored anew.")],
    data: Annotated[
        Path | None,
        typer.Option(
            help="Questions with gold answers: a folder in BEIR's layout or of a page-level collection, or a file "
            "of JSON lines with id, question, answers (a list), and pages (a list of document and page)."
        ),
    ] = None,
    corpus: Annotated[
        Path | None,
        typer.Option(help="Corpus to ask, for a file of questions; of a folder, where its documents are indexed."),
    ] = None,
    config: ConfigOption = None,
    judge: Annotated[
        Path | None, typer.Option(help="TOML file whose table generation names an engine that judges the answers.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Ask so many, drawn at random.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw, and of an engine that samples.")] = 0,
    split: Annotated[str, typer.Option(help="Of a folder: which qrels/<split>.tsv.")] = "test",
    documents: Annotated[
        Documents, typer.Option(help="What of a page-level collection is indexed: its pdfs/ or its corpus.jsonl.")
    ] = Documents.auto,
    within: Annotated[
        Within, typer.Option(help="Ask over all documents, or over the question's own.")
    ] = Within.all,
    max_pages_per_document: Annotated[
        int | None, typer.Option(min=1, help="Leave out longer documents and the questions about them.")
    ] = None,
    documents_from: Annotated[
        Path | None, typer.Option(help="File that names the documents to keep, one a line.")
    ] = None,
    at_once: Annotated[
        int, typer.Option("--at-once", min=0, help="Questions asked at the same time; 0: what suits the engine.")
    ] = 0,
    rescore: Annotated[
        bool, typer.Option("--rescore", help="Measure the kept answers anew, without asking again.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Ask questions with known answers, and measure answers and citations.

    With --judge a language model marks the answers too, and its agreement with labelled answers is told beside it.
    """
    from ragkit.evaluations.answers.answer_run import JUDGE, read_rows_of, report_of
    from ragkit.evaluations.answers.judging import judge_answers, judge_report_of
    from ragkit.progress import count_progress

    judge_settings = None if judge is None else load_config(judge)
    if rescore:
        _refuse_ignored(context)
    elif data is None:
        raise typer.BadParameter("name the questions, or score a run anew with --rescore", param_hint="--data")
    else:
        plan = _plan(data, split, limit, seed, at_once, documents, within, max_pages_per_document, documents_from)
        _ask(plan, config, out, corpus)
    if judge_settings is not None:
        judge_answers(read_rows_of(out), judge_settings, out / JUDGE, judging=count_progress("judged"))
    report = report_of(out)
    if (out / JUDGE).is_dir():
        report = replace(report, judge=judge_report_of(out / JUDGE, read_rows_of(out)))
    show_report(report, as_json)
    if report.failures or (report.judge is not None and report.judge.failures):
        raise typer.Exit(1)


def _plan(
    data: Path,
    split: str,
    limit: int | None,
    seed: int,
    at_once: int,
    documents: Documents,
    within: Within,
    max_pages: int | None,
    documents_from: Path | None,
) -> AnswerPlan:
    from ragkit.eval.sets.page_sets import PageScope, read_names
    from ragkit.evaluations.answers.answer_evaluation import AnswerPlan

    only = None if documents_from is None else read_names(documents_from)
    scope = PageScope(documents.value, within.value, max_pages, only)
    return AnswerPlan(data, split, scope, limit, seed, at_once)


def _ask(plan: AnswerPlan, config: Path | None, out: Path, corpus: Path | None) -> None:
    from ragkit.evaluations.answers.answer_evaluation import evaluate_answers
    from ragkit.progress import count_progress, index_progress

    with going_on(out), index_progress() as indexing:
        evaluate_answers(
            plan, load_config(config), out, corpus, indexing=indexing, asking=count_progress("answered")
        )


def _refuse_ignored(context: typer.Context) -> None:
    """Options that were given beside --rescore and would not count."""
    for name in context.params.keys() - _COUNTS_WITH_RESCORE:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter("counts only without --rescore", param_hint=f"--{name.replace('_', '-')}")
