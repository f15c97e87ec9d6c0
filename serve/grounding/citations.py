"""Marks in an answer become citations: document, page, quoted words and their boxes."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from unicodedata import category

from ragkit.protocols import Embedder, PassageStore
from ragkit.records import Box, Citation, Page, Passage, Source
from ragkit.sentences import Span, sentence_spans
from ragkit.serve.grounding.marks import code_spans, hide_code, marks_in, show_code, without_marks
from ragkit.serve.grounding.support import Quote, Support
from ragkit.serve.prompting.evidence_style import Evidence
from ragkit.serve.prompting.shown_hits import page_or_none

# Of the sources and their pages, what is made ready before an answer is there: some milliseconds' work. Lines are
# often rows, each of which is read with those above it.
_MOST_AHEAD_CHARACTERS = 12_000
_MOST_AHEAD_LINES = 60
_MOST_PAGE_CHARACTERS = 100_000
# Of an answer, what is cited on an event loop within some milliseconds: each mark has its source looked through.
_MOST_CHARACTERS = 4000
_MOST_MARKS = 40
_MOST_LOOKED_THROUGH = 40_000
_MARK_AT_LINE_END = re.compile(r"\[\d{1,3}\][^\S\n]*\n")
_LONGEST_ANNOUNCEMENT = 40
_ANNOUNCING = re.compile(
    r"\b(?:(?i:sources?|references?|citations?|quellen?|siehe|fuentes?|fonti?)\s*:|see\b|cf\.|vgl\.)"
)
_SENTENCES_NOTE = (
    "The engine wrote no marks of sources; they were put behind the sentences that a source supports."
)
_EVIDENCE_NOTE = "The engine wrote no marks of sources in its answer; those of its evidence were put behind it."
_ONE_PAGE_NOTE = (
    "The engine wrote no marks of sources; it saw one page alone, to which the answer is attributed unchecked."
)


@dataclass(frozen=True, slots=True)
class CitedText:
    """An answer's text with its marks and what they stand for.

    note: how the marks came into `text` where the engine wrote none, or why there are none; else "".
    is_backed: False where nothing speaks for the text: no source supports it and no picture can be its source.
    """

    text: str
    citations: tuple[Citation, ...]
    note: str = ""
    is_backed: bool = True


def cite(
    text: str,
    sources: Sequence[Source],
    store: PassageStore,
    embedder: Embedder | None = None,
    evidence: Sequence[Evidence] = (),
) -> CitedText:
    """Turn each mark into a citation; where there is no mark at all, find the sources of each sentence.

    `text` has passed `MarkFilter`: its marks are ``[n]`` and each names a source. A sentence that no
    source supports stays without a mark. The embedder, where given, must agree with every source found.
    evidence: what the engine itself named; its sources are those of a text without marks. Where it says of
    all that they tell nothing, nothing backs the text.

    Sources with an image are pictures of pages: a mark on one holds, with an empty quote where the page's text
    is not known or does not have it. Text without marks that no known text supports is attributed to a page
    whose text is not known where that is the one source, to none of several, and is not backed without any.
    """
    return Citer(sources, store, embedder).cite(text, evidence)


class Citer:
    """What `cite` needs of the sources: the same for any text, so that it can be made before there is one.

    Text that the corpus has of a pictured page takes the place of its empty passage.
    """

    def __init__(self, sources: Sequence[Source], store: PassageStore, embedder: Embedder | None = None) -> None:
        self._sources = sources
        self._is_ready = False
        self._pages = _Pages(store)
        self._pictured = {source.marker for source in sources if source.hit.passage.image is not None}
        known = [self._pages.with_text(s) if s.marker in self._pictured else s for s in sources]
        self._known = {source.marker: source for source in known}
        # Of the pictured pages the corpus has no text of these.
        self._unread = [s for s in known if s.marker in self._pictured and not s.hit.passage.text.strip()]
        self._support = Support(known, embedder)

    @classmethod
    def ahead(cls, sources: Sequence[Source], store: PassageStore, embedder: Embedder | None) -> Citer | None:
        """For `cite_at_once`, with the sources' pages; None where that takes longer than a moment."""
        passages = [source.hit.passage for source in sources]
        if any(passage.image is not None for passage in passages):
            # The texts that the corpus has of pictured pages may be long.
            return None
        if sum(len(passage.text) for passage in passages) > _MOST_AHEAD_CHARACTERS:
            return None
        if sum(passage.text.count("\n") for passage in passages) > _MOST_AHEAD_LINES:
            return None
        citer = cls(sources, store, embedder)
        citer._is_ready = citer._pages.read(sources)
        return citer if citer._is_ready else None

    def cite(self, text: str, evidence: Sequence[Evidence] = ()) -> CitedText:
        """As the function `cite`."""
        relevant = [line for line in evidence if line.is_relevant]
        if evidence and not relevant:
            return _unbacked(text)
        bare = hide_code(text)
        if self._marks_in(bare):
            # Marks alone say nothing that a source could back.
            return self._of_marks(bare, self._quote) if _says_something(bare) else _unbacked(text)
        if relevant:
            quotes = [self._quote(line.text, line.marker) for line in relevant]
            return self._behind(text, quotes, _EVIDENCE_NOTE)
        cited = self._of_sentences(text)
        if not cited.citations and self._marks_in(text):
            # What looks like code is not always.
            return self._of_marks(text, self._quote)
        return cited if cited.citations else self._of_unread(text)

    def cite_at_once(self, text: str) -> CitedText | None:
        """As `cite`, on an event loop, of what was made `ahead`; None for all but short texts with marks that the
        sources have word for word: others take time, or need the embedder."""
        if not self._is_ready or len(text) > _MOST_CHARACTERS:
            return None
        bare = hide_code(text)
        times = {marker: text.count(f"[{marker}]") for marker in self._marks_in(bare)}
        looked = sum(count * len(self._known[marker].hit.passage.text) for marker, count in times.items())
        if not times or sum(times.values()) > _MOST_MARKS or looked > _MOST_LOOKED_THROUGH:
            return None
        try:
            return self._of_marks(bare, self._word_for_word) if _says_something(bare) else None
        except _NotFoundError:
            return None

    def _quote(self, sentence: str, marker: int, before: int | None = None) -> Quote:
        """The words of the source for the sentence; none of a picture whose known text does not have it."""
        if marker in self._pictured:
            return self._support.find(sentence, marker) or Quote(self._known[marker], 0, 0)
        return self._support.quote(sentence, marker, before)

    def _word_for_word(self, sentence: str, marker: int, before: int | None = None) -> Quote:
        """As `_quote`, where the source has the sentence as it is."""
        quote = self._support.word_for_word(sentence, marker, before)
        if quote is None:
            raise _NotFoundError
        return quote

    def _of_marks(self, bare: str, find: Callable[[str, int, int | None], Quote]) -> CitedText:
        """bare: the text with its code hidden."""
        marked = [
            (span, marker) for span in _sentences_with_marks(bare) for marker in self._marks_in(bare[slice(*span)])
        ]
        quotes: list[Quote] = []
        below: dict[int, int] = {}
        # From the last to the first: a line that heads others stands above them in the source too.
        for span, marker in reversed(marked):
            quotes.append(find(show_code(without_marks(bare[slice(*span)])), marker, below.get(marker)))
            below[marker] = quotes[-1].start
        citations = tuple(
            self._pages.citation(quote, *span) for (span, _), quote in zip(marked, reversed(quotes), strict=True)
        )
        return CitedText(show_code(bare), citations, is_backed=bool(citations))

    def _marks_in(self, text: str) -> list[int]:
        # Where something went between two runs of backticks, what was code may be none any more.
        return [marker for marker in marks_in(text) if marker in self._known]

    def _of_sentences(self, text: str) -> CitedText:
        spans, code = _around_code(text)
        if spans or not code:
            quotes = self._support.attribute([text[start:end] for start, end in spans])
            return _insert_marks(text, spans, quotes, self._pages)
        found = self._support.attribute([text[start:end] for start, end in code])
        first = {quote.source.marker: quote for quote in reversed(found) if quote is not None}
        if not first:
            return CitedText(text, ())
        return self._behind(text, [first[marker] for marker in sorted(first)], _SENTENCES_NOTE)

    def _of_unread(self, text: str) -> CitedText:
        """Text that no known text supports."""
        if not self._unread or not text.strip():
            return _unbacked(text)
        if len(self._sources) == 1:
            return self._behind(text, [self._quote(text, self._sources[0].marker)], _ONE_PAGE_NOTE)
        return CitedText(text, (), _unattributed(self._unread))

    def _behind(self, text: str, quotes: Sequence[Quote], note: str) -> CitedText:
        """The marks of the quotes' sources at the end of the text, each citing all of it."""
        whole = text.rstrip()
        ends_in_code = any(end == len(whole) and "\n" in whole[start:end] for start, end in code_spans(whole))
        # Behind a fence, on its line, a mark would be a part of the code to many readers.
        between = "\n" if ends_in_code else " "
        citations = []
        for quote in quotes:
            whole, between = f"{whole}{between}[{quote.source.marker}]", " "
            citations.append(self._pages.citation(quote, 0, len(whole)))
        return CitedText(whole, tuple(citations), note)


class _NotFoundError(Exception):
    """The source does not have a sentence word for word."""


def _unattributed(unread: Sequence[Source]) -> str:
    names = ", ".join(f"{source.hit.passage.document} page {source.hit.passage.page}" for source in unread)
    pages = "1 page" if len(unread) == 1 else f"{len(unread)} pages"
    return (
        f"The engine wrote no marks of sources; it saw the pictures of {pages} ({names}), and from which source "
        "the answer comes is not known."
    )


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

    def read(self, sources: Iterable[Source]) -> bool:
        """Before they are needed; False where they are long, as of a text file, which is one page."""
        left = _MOST_PAGE_CHARACTERS
        for source in sources:
            page = self._page(source.hit.passage.document, source.hit.passage.page)
            left -= len(page.text) if page else 0
            if left < 0:
                return False
        return True

    def with_text(self, source: Source) -> Source:
        """A page's picture as a source of the page's text, as far as it is known."""
        passage = source.hit.passage
        page = self._page(passage.document, passage.page)
        text = page.text if page else ""
        known = replace(passage, text=text, start=0, end=len(text))
        return replace(source, hit=replace(source.hit, passage=known))

    def _boxes(self, passage: Passage, text: str, start: int, end: int) -> tuple[Box, ...]:
        page = self._page(passage.document, passage.page)
        if page is None or page.text[start:end] != text:
            return ()
        return page.words.between(start, end)

    def _page(self, document: str, number: int) -> Page | None:
        """None where the store does not give the page: the quote holds without it."""
        key = (document, number)
        if key not in self._read:
            self._read[key] = page_or_none(self._store, document, number)
        return self._read[key]


def _sentences_with_marks(text: str) -> list[Span]:
    """Sentence spans; marks that stand alone belong to the sentence before them.

    A mark at the end of a line ends its sentence, whatever the next line begins with: a quoted sentence may begin
    on another page, in the middle of itself.
    """
    ends = {0, len(text), *(found.end() for found in _MARK_AT_LINE_END.finditer(text))}
    cuts = sorted(ends.union(*(span for span in code_spans(text) if "\n" in text[slice(*span)])))
    spans: list[Span] = []
    for left, right in pairwise(cuts):
        for start, end in sentence_spans(text[left:right]):
            piece = text[left + start : left + end]
            if _says_something(piece) or (marks_in(piece) and not spans):
                spans.append((left + start, left + end))
            elif marks_in(piece):
                spans[-1] = (spans[-1][0], left + end)
    return spans


def _says_something(piece: str) -> bool:
    """Whether there is more than marks, what stands around them, and a word that announces them."""
    left = without_marks(piece)
    if len(left) < _LONGEST_ANNOUNCEMENT:
        left = _ANNOUNCING.sub("", left)
    return any(letter.isalnum() or category(letter) == "So" for letter in left)


def _around_code(text: str) -> tuple[list[Span], list[Span]]:
    """Sentences outside of blocks of code, none of which ends inside other code; and those of the blocks."""
    code = code_spans(text)
    blocks = [span for span in code if "\n" in text[slice(*span)]]
    inline = [span for span in code if "\n" not in text[slice(*span)]]
    spans: list[Span] = []
    inside: list[Span] = []
    for start, end in sentence_spans(text):
        if _meets(blocks, start, end):
            inside.append((start, end))
        elif spans and _meets(inline, spans[-1][1], spans[-1][1]):
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return spans, inside


def _meets(spans: Sequence[Span], start: int, end: int) -> bool:
    """Whether one of the spans, which are in order, begins before the end and ends behind the start."""
    place = bisect_left(spans, (end, 0)) - 1
    return place >= 0 and spans[place][1] > start


def _unbacked(text: str) -> CitedText:
    return CitedText(text, (), is_backed=False)


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
    return CitedText(out + text[position:], tuple(citations), _SENTENCES_NOTE if citations else "")
