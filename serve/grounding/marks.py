"""Marks: the numbers in square brackets by which an answer names its sources."""

from __future__ import annotations

import re

_NUMBERS = r"\d{1,3}(?:\s?[,;–-]\s?\d{1,3}){0,15}"
_MARK = re.compile(rf"[\[【]\s?(?:\^|sources?\s)?({_NUMBERS})\s?[\]】]", re.IGNORECASE)
# The beginning of what may become a mark with the next piece of a stream.
_UNFINISHED = re.compile(r"[\[【]\s?(?:\^|s[a-z]{0,6}\s?)?[\d\s,;–-]{0,110}\Z", re.IGNORECASE)
_BRACKET = re.compile(r"[\[【]")
_RANGE = re.compile(r"(\d+)(?:\s?[–-]\s?(\d+))?")
_PLAIN_MARK = re.compile(r"\[(\d{1,3})\]")
# As long as the longest beginning of a mark.
_TAIL = 120


def marks_in(text: str) -> list[int]:
    """The numbers of the marks ``[n]`` in a text that went through `MarkFilter`, each once, in text order."""
    return list(dict.fromkeys(int(number) for number in _PLAIN_MARK.findall(text)))


def without_marks(text: str) -> str:
    """The text without its marks and the space before them."""
    # Spaces from the first one of them only: else a text of spaces is searched anew from each.
    return re.sub(r"(?<!\s)\s*\[\d{1,3}\]", "", text)


def defuse_marks(text: str) -> str:
    """Text of a source in which nothing reads as a mark: ``[3]`` becomes ``(3)``."""
    # Most texts have no bracket, which is faster found than a mark.
    return _MARK.sub(r"(\1)", text) if "[" in text or "【" in text else text


class MarkFilter:
    """Passes a text on in pieces, with every mark written ``[n]`` and marks of no source taken out.

    ``[1, 2]``, ``[1-3]``, ``[source 1]`` and ``【1】`` become ``[1][2]``, ``[1][2][3]``, ``[1]`` and ``[1]``.
    Only an unfinished bracket and white space before it are held back. The pieces joined are the
    same however the text was cut, without white space at both ends.
    """

    def __init__(self, num_sources: int) -> None:
        self._num_sources = num_sources
        self._held = ""
        # White space behind `_held`, which is white space alone: put together once, however long it grows.
        self._blanks: list[str] = []
        self._is_blank = True
        self._tail = ""
        self._begun = False
        self._unknown: dict[int, None] = {}

    @property
    def unknown(self) -> tuple[int, ...]:
        """Numbers that no source has, in the order they were met."""
        return tuple(self._unknown)

    def push(self, piece: str) -> str:
        """What can be passed on now that `piece` has come."""
        self._blanks.append(piece)
        if self._is_blank and (not piece or piece.isspace()):
            return ""
        return self._release(final=False)

    def finish(self) -> str:
        """The rest, after the last piece."""
        return self._release(final=True).rstrip()

    def _release(self, *, final: bool) -> str:
        self._held += "".join(self._blanks)
        self._blanks.clear()
        out = ""
        position = 0
        while bracket := _BRACKET.search(self._held, position):
            mark = _MARK.match(self._held, bracket.start())
            before = self._held[position : bracket.start()]
            if mark is not None:
                known = self._known(mark[1])
                out = out + before + known if known else self._closed(out + before.rstrip())
                position = mark.end()
            elif not final and _UNFINISHED.match(self._held, bracket.start()):
                break
            else:
                out += before + bracket.group()
                position = bracket.end()
        return self._trim(out, position, final=final)

    def _trim(self, out: str, position: int, *, final: bool) -> str:
        """Release text up to the next possible mark; the white space before it stays."""
        unfinished = None if final else _UNFINISHED.search(self._held, position)
        end = unfinished.start() if unfinished else len(self._held)
        self._is_blank = unfinished is None
        ready = out + self._held[position:end]
        kept = len(ready) if final else len(ready.rstrip())
        self._held = ready[kept:] + self._held[end:]
        ready = ready[:kept] if self._begun else ready[:kept].lstrip()
        self._begun = self._begun or bool(ready)
        self._tail = (self._tail + ready)[-_TAIL:]
        return ready

    def _closed(self, out: str) -> str:
        """What stands before a mark that goes; with what follows it must not become another mark: ``[[9]9]``."""
        return f"{out}…" if _UNFINISHED.search((self._tail + out)[-_TAIL:]) else out

    def _known(self, numbers: str) -> str:
        known: dict[int, None] = {}
        for first, last in _RANGE.findall(numbers):
            low, high = sorted((int(first), int(last or first)))
            for number in range(low, high + 1):
                listed = known if 1 <= number <= self._num_sources else self._unknown
                listed[number] = None
        return "".join(f"[{number}]" for number in known)
