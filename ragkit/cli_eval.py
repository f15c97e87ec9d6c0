"""`ragkit eval …`."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ragkit.config import Config, load_config

if TYPE_CHECKING:
    from ragkit.eval.index_speed_report import IndexSpeedReport
    from ragkit.eval.page_speed import PageSpeedReport
    from ragkit.eval.speed import SpeedReport

eval_app = typer.Typer(no_args_is_help=True, help="Offline evaluation.")


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


# What options of `eval speed` count with: --scale, --pages, or "", neither.
_COUNTS_WITH = {
    **dict.fromkeys(("texts", "passages"), ("",)),
    "num_pages": ("--pages",),
    "repeats": ("", "--scale"),
    **dict.fromkeys(("kind", "dim", "queries", "seed"), ("--scale",)),
}

ConfigOption = Annotated[Path | None, typer.Option("--config", help="TOML file of settings.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@eval_app.command()
def retrieval(
    data: Annotated[Path, typer.Option(help="Folder in BEIR's layout.")],
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
    run_out: Annotated[Path | None, typer.Option(help="Write the ranking as a TREC run file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure retrieval on a judged collection.

    Of a page-level collection, whose ids are <document>#p<page>, the PDFs are indexed with --documents pdfs, and
    with auto where documents.ocr = "always" or page pictures are embedded, or a corpus is named.
    """
    from ragkit.eval.page_sets import PageScope, read_names
    from ragkit.eval.ranking_metrics import DEFAULT_MEASURES
    from ragkit.eval.trec import write_run
    from ragkit.evaluations.evaluation import evaluate_beir
    from ragkit.evaluations.page_evaluation import evaluate_pages, needs_page_set
    from ragkit.progress import index_progress

    only = None if documents_from is None else read_names(documents_from)
    scope = PageScope(documents.value, within.value, max_pages_per_document, only, evidence.value)
    settings, measures = load_config(config), measure or DEFAULT_MEASURES
    with index_progress() as progress:
        if corpus is not None or needs_page_set(scope, settings):
            report = evaluate_pages(data, settings, scope, split, measures, progress, corpus)
        else:
            report = evaluate_beir(data, settings, split, measures, progress)
    if run_out is not None:
        write_run(run_out, report.run)
    if as_json:
        print(json.dumps(report.to_json(), indent=2))  # noqa: T201
    else:
        Console().print(report.table())


@eval_app.command()
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
    num_pages: Annotated[int, typer.Option(min=1, help="With --pages: about how many pages.")] = 100,
    texts: Annotated[int, typer.Option(min=1, help="How many texts are indexed.")] = 400,
    passages: Annotated[int, typer.Option(min=1, help="How many passages are searched.")] = 100_000,
    repeats: Annotated[
        int, typer.Option(min=1, help="Repetitions of indexing; with --scale of opening and changing.")
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
    """Time indexing and searching beside the bare libraries below them, page pictures, or vector indexes."""
    from ragkit.demo import SAMPLES
    from ragkit.evaluations.evaluation import measure_speed
    from ragkit.evaluations.page_speed import measure_page_speed

    _refuse_ignored(context, scale, pages)
    settings = load_config(config)
    report: SpeedReport | PageSpeedReport | IndexSpeedReport
    if scale:
        report = _scale_report(settings, scale, kind, dim, queries, seed, repeats, data)
    elif pages:
        report = measure_page_speed(settings, data or SAMPLES / "documents", num_pages)
    else:
        report = measure_speed(settings, data, texts, passages, repeats)
    if as_json:
        print(json.dumps(report.to_json(), indent=2))  # noqa: T201
    else:
        Console().print(report.table())


def _refuse_ignored(context: typer.Context, scale: str, pages: bool) -> None:
    """Options of `eval speed` that were given and would not count."""
    if scale and pages:
        raise typer.BadParameter("either indexes are timed or pages, not both", param_hint="--scale and --pages")
    chosen = "--scale" if scale else "--pages" if pages else ""
    for name, counts_with in _COUNTS_WITH.items():
        source = context.get_parameter_source(name)
        if chosen not in counts_with and source is not None and source.name == "COMMANDLINE":
            told = " or ".join(f"with {one}" if one else "without --scale and --pages" for one in counts_with)
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
    from ragkit.eval.index_speed import DEFAULT_KINDS, IndexSpeedPlan, parse_sizes
    from ragkit.evaluations.index_speed import measure_index_speed

    try:
        sizes = parse_sizes(scale)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--scale") from error
    try:
        plan = IndexSpeedPlan(sizes, tuple(kinds or DEFAULT_KINDS), dim, seed, queries, repeats)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--repeats") from error
    told = Console(stderr=True)
    return measure_index_speed(settings, plan, data, lambda line: told.print(line, highlight=False))


@eval_app.command()
def ocr(
    pdf: Annotated[Path, typer.Argument(help="A PDF whose pages have a text layer.")],
    pages: Annotated[str, typer.Option(help="Such as 1,5 or 2-4; all where none are named.")] = "",
    password: Annotated[str | None, typer.Option(help="Of the PDF.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read drawn pages by OCR: seconds a page, and the share of the text layer's words that was read."""
    from ragkit.evaluations.ocr_evaluation import measure_ocr, parse_pages

    try:
        wanted = parse_pages(pages) if pages else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--pages") from error
    report = measure_ocr(pdf, load_config(config), wanted, password)
    if as_json:
        print(json.dumps(report.to_json(), indent=2))  # noqa: T201
    else:
        Console().print(report.table())


@eval_app.command()
def load(
    seconds: Annotated[float, typer.Option(min=1, help="Of the long run; the others take a tenth each.")] = 60,
    clients: Annotated[int, typer.Option(min=1, help="Streaming clients of the long run.")] = 64,
    num_documents: Annotated[int, typer.Option("--documents", min=1, help="Of the made-up corpus.")] = 1000,
    data: Annotated[Path | None, typer.Option(help="Where the corpus is kept for another run.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Put load on a server with the echo engine: what it adds to the bare search, and whether it stays up."""
    from ragkit.evaluations.load_check import LoadScale, measure_load

    told = Console(stderr=True)
    scale = LoadScale(seconds, clients, num_documents)
    report = measure_load(scale, data, lambda line: told.print(line, highlight=False))
    if as_json:
        print(json.dumps(report.to_json(), indent=2))  # noqa: T201
    else:
        Console().print(report.table())
