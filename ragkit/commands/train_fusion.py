"""`ragkit train fusion`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ragkit.config import load_config

if TYPE_CHECKING:
    from rich.table import Table

    from ragkit.evaluations.retrieval.fusion_fitting import PageQuestion
    from ragkit.retrievers.page_fusion_weights import PageFusionWeights


def fusion(
    corpus: Annotated[Path, typer.Option(help="Folder of a corpus of texts and pictures.")],
    questions: Annotated[
        Path,
        typer.Option(help="JSON Lines of question, document, pages; or a folder of a page-level collection."),
    ],
    documents_from: Annotated[
        Path | None, typer.Option(help="Of a collection: file that names the documents to fit on, one a line.")
    ] = None,
    within: Annotated[str, typer.Option(help="Rank 'all' pages, or those of the question's 'doc'.")] = "all",
    store_in: Annotated[
        Path | None, typer.Option(help="Another corpus that gets the weights; default: the one fitted on.")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="TOML file of settings.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Fit how much texts and pictures of pages count, and keep it in the corpus."""
    from ragkit.evaluations.retrieval.fusion_fitting import fit_corpus_fusion, store_page_fusion

    if within not in ("all", "doc"):
        raise typer.BadParameter(f"{within!r}; give all or doc", param_hint="--within")
    labelled = _labelled(questions, documents_from)
    weights = fit_corpus_fusion(corpus, labelled, load_config(config), within_document=within == "doc")
    store_page_fusion(store_in or corpus, weights)
    if as_json:
        print(json.dumps(weights.to_json(), indent=2))  # noqa: T201
    else:
        Console().print(_table(weights))


def _labelled(path: Path, documents_from: Path | None) -> list[PageQuestion]:
    from ragkit.eval.sets.page_sets import PageScope, read_names, read_page_set
    from ragkit.evaluations.retrieval.fusion_fitting import questions_of, read_questions

    if path.is_dir():
        only = None if documents_from is None else read_names(documents_from)
        return questions_of(read_page_set(path, scope=PageScope(only=only)))
    if documents_from is not None:
        raise typer.BadParameter(f"{path} is a file; choose its lines instead", param_hint="--documents-from")
    return read_questions(path)


def _table(weights: PageFusionWeights) -> Table:
    from rich.table import Table

    table = Table(
        *("route", "weight", "fitted", "nDCG@10 alone"),
        title=f"{weights.num_questions} questions on {weights.num_documents} documents",
        caption=f"fused, cross-validated: {weights.fused:.4f}; gain {weights.gain[0]:+.4f}, "
        f"standard error {weights.gain[1]:.4f}",
    )
    for row in zip(weights.routes, weights.weights, weights.fitted, weights.alone, strict=True):
        table.add_row(row[0], *(f"{value:.4f}" for value in row[1:]))
    return table
