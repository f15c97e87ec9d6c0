"""Sources cut into the smallest pieces that can be quoted: sentences, list items, table rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ragkit.records import Source
from ragkit.sentences import sentence_spans

_FINISHED = re.compile(r"[.!?。！？…][\"'”’»)\]」』）》]*(?:\s?\[\d+\])*$")
_NAMED_VALUE = re.compile(r"[^\W\d]\s?[:：]\s*\S")
_YEAR = re.compile(r"\b(?:19|20)\d\d\b")
_CAPTION = re.compile(
    r"(?:table|figure|fig\.|chart|exhibit|tabelle|abbildung|abb\.|diagramm)\s\d+\b|[图表図]\s?\d+", re.IGNORECASE
)
_HEADING_NUMBER = re.compile(r"\d{1,2}(?:\.\d{1,2})*\.?\s+(?=[^\W\d])")
_ITEM = re.compile(r"[-*•‣◦▪–—●○■□]\s")
_FRAGMENT_WORDS = 20
_MOST_ROWS = 60


@dataclass(frozen=True, slots=True)
class Unit:
    """A sentence, item or row of a source.

    start, end: characters in the passage's text. header: what must be read before it: the lines above
    a row or item that say what it is about (title, column heads), or the question it answers; else "".
    is_label: it is such a line itself.
    """

    source: Source
    start: int
    end: int
    text: str
    header: str = ""
    is_label: bool = False

    @property
    def full_text(self) -> str:
        """Header and text on one line."""
        parts = (self.header, self.text) if self.header else (self.text,)
        return " | ".join(" ".join(part.split()) for part in parts)


def units_of(source: Source) -> list[Unit]:
    """All units of a source in text order."""
    text = source.hit.passage.text
    spans = sentence_spans(text)
    pieces = [text[start:end] for start, end in spans]
    fragments = [_is_fragment(piece) for piece in pieces]
    units = []
    for i, (start, end) in enumerate(spans):
        header = _header(pieces, fragments, i)
        units.append(Unit(source, start, end, pieces[i], header, fragments[i] and _is_label(pieces[i])))
    return units


def _is_fragment(piece: str) -> bool:
    if _FINISHED.search(piece):
        return False
    words = piece.split()
    return len(words) < _FRAGMENT_WORDS or 2 * sum(any(map(str.isdigit, word)) for word in words) >= len(words)


def _header(pieces: Sequence[str], fragments: Sequence[bool], i: int) -> str:
    """The question before piece i, or the lines above a row or item that say what it is about."""
    if i > 0 and pieces[i - 1].endswith(("?", "？")) and not pieces[i].endswith(("?", "？")):
        return pieces[i - 1]
    if not fragments[i] or _NAMED_VALUE.search(pieces[i]):
        return ""
    first = i
    while first > 0 and fragments[first - 1] and i - first < _MOST_ROWS and not _CAPTION.match(pieces[first]):
        first -= 1
    if first > 0 and pieces[first - 1].endswith((":", "：")):
        return pieces[first - 1]
    label = next((j for j in range(i - 1, first - 1, -1) if _is_label(pieces[j])), first)
    return " | ".join(pieces[j] for j in dict.fromkeys((first, label)) if j < i)


def _is_label(piece: str) -> bool:
    """A line that names what stands below it: without numbers but its own and years."""
    name = _YEAR.sub("", _HEADING_NUMBER.sub("", _CAPTION.sub("", piece, count=1), count=1))
    return not _ITEM.match(piece) and not any(map(str.isdigit, name))
