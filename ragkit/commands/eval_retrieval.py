"""`ragkit eval retrieval`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ragkit.commands.shared import ConfigOption, JsonOption, check_writable, going_on, show_report, writing
from ragkit.config import load_config


class Documents(StrEnum):
    """What of a page-level collection is indexed."""

    auto = "auto"
    corpus = "corpus"
    pdfs = "pdfs"


class Within(StrEnum):
    """What a query is run against."""

    all = "all"
    doc = "doc"


class Evidence(StrEnum):
    """Which judgements count."""

    all = "all"
    no_text = "no-text"


def retrieval(
    data: Annotated[Path, typer.Option(help="Folder in BEIR's or ViDoRe's layout.")],
    split: Annotated[str, typer.Option(help="Which qrels/<split>.tsv.")] = "test",
    config: ConfigOption = None,
    measure: Annotated[
        list[str] | None, typer.Option("--measure", help="Such as nDCG@10 or Success@5; may be repeated.")
    ] = None,
    documents: Annotated[
        Documents, typer.Option(help="What of a page-level collection is indexed: its pdfs/ or its corpus.jsonl.")
    ] = Documents.auto,
    within: Annotated[
        Within, typer.Option(help="Rank all pages, or those of the query's own document.")
    ] = Within.all,
    max_pages_per_document: Annotated[
        int | None, typer.Option(min=1, help="Leave out longer documents and the queries about them.")
    ] = None,
    documents_from: Annotated[
        Path | None, typer.Option(help="File that names the documents to keep, one a line.")
    ] = None,
    evidence: Annotated[
        Evidence, typer.Option(help="Judge all evidence pages, or only those without a text layer.")
    ] = Evidence.all,
    corpus: Annotated[
        Path | None, typer.Option(help="Corpus to index the PDFs into and search, in place of one in the cache.")
    ] = None,
    topics: Annotated[
        Path | None,
        typer.Option(help="TREC topics (<top> blocks, XML, id<TAB>text) in place of queries.jsonl."),
    ] = None,
    qrels: Annotated[
        Path | None, typer.Option(help="Judgements in TREC's form or BEIR's, in place of qrels/<split>.tsv.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run: kept, killed and gone on with, compared and reported.")
    ] = None,
    run_out: Annotated[Path | None, typer.Option(help="Write the ranking as a TREC run file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure retrieval on a judged collection.

    Of a page-level collection, whose ids are <document>#p<page>, the PDFs are indexed with --documents pdfs, and
    with auto where documents.ocr = "always" or page pictures are embedded, or a corpus is named. Of a ViDoRe set
    (parquet or arrow files with an image column, or a corpus.jsonl of images) every picture is a document.
    """
    from ragkit.eval.measures.ranking_metrics import DEFAULT_MEASURES
    from ragkit.eval.sets.page_sets import PageScope, read_names
    from ragkit.eval.sets.trec import write_run
    from ragkit.eval.sets.visual_sets import is_visual_set
    from ragkit.evaluations.retrieval.beir_evaluation import evaluate_beir
    from ragkit.evaluations.retrieval.page_evaluation import (
        check_own_queries,
        evaluate_pages,
        needs_page_set,
        reads_pictures,
    )
    from ragkit.evaluations.retrieval.visual_evaluation import check_whole_set, evaluate_visual
    from ragkit.progress import index_progress

    check_writable(run_out)
    only = None if documents_from is None else read_names(documents_from)
    scope = PageScope(documents.value, within.value, max_pages_per_document, only, evidence.value)
    settings, measures = load_config(config), measure or DEFAULT_MEASURES
    with going_on(out), index_progress() as progress:
        if is_visual_set(data, bool(reads_pictures(settings))):
            check_whole_set(scope, corpus)
            check_own_queries(topics, qrels)
            report = evaluate_visual(data, settings, split, measures, progress, out)
        elif corpus is not None or needs_page_set(scope, settings):
            check_own_queries(topics, qrels)
            report = evaluate_pages(data, settings, scope, split, measures, progress, corpus, out)
        else:
            report = evaluate_beir(data, settings, split, measures, progress, out, topics, qrels)
    # First, for an id that a TREC run cannot carry is found out when it is written.
    show_report(report, as_json)
    if run_out is not None:
        with writing(run_out):
            write_run(run_out, report.run)
