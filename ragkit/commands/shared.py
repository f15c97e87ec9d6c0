"""What several commands share: their common options, how they show a report, how they end."""

from __future__ import annotations

import errno
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer
from rich.console import Console

from ragkit.errors import DataError

if TYPE_CHECKING:
    from rich.console import RenderableType

ConfigOption = Annotated[Path | None, typer.Option("--config", help="TOML file of settings.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def check_writable(*paths: Path | None) -> None:
    """Before the work: whether files that are asked for can be written in the end. None: not asked for.

    Raises:
        DataError: one cannot.
    """
    for path in paths:
        if path is not None:
            with writing(path):
                _try_to_write(path)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What keeps a file from being written becomes an error that names it."""
    try:
        yield
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def going_on(out: Path | None) -> Iterator[None]:
    """Whoever interrupts a run that is kept is told that it can be gone on with."""
    try:
        yield
    except KeyboardInterrupt:
        if out is not None:
            print(f"ragkit: interrupted; the same command goes on with {out}", file=sys.stderr)  # noqa: T201
        raise


def _try_to_write(path: Path) -> None:
    """A file without a name, in the nearest folder that is there: others are made when the file is written."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    with tempfile.TemporaryFile(dir=folder):
        pass


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
