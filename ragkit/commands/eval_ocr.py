"""`ragkit eval ocr`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ragkit.commands.shared import ConfigOption, JsonOption, show_report
from ragkit.config import load_config


def ocr(
    pdf: Annotated[Path, typer.Argument(help="A PDF whose pages have a text layer.")],
    pages: Annotated[str, typer.Option(help="Such as 1,5 or 2-4; all where none are named.")] = "",
    password: Annotated[str | None, typer.Option(help="Of the PDF.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read drawn pages by OCR: seconds a page, and the share of the text layer's words that was read."""
    from ragkit.evaluations.speed.ocr_evaluation import measure_ocr, parse_pages

    try:
        wanted = parse_pages(pages) if pages else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--pages") from error
    report = measure_ocr(pdf, load_config(config), wanted, password)
    show_report(report, as_json)
