"""Sources cut into the smallest pieces that can be quoted: sentences, list items, table rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ragkit.records import Source
from ragkit.sentences import sentence_spans

_FINISHED = re.compile(r"[.!?。！？…][\"'”’»)\]」』）》]*(?:\s?\[\d+\])*$")
_NAMED_VALUE = re.compile(r"[^\W\d]\s?[:：]\s*\S")
_FRAGMENT_WORDS = 12
_MOST_ROWS = 15


@dataclass(frozen=True, slots=True)
class Unit:
    """A sentence, item or row of a source.

    start, end: characters in the passage's text. header: what must be read before it: the line above
    a row or item that says little alone, or the question it answers; else "".
    """

    source: Source
    start: int
    end: int
    text: str
    header: str

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
        units.append(Unit(source, start, end, pieces[i], _header(pieces, fragments, i)))
    return units


def _is_fragment(piece: str) -> bool:
    if _FINISHED.search(piece):
        return False
    words = piece.split()
    return len(words) < _FRAGMENT_WORDS or 2 * sum(any(map(str.isdigit, word)) for word in words) >= len(words)


def _header(pieces: Sequence[str], fragments: Sequence[bool], i: int) -> str:
    """The question before piece i, or the first line of the run of fragments that it belongs to."""
    if i > 0 and pieces[i - 1].endswith(("?", "？")) and not pieces[i].endswith(("?", "？")):
        return pieces[i - 1]
    if not fragments[i] or _NAMED_VALUE.search(pieces[i]):
        return ""
    first = i
    while first > 0 and fragments[first - 1] and i - first < _MOST_ROWS:
        first -= 1
    if first > 0 and pieces[first - 1].endswith((":", "：")):
        return pieces[first - 1]
    return pieces[first] if first < i else ""
