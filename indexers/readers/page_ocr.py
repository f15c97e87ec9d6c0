"""When OCR is asked, and what is said where it could not be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ragkit.errors import DocumentError, MissingExtraError
from ragkit.indexers.readers.reading import Reading, page_ranges
from ragkit.protocols import OcrEngine
from ragkit.records import Page, TextLine, WordBoxes

if TYPE_CHECKING:
    from PIL.Image import Image


class PageOcr:
    """Reads the pages of one file by OCR, as `documents.ocr` says."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._engine: OcrEngine | None = None
        self._missing = 'documents.ocr is "never"' if reading.config.ocr == "never" else ""
        self._unread: dict[str, list[int]] = {}

    def engine(self, number: int, reason: str) -> OcrEngine | None:
        """The engine for page `number`, which needs it for `reason`; None, and noted, where there is none.

        Raises:
            DocumentError: documents.ocr is "always" and OCR is not installed.
        """
        if self._engine is None and not self._missing:
            try:
                self._engine = self._reading.ocr()
            except MissingExtraError as error:
                if self._reading.config.ocr == "always":
                    raise DocumentError(str(error)) from error
                self._missing = str(error)
                self._reading.not_installed.append(self._missing)
        if self._engine is None:
            self.note_unread(number, f"{reason}, and {self._missing}")
        return self._engine

    def read(self, number: int, image: Image, size_pt: tuple[float, float]) -> Page | None:
        """The page that the image shows; None, and noted, where OCR fails on it."""
        if self._engine is None:
            return None
        try:
            lines = self._engine.read(image)
        except DocumentError as error:
            self.note_unread(number, str(error))
            return None
        return page_of_lines(number, lines, size_pt)

    def note_unread(self, number: int, reason: str) -> None:
        """Remember that a page could not be read; `finish` makes one warning of all with the same reason."""
        self._unread.setdefault(reason, []).append(number)

    def finish(self) -> None:
        """Write the warnings down, after the last page."""
        for reason, numbers in self._unread.items():
            self._reading.warnings.append(f"{page_ranges(numbers)}: {reason}")
        self._unread.clear()


def page_of_lines(number: int, lines: list[TextLine], size_pt: tuple[float, float]) -> Page:
    """A page of the lines' words: a space between words, none between Chinese or Japanese ones."""
    pieces: list[str] = []
    spans: list[tuple[int, int]] = []
    length = 0
    for line in lines:
        before = ""
        for word in line.words:
            gap = _gap(before, word) if before else ("\n" if pieces else "")
            pieces += [gap, word]
            spans.append((length + len(gap), length + len(gap) + len(word)))
            length += len(gap) + len(word)
            before = word
    boxes = [(box.left, box.top, box.right, box.bottom) for line in lines for box in line.boxes]
    words = WordBoxes(np.array(spans, np.int32).reshape(-1, 2), np.array(boxes, np.float32).reshape(-1, 4))
    return Page(number, "".join(pieces), words, *size_pt, text_source="ocr")


def _gap(before: str, after: str) -> str:
    return "" if is_unspaced(before[-1]) and is_unspaced(after[0]) else " "


def is_unspaced(character: str) -> bool:
    """Whether it belongs to a script that is written without spaces: kana and Chinese characters."""
    return "\u3000" <= character <= "\u9fff" or "\uf900" <= character <= "\ufaff" or character >= "\U00020000"
