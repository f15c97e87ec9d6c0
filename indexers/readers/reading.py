"""What every reader of a kind of file is given, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ragkit.config import DocumentsConfig
from ragkit.errors import DocumentError, RagkitError
from ragkit.protocols import OcrEngine, Renderer
from ragkit.records import Page


@dataclass(frozen=True, slots=True)
class Reading:
    """One file being read, and the settings and parts to read it with.

    warnings: filled while reading; the file is read all the same.
    not_installed: filled while reading with what says which optional library would have read more.
    known: pages that an interrupted run has read by OCR, by number. read_by_ocr: called with each such page.
    """

    path: Path
    config: DocumentsConfig
    renderer: Renderer
    ocr: Callable[[], OcrEngine]
    password: str | None = None
    warnings: list[str] = field(default_factory=list)
    not_installed: list[str] = field(default_factory=list)
    known: Mapping[int, Page] = field(default_factory=dict)
    read_by_ocr: Callable[[Page], None] = lambda _: None


class PageSource(Protocol):
    """An open file of one kind."""

    @property
    def num_pages(self) -> int: ...

    def pages(self) -> Iterator[Page]:
        """The pages in order, read one at a time.

        Raises DocumentError where the file turns out to be unreadable.
        """
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class TextPages:
    """A file whose pages are texts that are all known once it is open."""

    texts: tuple[str, ...]

    @property
    def num_pages(self) -> int:
        return len(self.texts)

    def pages(self) -> Iterator[Page]:
        for number, text in enumerate(self.texts, 1):
            yield Page(number, text)

    def close(self) -> None:
        """Nothing is held open."""


@contextmanager
def as_document_error(what: str) -> Iterator[None]:
    """Turn whatever a parsing library raises into a DocumentError that begins with `what`.

    Parsers meet hostile bytes, and theirs raise errors of every class: KeyError, RecursionError,
    struct.error. So only calls of such libraries may stand in the block.
    """
    try:
        yield
    except RagkitError:
        raise
    except Exception as error:
        detail = " ".join(str(error).split())[:300]
        # Some say no more than the key that they missed.
        named = detail if " " in detail else f"{type(error).__name__} {detail}".strip()
        raise DocumentError(f"{what}: {named}") from error


def page_ranges(numbers: list[int]) -> str:
    """Ascending page numbers in words: "page 3", "pages 1, 4-9"."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    words = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
    return f"page {words}" if len(numbers) == 1 else f"pages {words}"
