"""Boxes of words become boxes of lines."""

from __future__ import annotations

from collections.abc import Sequence

from ragkit.records import Box

# Of the lower box's height: words that overlap by so much stand on one line.
_OVERLAP = 0.5
# Of the higher box's height: a wider gap divides columns.
_WIDEST_GAP = 2.0


def line_boxes(words: Sequence[Box], width: float, height: float) -> tuple[Box, ...]:
    """One box for each run of words, in reading order, that stand beside one another on a line.

    width, height: of the page, in any unit, 0 where unknown. Text may run either way along its line.
    """
    aspect = width / height if width > 0 and height > 0 else 1.0
    lines: list[Box] = []
    for word in words:
        if lines and _is_beside(lines[-1], word, aspect):
            lines[-1] = _around(lines[-1], word)
        else:
            lines.append(word)
    return tuple(lines)


def _is_beside(line: Box, word: Box, aspect: float) -> bool:
    heights = (line.bottom - line.top, word.bottom - word.top)
    shared = min(line.bottom, word.bottom) - max(line.top, word.top)
    gap = max(line.left, word.left) - min(line.right, word.right)
    return shared >= _OVERLAP * min(heights) and gap * aspect <= _WIDEST_GAP * max(heights)


def _around(one: Box, other: Box) -> Box:
    return Box(
        min(one.left, other.left),
        min(one.top, other.top),
        max(one.right, other.right),
        max(one.bottom, other.bottom),
    )
