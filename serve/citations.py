"""Marks in an answer become citations: document, page, quoted words and their boxes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from ragkit.errors import CorpusError
from ragkit.protocols import Embedder, PassageStore
from ragkit.records import Box, Citation, Page, Passage, Source
from ragkit.sentences import Span, sentence_spans
from ragkit.serve.marks import marks_in, without_marks
from ragkit.serve.support import Quote, Support

_log = logging.getLogger("ragkit.serve")


@dataclass(frozen=True, slots=True)
class CitedText:
    """An answer's text with its marks and what they stand for.

    attributed: True where the engine wrote no mark and the marks in `text` were put in here.
    """

    text: str
    citations: tuple[Citation, ...]
    attributed: bool


def cite(text: str, sources: Sequence[Source], store: PassageStore, embedder: Embedder | None = None) -> CitedText:
    """Turn each mark into a citation; where there is no mark at all, find the sources of each sentence.

    `text` has passed `MarkFilter`: its marks are ``[n]`` and each names a source. A sentence that no
    source supports stays without a mark. The embedder, where given, must agree with every source found.
    """
    pages = _Pages(store)
    support = Support(sources, embedder)
    if marks_in(text):
        return CitedText(text, tuple(_of_marks(text, support, pages)), attributed=False)
    spans = sentence_spans(text)
    quotes = support.attribute([text[start:end] for start, end in spans])
    return _insert_marks(text, spans, quotes, pages)


class _Pages:
    """Reads each page of the store once.

    The corpus may have changed since the passages were retrieved: quotes are taken from the passage, and
    boxes only from a page that still has the quoted text at its place.
    """

    def __init__(self, store: PassageStore) -> None:
        self._store = store
        self._read: dict[tuple[str, int], Page | None] = {}

    def citation(self, quote: Quote, start: int, end: int) -> Citation:
        hit = quote.source.hit
        passage = hit.passage
        text = passage.text[quote.start : quote.end]
        page_start, page_end = passage.start + quote.start, passage.start + quote.end
        return Citation(
            marker=quote.source.marker,
            document=passage.document,
            page=passage.page,
            quote=text,
            start=start,
            end=end,
            page_start=page_start,
            page_end=page_end,
            score=hit.score,
            boxes=self._boxes(passage, text, page_start, page_end),
        )

    def _boxes(self, passage: Passage, text: str, start: int, end: int) -> tuple[Box, ...]:
        page = self._page(passage.document, passage.page)
        if page is None or page.text[start:end] != text:
            return ()
        return page.words.between(start, end)

    def _page(self, document: str, number: int) -> Page | None:
        """None where the store does not give the page: the quote holds without it."""
        key = (document, number)
        if key not in self._read:
            try:
                self._read[key] = self._store.page(*key)
            except CorpusError as error:
                _log.warning("a citation has no boxes: %s", error)
                self._read[key] = None
        return self._read[key]


def _of_marks(text: str, support: Support, pages: _Pages) -> list[Citation]:
    citations = []
    for start, end in _sentences_with_marks(text):
        sentence = without_marks(text[start:end])
        for marker in marks_in(text[start:end]):
            citations.append(pages.citation(support.quote(sentence, marker), start, end))
    return citations


def _sentences_with_marks(text: str) -> list[Span]:
    """Sentence spans; marks that stand alone belong to the sentence before them."""
    spans: list[Span] = []
    for start, end in sentence_spans(text):
        if spans and not without_marks(text[start:end]).strip():
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return spans


def _insert_marks(text: str, spans: Sequence[Span], quotes: Sequence[Quote | None], pages: _Pages) -> CitedText:
    out, position = "", 0
    citations = []
    for (start, end), quote in zip(spans, quotes, strict=True):
        out += text[position:start]
        new_start = len(out)
        out += text[start:end]
        position = end
        if quote is not None:
            out += f" [{quote.source.marker}]"
            citations.append(pages.citation(quote, new_start, len(out)))
    return CitedText(out + text[position:], tuple(citations), attributed=True)
