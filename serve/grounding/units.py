"""Sources cut into the smallest pieces that can be quoted: sentences, list items, table rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ragkit.records import Source
from ragkit.sentences import Span, sentence_spans

_FINISHED = re.compile(r"[.!?。！？…][\"'”’»)\]」』）》]*(?:\s?\[\d+\])*$")
_NAMED_VALUE = re.compile(r"[^\W\d]\s?[:：]\s*\S")
_YEAR = re.compile(r"\b(?:19|20)\d\d\b")
_CAPTION = re.compile(
    r"(?:table|figure|fig\.|chart|exhibit|tabelle|abbildung|abb\.|diagramm)\s\d+\b|[图表図]\s?\d+", re.IGNORECASE
)
_HEADING_NUMBER = re.compile(r"\d{1,2}(?:\.\d{1,2})*\.?\s+(?=[^\W\d])")
_ITEM = re.compile(r"[-*•‣◦▪–—●○■□]\s")
_PAGE_NUMBER = re.compile(r"\d{1,3}\Z")
_FRAGMENT_WORDS = 20
_MOST_ROWS = 60


@dataclass(frozen=True, slots=True)
class Unit:
    """A sentence, item or row of a source.

    start, end: characters in the passage's text. heads: what must be read before it, by its characters too: the
    lines above a row or item that say what it is about (title, column heads), or the question it answers.
    is_label: it is such a line itself.
    """

    source: Source
    start: int
    end: int
    text: str
    heads: tuple[Span, ...] = ()
    is_label: bool = False

    @property
    def lines(self) -> list[str]:
        """Heads and text as the source has them, each on one line."""
        text = self.source.hit.passage.text
        return [one_line(text[start:end]) for start, end in (*self.heads, (self.start, self.end))]

    @property
    def full_text(self) -> str:
        """What embedders and scores read: the lines joined by bars, which need not stand in the source."""
        return " | ".join(self.lines)


def one_line(text: str) -> str:
    """The text with a space for each run of white space."""
    return " ".join(text.split())


def units_of(source: Source) -> list[Unit]:
    """All units of a source in text order."""
    text = source.hit.passage.text
    spans = sentence_spans(text)
    pieces = [text[start:end] for start, end in spans]
    fragments = [_is_fragment(piece) for piece in pieces]
    units = []
    for i, (start, end) in enumerate(spans):
        heads = tuple(spans[j] for j in _heads(pieces, fragments, i))
        units.append(Unit(source, start, end, pieces[i], heads, fragments[i] and _is_label(pieces[i])))
    return units


def _is_fragment(piece: str) -> bool:
    if _FINISHED.search(piece):
        return False
    words = piece.split()
    return len(words) < _FRAGMENT_WORDS or 2 * sum(any(map(str.isdigit, word)) for word in words) >= len(words)


def _heads(pieces: Sequence[str], fragments: Sequence[bool], i: int) -> list[int]:
    """The question before piece i, or the lines above a row or item that say what it is about."""
    if i > 0 and pieces[i - 1].endswith(("?", "？")) and not pieces[i].endswith(("?", "？")):
        return [i - 1]
    if not fragments[i] or _NAMED_VALUE.search(pieces[i]):
        return []
    first = i
    while first > 0 and fragments[first - 1] and i - first < _MOST_ROWS and not _CAPTION.match(pieces[first]):
        first -= 1
    if first > 0 and pieces[first - 1].endswith((":", "：")):
        return [first - 1]
    label = next((j for j in range(i - 1, first - 1, -1) if _is_label(pieces[j])), first)
    return [j for j in dict.fromkeys((first, label)) if j < i and not _PAGE_NUMBER.match(pieces[j])]


def _is_label(piece: str) -> bool:
    """A line that names what stands below it: without numbers but its own and years."""
    name = _YEAR.sub("", _HEADING_NUMBER.sub("", _CAPTION.sub("", piece, count=1), count=1))
    return not _ITEM.match(piece) and not any(map(str.isdigit, name))
