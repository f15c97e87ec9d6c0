"""How much of a page's text OCR reads, against the page's text layer."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

_WORD = re.compile(r"\w+")


def word_recall(reference: str, read: str) -> float | None:
    """Share of the reference's words that were read, each as often as it stands there.

    Words are runs of letters, digits and underscores, case folded; order and punctuation do not count.
    None where the reference has no word.
    """
    wanted, found = _words(reference), _words(read)
    return (wanted & found).total() / wanted.total() if wanted else None


def num_words(text: str) -> int:
    """Words as `word_recall` counts them."""
    return _words(text).total()


def _words(text: str) -> Counter[str]:
    return Counter(_WORD.findall(text.casefold()))


@dataclass(frozen=True, slots=True)
class OcrPage:
    """One page as OCR read it. num_words: of the text layer, where there is one; recall against it."""

    number: int
    seconds: float
    num_lines: int
    num_words: int
    num_words_read: int
    recall: float | None

    def to_json(self) -> dict[str, object]:
        """The fields by name; the number as "page"."""
        return {
            "page": self.number,
            "seconds": round(self.seconds, 3),
            "lines": self.num_lines,
            "words": self.num_words,
            "words_read": self.num_words_read,
            "recall": None if self.recall is None else round(self.recall, 4),
        }


@dataclass(frozen=True, slots=True)
class OcrReport:
    """What `ragkit eval ocr` prints."""

    document: str
    dpi: float
    pages: tuple[OcrPage, ...]

    @property
    def seconds_per_page(self) -> float:
        """Mean over the pages; drawing them and loading the models left out."""
        return statistics.fmean(page.seconds for page in self.pages)

    @property
    def recall(self) -> float | None:
        """Share of all words of the text layers that were read; None where no page has a text layer."""
        known = [(page.recall, page.num_words) for page in self.pages if page.recall is not None]
        total = sum(count for _, count in known)
        return sum(recall * count for recall, count in known) / total if total else None

    def to_json(self) -> dict[str, object]:
        """Means and every page."""
        return {
            "document": self.document,
            "dpi": self.dpi,
            "seconds_per_page": round(self.seconds_per_page, 3),
            "recall": None if self.recall is None else round(self.recall, 4),
            "pages": [page.to_json() for page in self.pages],
        }

    def table(self) -> Table:
        """The same for a terminal."""
        from rich.table import Table

        table = Table("page", "seconds", "lines", "words", "read", "recall", title=self.document)
        for page in self.pages:
            counts = (page.num_lines, page.num_words, page.num_words_read)
            table.add_row(str(page.number), f"{page.seconds:.2f}", *map(str, counts), _share(page.recall))
        table.add_section()
        table.add_row("all", f"{self.seconds_per_page:.2f}", "", "", "", _share(self.recall))
        return table


def _share(recall: float | None) -> str:
    return "" if recall is None else f"{recall:.4f}"
