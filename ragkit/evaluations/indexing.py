"""Indexing the documents of a collection that is evaluated: all of them, or none is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from ragkit.corpus import Corpus
from ragkit.errors import DataError
from ragkit.indexers.index_report import IndexProgress
from ragkit.records import FileRecord, TextRecord


def index_all(
    corpus: Corpus,
    documents: Iterable[TextRecord | FileRecord | Path],
    progress: Callable[[IndexProgress], None] | None = None,
    what: str = "documents",
) -> None:
    """Index what is not indexed yet.

    Args:
        what: they are called in the message.

    Raises:
        DataError: one cannot be indexed; without it every ranking would be of another collection.
        KeyboardInterrupt: indexing was interrupted.
    """
    report = corpus.add(documents, progress=progress)
    if report.interrupted:
        raise KeyboardInterrupt
    if report.failed:
        first = report.failed[0]
        raise DataError(f"{len(report.failed)} {what} cannot be indexed: {first.path}: {first.reason}")
