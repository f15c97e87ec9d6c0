"""Showing how far an indexing run has come: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ragkit.indexers.index_report import IndexProgress

_SECONDS_BETWEEN_LINES = 5.0


@contextmanager
def index_progress() -> Iterator[Callable[[IndexProgress], None]]:
    """Gives the function to call with each step; writes to stderr."""
    if sys.stderr.isatty():
        with _bar() as show:
            yield show
    else:
        yield _lines()


@contextmanager
def _bar() -> Iterator[Callable[[IndexProgress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("documents, {task.fields[rate]}, left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("indexing", total=None, rate="")
        started = time.monotonic()

        def show(step: IndexProgress) -> None:
            bar.update(
                task,
                total=step.documents_total,
                completed=step.documents_done,
                description=_doing(step),
                rate=_rate(step, started),
            )

        yield show


def _lines() -> Callable[[IndexProgress], None]:
    started = last = time.monotonic()

    def show(step: IndexProgress) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < _SECONDS_BETWEEN_LINES:
            return
        last = now
        total = f"{step.documents_done}/{step.documents_total} documents"
        print(f"{_doing(step)}: {total}, {_rate(step, started)}", file=sys.stderr, flush=True)  # noqa: T201

    return show


def _doing(step: IndexProgress) -> str:
    name = step.document if len(step.document) <= 40 else "…" + step.document[-39:]
    return f"{step.stage} {name}".rstrip()


def _rate(step: IndexProgress, started: float) -> str:
    if step.passages_pending:
        # Pages stand still meanwhile: they are all read.
        passages = step.passages_done + step.passages_pending
        return f"{step.pages_done} pages read, {step.passages_done} of {passages} passages embedded"
    seconds = max(time.monotonic() - started, 1e-9)
    return f"{step.pages_done} pages at {step.pages_done / seconds:.1f}/s"


def count_progress(done_word: str) -> Callable[[int, int], None]:
    """Gives the function to call with how many are done, of how many; writes a line now and then to stderr."""
    last = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _SECONDS_BETWEEN_LINES:
            last = now
            print(f"{done} of {total} {done_word}", file=sys.stderr, flush=True)  # noqa: T201

    return show
