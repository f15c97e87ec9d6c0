"""A page with words to mark, as it is shown to people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ragkit.protocols import PassageStore
from ragkit.records import Box, Page, PageImage
from ragkit.serve.pages.line_boxes import line_boxes
from ragkit.serve.pages.page_links import Span, check_of

# A file of plain text is one page, however long it is; so much of it is shown.
_MOST_TEXT = 200_000
# What stands before the first marked words where the text is cut.
_BEFORE = 20_000


@dataclass(frozen=True, slots=True)
class PageView:
    """A page of a corpus and what of it is marked.

    picture: None where the page cannot be drawn. spans: ascending, apart, characters of the page's text.
    boxes: one for each line of the marked words. changed: the page no longer says what the link was made for.
    """

    corpus: str
    document: str
    page: Page
    picture: PageImage | None
    spans: tuple[Span, ...] = ()
    boxes: tuple[Box, ...] = ()
    changed: bool = False

    @property
    def shown(self) -> Span:
        """Which characters of the text are shown: all, or those around the first marked words."""
        length = len(self.page.text)
        first = self.spans[0][0] if self.spans else 0
        start = max(0, min(first - _BEFORE, length - _MOST_TEXT))
        return start, min(length, start + _MOST_TEXT)

    @property
    def quote(self) -> str:
        """The marked words, with an ellipsis between those that stand apart."""
        return " … ".join(" ".join(self.page.text[start:end].split()) for start, end in self.spans)

    def pieces(self) -> list[tuple[str, bool]]:
        """The shown text in pieces, each with whether it is marked."""
        position, last = self.shown
        pieces = []
        for start, end in self.spans:
            stop = min(end, last)
            if start < stop:
                pieces += [(self.page.text[position:start], False), (self.page.text[start:stop], True)]
                position = stop
        pieces.append((self.page.text[position:last], False))
        return [(text, marked) for text, marked in pieces if text]

    def as_json(self) -> dict[str, Any]:
        """For programs; spans and boxes as in an answer's record."""
        start, end = self.shown
        return {
            "object": "ragkit.page",
            "corpus": self.corpus,
            "document": self.document,
            "page": self.page.number,
            "has_picture": self.picture is not None,
            "text_source": self.page.text_source,
            "text": self.page.text[start:end],
            "text_start": start,
            "text_length": len(self.page.text),
            "spans": [list(span) for span in self.spans],
            "boxes": [asdict(box) for box in self.boxes],
            "changed": self.changed,
        }


def view_page(
    corpus: str, store: PassageStore, document: str, number: int, spans: Sequence[Span] = (), check: str = ""
) -> PageView:
    """Read a page. check: what a link holds of the words that it marks, "" to mark whatever stands there.

    Raises:
        CorpusError: there is no such page.
    """
    page = store.page(document, number)
    picture = store.page_image(document, number)
    if check and check != check_of("\n".join(page.text[start:end] for start, end in spans)):
        return PageView(corpus, document, page, picture, changed=True)
    marked = _apart(spans, len(page.text))
    words = [box for start, end in marked for box in page.words.between(start, end)]
    width, height = page.width_pt, page.height_pt
    if picture is not None and picture.width > 0:
        width, height = picture.width, picture.height
    return PageView(corpus, document, page, picture, marked, line_boxes(words, width, height))


def _apart(spans: Sequence[Span], length: int) -> tuple[Span, ...]:
    """Within the text, ascending, those that touch joined."""
    apart: list[Span] = []
    for start, end in sorted((min(start, length), min(end, length)) for start, end in spans):
        if apart and start <= apart[-1][1]:
            apart[-1] = (apart[-1][0], max(apart[-1][1], end))
        elif start < end:
            apart.append((start, end))
    return tuple(apart)
