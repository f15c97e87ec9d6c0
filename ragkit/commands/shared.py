"""What several commands share: their common options, and how they show a report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer
from rich.console import Console

if TYPE_CHECKING:
    from rich.console import RenderableType

ConfigOption = Annotated[Path | None, typer.Option("--config", help="TOML file of settings.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


class Report(Protocol):
    """What a measuring command ends with."""

    def to_json(self) -> object: ...

    def table(self) -> RenderableType: ...


def show_report(report: Report, as_json: bool) -> None:
    """Print it on stdout, as a table or as JSON."""
    if as_json:
        print(json.dumps(report.to_json(), indent=2))  # noqa: T201
    else:
        # Names of files, queries and models are shown as they are, not read as rich's markup.
        Console(markup=False, emoji=False).print(report.table())
