"""Marks: the numbers in square brackets by which an answer names its sources."""

from __future__ import annotations

import re
from bisect import bisect_left
from itertools import chain

from ragkit.sentences import Span

_OPEN, _CLOSE = r"[\[【［]", r"[\]】］]"
_LABEL = r"(?:\^|#|(?:sources?|docs?|documents?)\s?[:#]?\s?)"
_ONE = rf"{_LABEL}?\d{{1,3}}"
_NUMBERS = rf"{_ONE}(?:\s?(?:[,;–-]|&|\band\b)\s?{_ONE}){{0,15}}"
# Behind a dagger some models write what kind of thing the source is.
_KIND = rf"†[^{_CLOSE[1:-1]}\n]{{0,40}}"
_MARK = re.compile(rf"{_OPEN}\s?({_NUMBERS})\s?(?:{_KIND})?{_CLOSE}", re.IGNORECASE)
_WORD_BEGUN = r"(?:s(?:o(?:u(?:r(?:c(?:es?)?)?)?)?)?|d(?:o(?:c(?:s|u(?:m(?:e(?:n(?:ts?)?)?)?)?)?)?)?)\s?[:#]?"
# The beginning of what may become a mark with the next piece of a stream.
_UNFINISHED = re.compile(
    rf"{_OPEN}\s?(?:[\^#]?|{_WORD_BEGUN}\s?|{_LABEL}?\d(?:[\s\d,;–&#:^-]|(?<=[\s,;])(?:{_WORD_BEGUN}|an?d?)){{0,110}}"
    rf"(?:{_KIND})?)\Z",
    re.IGNORECASE,
)
# What may be code, and where a mark may stand.
_STOP = re.compile(rf"`+|{_OPEN}")
_RANGE = re.compile(r"(\d+)(?:\s?[–-]\s?(\d+))?")
_PLAIN_MARK = re.compile(r"\[(\d{1,3})\]")
# As long as the longest beginning of a mark.
_TAIL = 120
# Code in Markdown: lines between fences, and what stands between backticks on one line. A line of a source that is
# quoted with a mark opens no fence, and a mark may stand behind one that closes.
_FENCE = re.compile(r"`{3,}[^\n`\[【［]{0,40}\n")
_FENCE_BEGUN = re.compile(r"`{3,}[^\n`\[【［]{0,40}\Z")
_FENCE_END = re.compile(r"(?<=\n)[^\S\n]{0,40}>?[^\S\n]{0,40}`{3,}(?=[^\S\n]{0,40}(?:[\n\[【［]|\Z))")
_FENCE_END_BEGUN = re.compile(r"(?<=\n)[^\S\n]{0,40}>?[^\S\n]{0,40}`{0,40}[^\S\n]{0,40}\Z")
_LONGEST_BLANK = 41
_INLINE = re.compile(r"(`{1,3})(?!`)[^`\n]{1,200}\1(?!`)")
_INLINE_BEGUN = re.compile(r"`{1,3}(?:[^`\n]{1,200}`{0,3})?\Z")
_TICKS = re.compile("`+")
# In place of a bracket in code: of the same length, and in no text.
_HIDDEN = "\ufdd0"


def code_spans(text: str) -> list[Span]:
    """Start and end of code in Markdown, with its fences or backticks. A fence that is not closed makes none."""
    if "`" not in text:
        return []
    ends = [end.span() for end in _FENCE_END.finditer(text)]
    spans: list[Span] = []
    position = 0
    while ticks := _TICKS.search(text, position):
        position = ticks.end()
        if fence := _FENCE.match(text, ticks.start()):
            # The newline of the fence may be the one before its end.
            place = bisect_left(ends, (fence.end(), 0))
            code = (ticks.start(), ends[place][1]) if place < len(ends) else None
        else:
            inline = _INLINE.match(text, ticks.start())
            code = inline.span() if inline else None
        if code is not None:
            spans.append(code)
            position = code[1]
    return spans


def hide_code(text: str) -> str:
    """The text, in which no bracket of code reads as a mark; `show_code` undoes it. Places stay what they are."""
    out, position = "", 0
    for start, end in code_spans(text):
        out += text[position:start] + text[start:end].replace("[", _HIDDEN)
        position = end
    return out + text[position:]


def show_code(text: str) -> str:
    """What `hide_code` hid."""
    return text.replace(_HIDDEN, "[")


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
    return _MARK.sub(r"(\1)", text) if "[" in text or "【" in text or "［" in text else text


class MarkFilter:
    """Passes a text on in pieces, with every mark written ``[n]`` and marks of no source taken out.

    ``[1, 2]``, ``[1-3]``, ``[source 1]`` and ``【1】`` become ``[1][2]``, ``[1][2][3]``, ``[1]`` and ``[1]``. Code
    stays as it is, and so do intervals: ranges that name no source, and several numbers of which one is 0.
    Only an unfinished bracket or code between backticks, and white space before it, are held back. The pieces
    joined are the same however the text was cut, without white space at both ends.
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
        self._is_fenced = False

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
        out: list[str] = []
        start, hold = 0, None
        while hold is None:
            start, hold = self._next(out, start, final=final)
        out.append(self._held[start:hold])
        return self._trim("".join(out), hold, final=final)

    # Each of these puts out what was read, and gives where the rest of `_held` begins and from where it has to
    # wait for the next piece, if it must.

    def _next(self, out: list[str], start: int, *, final: bool) -> tuple[int, int | None]:
        if self._is_fenced:
            return self._past_fence(out, start, final=final)
        stop = _STOP.search(self._held, start)
        if stop is None:
            return start, len(self._held)
        return (self._past_ticks if stop.group()[0] == "`" else self._past_bracket)(out, start, stop, final=final)

    def _past_fence(self, out: list[str], start: int, *, final: bool) -> tuple[int, int | None]:
        held = self._held
        end = _FENCE_END.search(held, start)
        behind = held[end.end() : end.end() + _LONGEST_BLANK] if end else ""
        if end is None or not (final or behind.strip() or "\n" in behind):
            begun = None if final else _FENCE_END_BEGUN.search(held, start)
            return start, begun.start() if begun else len(held)
        self._is_fenced = False
        out.append(held[start : end.end()])
        return end.end(), None

    def _past_ticks(
        self, out: list[str], start: int, stop: re.Match[str], *, final: bool
    ) -> tuple[int, int | None]:
        held, at, end = self._held, stop.start(), stop.end()
        if not final and (end == len(held) or _INLINE_BEGUN.match(held, at) or _FENCE_BEGUN.match(held, at)):
            return start, at
        if fence := _FENCE.match(held, at):
            self._is_fenced, end = True, fence.end()
        elif code := _INLINE.match(held, at):
            end = code.end()
        out.append(held[start:end])
        return end, None

    def _past_bracket(
        self, out: list[str], start: int, stop: re.Match[str], *, final: bool
    ) -> tuple[int, int | None]:
        held, at = self._held, stop.start()
        mark = _MARK.match(held, at)
        if mark is None and not final and _UNFINISHED.match(held, at):
            return start, at
        known = self._known(mark) if mark else held[at]
        if known:
            out += (held[start:at], known)
        else:
            # Without empty pieces, for `_close` looks back over some characters.
            out += filter(None, [held[start:at].rstrip()])
            self._close(out)
        return (mark.end() if mark else at + 1), None

    def _trim(self, ready: str, hold: int, *, final: bool) -> str:
        """Release what is ready; the white space at its end stays with what is held."""
        rest = self._held[hold:]
        self._is_blank = not rest
        kept = len(ready) if final else len(ready.rstrip())
        self._held = ready[kept:] + rest
        ready = ready[:kept] if self._begun else ready[:kept].lstrip()
        self._begun = self._begun or bool(ready)
        self._tail = (self._tail + ready)[-_TAIL:]
        return ready

    def _close(self, out: list[str]) -> None:
        """What stands before a mark that goes; with what follows it must not become another mark: ``[[9]9]``."""
        tail = ""
        for piece in chain(reversed(out), (self._tail,)):
            tail = piece[-_TAIL:] + tail
            if len(tail) >= _TAIL:
                break
        if _UNFINISHED.search(tail[-_TAIL:]):
            out.append("…")

    def _known(self, mark: re.Match[str]) -> str:
        """The mark with the numbers of sources alone; as it is where it is none."""
        known: dict[int, None] = {}
        unknown: dict[int, None] = {}
        ranges = [(int(first), int(last or first)) for first, last in _RANGE.findall(mark[1])]
        for numbers in ranges:
            for number in range(min(numbers), max(numbers) + 1):
                (known if 1 <= number <= self._num_sources else unknown)[number] = None
        is_interval = not known and any(first != last for first, last in ranges)
        if is_interval or (0 in unknown and len(ranges) > 1):
            return mark.group()
        self._unknown |= unknown
        return "".join(f"[{number}]" for number in known)
