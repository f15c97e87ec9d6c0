"""`ragkit eval score`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ragkit.commands.shared import JsonOption, show_report


def score(
    run: Annotated[Path, typer.Argument(help="TREC run file, of any system; .gz is read too.")],
    qrels: Annotated[Path, typer.Option(help="Judgements in TREC's form or BEIR's.")],
    measure: Annotated[
        list[str] | None, typer.Option("--measure", help="Such as nDCG@10, MAP or P(rel=2)@5; may be repeated.")
    ] = None,
    by_query: Annotated[bool, typer.Option("--by-query", help="Give each query's values too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Score a run that is already there against judgements."""
    from ragkit.eval.measures.ranking_metrics import DEFAULT_MEASURES
    from ragkit.eval.measures.run_scoring import score_as_report
    from ragkit.eval.sets.judgements import read_judgements
    from ragkit.eval.sets.trec import read_run

    report = score_as_report(read_judgements(qrels), read_run(run), measure or DEFAULT_MEASURES, by_query)
    show_report(report, as_json)
