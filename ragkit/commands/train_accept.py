"""`ragkit train accept`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ragkit.commands.shared import ConfigOption, JsonOption, going_on

if TYPE_CHECKING:
    from ragkit.embedder_switch import SwitchReport

CorpusOption = Annotated[Path, typer.Option("--corpus", help="Folder of the corpus.")]


def accept(
    model: Annotated[Path, typer.Argument(help="Folder of a trained embedder of texts.")],
    corpus: CorpusOption,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Embed a corpus's texts by a trained model, keep it with the corpus, and search with it from then on.

    Searches find the old vectors until all new ones are there. Interrupted or killed, the same command goes on.
    """
    from ragkit.config import load_config
    from ragkit.corpus import Corpus
    from ragkit.progress import count_progress

    with Corpus.open(corpus, config=load_config(config), create=False) as opened, going_on(corpus):
        report = opened.switch_embedder(model, progress=count_progress("passages embedded"))
    show_switch(report, as_json)


def show_switch(report: SwitchReport, as_json: bool) -> None:
    """On stdout; warnings of the plain form on stderr."""
    import json
    import sys

    if as_json:
        print(json.dumps(asdict(report), indent=2))  # noqa: T201
        return
    name = report.embedder.name
    if report.former is None:
        print(f"{name} is in use already; nothing was changed")  # noqa: T201
        return
    print(f"{name} is in use, in the place of {report.former.name}")  # noqa: T201
    print(  # noqa: T201
        f"{report.num_embedded} of {report.num_passages} passages were embedded, in {report.seconds:.1f} s; "
        "the way back: ragkit train back"
    )
    for warning in report.warnings:
        print(f"ragkit: {warning}", file=sys.stderr)  # noqa: T201
