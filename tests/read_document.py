"""Reading one file in a test: with a fake OCR engine, or none."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL.Image import Image

from ragkit.config import DocumentsConfig
from ragkit.errors import MissingExtraError
from ragkit.indexers.readers.documents import open_document
from ragkit.indexers.readers.render import PdfiumRenderer
from ragkit.records import Box, Page, TextLine


@dataclass
class FakeOcr:
    """Says the same of each image, and remembers the images."""

    lines: list[TextLine] = field(
        default_factory=lambda: [TextLine(("read", "by", "eye"), (Box(0, 0, 0.2, 0.1),) * 3)]
    )
    seen: list[Image] = field(default_factory=list)

    def read(self, image: Image) -> list[TextLine]:
        self.seen.append(image)
        return self.lines


@dataclass(frozen=True)
class ReadDocument:
    media_type: str
    title: str
    num_pages: int
    pages: list[Page]
    warnings: list[str]


def read_document(
    path: Path, engine: FakeOcr | None = None, password: str | None = None, **settings: Any
) -> ReadDocument:
    """All of a file; without `engine`, OCR is not installed."""

    def ocr() -> FakeOcr:
        if engine is None:
            raise MissingExtraError("rapidocr is not installed; it comes with: pip install 'ragkit[ocr]'")
        return engine

    with open_document(path, DocumentsConfig(**settings), PdfiumRenderer(), ocr, password) as opened:
        pages = list(opened.pages())
        return ReadDocument(opened.media_type, opened.title, opened.num_pages, pages, opened.warnings)
