"""The text of one PDF page and the place of each word on it."""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from functools import cache
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ragkit.indexers.readers.hyphens import LineEndHyphens
from ragkit.indexers.readers.plain_text import without_controls
from ragkit.records import WordBoxes

# PDFium's mark for a hyphen at the end of a line, which it joins to the next; other control characters
# are codes of glyphs that the font gives no meaning.
_LINE_END_HYPHEN = "\x02"
# Not \s: to Python the control characters 1c-1f are white space too.
_SPACE = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_WORD = re.compile(f"[^{_SPACE}]+")
# Scripts without spaces would make one word of a line: there what ends a clause ends a word too.
_CLAUSE_END = "。！？；：，、｡．"
_CLOSING = "」』”’）》】〉〕"
_WORD_OR_CLAUSE = re.compile(f"[^{_SPACE}{_CLAUSE_END}]*[{_CLAUSE_END}]+[{_CLOSING}]*|[^{_SPACE}{_CLAUSE_END}]+")
_HAS_CLAUSE_END = re.compile(f"[{_CLAUSE_END}]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_MEANINGLESS = re.compile("[\x00-\x01\x03-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ue000-\uf8ff\ufff0-\uffff]")


@dataclass(frozen=True, slots=True)
class PageFrame:
    """The visible part of a page in its own points, and how far it is turned.

    rotation: quarter turns clockwise, 0 to 3. width_pt, height_pt: as the reader sees the page.
    """

    left: float
    bottom: float
    right: float
    top: float
    rotation: int

    @property
    def width_pt(self) -> float:
        return abs(self.top - self.bottom if self.rotation % 2 else self.right - self.left)

    @property
    def height_pt(self) -> float:
        return abs(self.right - self.left if self.rotation % 2 else self.top - self.bottom)

    def shares(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Boxes (n, 4) of left, bottom, right, top in points as left, top, right, bottom in shares."""
        width, height = self.right - self.left, self.top - self.bottom
        x = (boxes[:, [0, 2]] - self.left) / width
        y = (self.top - boxes[:, [3, 1]]) / height
        for _ in range(self.rotation % 4):
            # A quarter turn clockwise takes the point (x, y) to (1 - y, x).
            x, y = 1 - y[:, ::-1], x
        return np.column_stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]])


class PageText(NamedTuple):
    """Text of a page as it is to be stored, with what tells whether it is worth having.

    num_letters: letters and digits in it. readable: False where the font gives most characters no meaning.
    """

    text: str
    words: WordBoxes
    num_letters: int
    readable: bool


def read_page_text(text_page: Any, frame: PageFrame, hyphens: LineEndHyphens) -> PageText:
    """Read an FPDF_TEXTPAGE in PDFium's reading order; the caller holds `PDFIUM_LOCK`.

    Words outside the visible part of the page are left out. A word broken at the end of a line
    counts as two entries of `words`, one a line.
    """
    functions = _functions()
    handle = ctypes.cast(text_page, ctypes.c_void_p).value
    count = max(0, functions.count(handle))
    # One entry is one UTF-16 code unit, so characters beyond U+FFFF are two entries.
    raw = "".join(map(chr, map(functions.unicode, repeat(handle, count), range(count))))
    readable = _is_readable(raw)
    parts = _find_parts(raw, handle, functions)
    boxes = frame.shares(_unions(_char_boxes(handle, count, functions), parts))
    # A part without any box (a character that draws nothing) stays; one that lies outside does not.
    outside = (boxes[:, 0] >= 1) | (boxes[:, 2] <= 0) | (boxes[:, 1] >= 1) | (boxes[:, 3] <= 0)
    kept = np.flatnonzero(~outside)
    text, words = _assemble(raw, parts.select(kept), boxes[kept], hyphens)
    return PageText(text, words, sum(map(str.isalnum, text)), readable)


class _Functions(NamedTuple):
    count: Any
    unicode: Any
    is_hyphen: Any
    char_box: Any


@cache
def _functions() -> _Functions:
    """The functions called for each character, as pointers that keep Python's global lock.

    pypdfium2's own give it up for each call; another busy thread then takes it, and a page of
    4,000 characters waits for it 8,000 times.
    """
    from pypdfium2 import raw

    pointer, integer = ctypes.c_void_p, ctypes.c_int

    def direct(function: Any, result: Any, *arguments: Any) -> Any:
        return ctypes.PYFUNCTYPE(result, *arguments)(ctypes.cast(function, pointer).value or 0)

    return _Functions(
        count=direct(raw.FPDFText_CountChars, integer, pointer),
        unicode=direct(raw.FPDFText_GetUnicode, ctypes.c_uint, pointer, integer),
        is_hyphen=direct(raw.FPDFText_IsHyphen, integer, pointer, integer),
        char_box=direct(raw.FPDFText_GetCharBox, integer, pointer, integer, *[pointer] * 4),
    )


def _is_readable(raw: str) -> bool:
    visible = sum(map(len, _WORD.findall(raw)))
    return len(_MEANINGLESS.findall(raw)) <= 0.3 * visible


class _Parts(NamedTuple):
    """Words, clauses of scripts without spaces, and the halves of words that are broken at the end of a line:
    raw[starts[i] : ends[i]].

    broken: whether the part goes on with the word that the part before began. A first half ends with
    the mark of the hyphen, whose place is on its line.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    broken: NDArray[np.bool_]

    def select(self, rows: NDArray[np.int64]) -> _Parts:
        return _Parts(self.starts[rows], self.ends[rows], self.broken[rows])


def _find_parts(raw: str, handle: int | None, functions: _Functions) -> _Parts:
    bounds: list[tuple[int, int, bool]] = []
    for match in (_WORD_OR_CLAUSE if _HAS_CLAUSE_END.search(raw) else _WORD).finditer(raw):
        start, end = match.span()
        broken = False
        mark = raw.find(_LINE_END_HYPHEN, start, end)
        while mark >= 0:
            if functions.is_hyphen(handle, mark) == 1 and mark + 1 < end:
                bounds.append((start, mark + 1, broken))
                start, broken = mark + 1, True
            mark = raw.find(_LINE_END_HYPHEN, mark + 1, end)
        bounds.append((start, end, broken))
    table = np.array(bounds, np.int64).reshape(-1, 3)
    return _Parts(table[:, 0], table[:, 1], table[:, 2] == 1)


def _char_boxes(handle: int | None, count: int, functions: _Functions) -> NDArray[np.float64]:
    """Left, bottom, right, top of each entry in points, (count, 4); zeros where it has no place."""
    boxes = np.zeros((count, 4))
    base, step = boxes.ctypes.data, 4 * boxes.itemsize

    def field(index: int) -> range:
        first = base + index * boxes.itemsize
        return range(first, first + count * step, step)

    # The function takes its places in the order left, right, bottom, top.
    places = (field(0), field(2), field(1), field(3))
    for _ in map(functions.char_box, repeat(handle, count), range(count), *places):
        pass
    return boxes


def _unions(boxes: NDArray[np.float64], parts: _Parts) -> NDArray[np.float64]:
    """The box around the entries of each part, (parts, 4); NaN where none of them has one."""
    if not len(parts.starts):
        return np.zeros((0, 4))
    placed = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    least = np.where(placed[:, None], boxes[:, :2], np.inf)
    most = np.where(placed[:, None], boxes[:, 2:], -np.inf)
    # reduceat reduces from each index to the next: every second result is of the gap between parts.
    cuts = np.column_stack([parts.starts, parts.ends]).ravel()
    least = np.minimum.reduceat(np.vstack([least, [[np.inf] * 2]]), cuts)[::2]
    most = np.maximum.reduceat(np.vstack([most, [[-np.inf] * 2]]), cuts)[::2]
    unions = np.hstack([least, most])
    return np.where(np.isfinite(unions).all(axis=1, keepdims=True), unions, np.nan)


def _assemble(
    raw: str, parts: _Parts, boxes: NDArray[np.float64], hyphens: LineEndHyphens
) -> tuple[str, WordBoxes]:
    """The page's text from its parts, with the span and box of each."""
    bounds = list(zip(parts.starts.tolist(), parts.ends.tolist(), parts.broken.tolist(), strict=True))
    # A part is a half of a word where it, or the part after it, goes on with one.
    halves = parts.broken | np.append(parts.broken[1:], False)
    cleaned = [_cleaned(raw[start:end]) for start, end, _ in bounds]
    hyphens.learn(word for word, half in zip(cleaned, halves.tolist(), strict=True) if not half)
    pieces: list[str] = []
    spans: list[tuple[int, int, int]] = []
    length = last_end = 0
    for index, (word, (start, end, broken)) in enumerate(zip(cleaned, bounds, strict=True)):
        if not word:
            # What says nothing stands between nothing either.
            last_end = end if start == last_end else last_end
            continue
        if not pieces:
            between = ""
        elif start == last_end:
            between = hyphens.joint(pieces[-1], word) if broken else ""
        else:
            between = _gap(raw[last_end:start])
        pieces += [between, word]
        spans.append((length + len(between), length + len(between) + len(word), index))
        length += len(between) + len(word)
        last_end = end
    return "".join(pieces), _word_boxes(spans, boxes)


def _word_boxes(spans: list[tuple[int, int, int]], boxes: NDArray[np.float64]) -> WordBoxes:
    table = np.array(spans, np.int32).reshape(-1, 3)
    own = boxes[table[:, 2]]
    placed = np.isfinite(own[:, 0])
    return WordBoxes(table[placed, :2], np.clip(own[placed], 0, 1).astype(np.float32))


def _cleaned(part: str) -> str:
    if part.isascii() and part.isprintable():
        return part
    if _SURROGATE.search(part):
        part = part.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return without_controls(part)


def _gap(between: str) -> str:
    """White space as it is stored. What else stands in it belongs to words that were left out."""
    breaks = between.count("\n")
    return "\n" * min(breaks, 2) if breaks else " "
