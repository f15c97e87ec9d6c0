"""Places where a text that is too long can be cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from ragkit.errors import ContextLengthError
from ragkit.sentences import sentence_spans

Size = TypeVar("Size")
Built = TypeVar("Built")

# Lengths grow by so much from one to the next, so that a million characters are four hundred places.
_GROWTH = 1.03
# A space this near before a place is taken instead of it.
_NEAR = 0.9


def sentence_cuts(text: str) -> list[int]:
    """The ends of all sentences but the last, ascending."""
    return [end for _, end in sentence_spans(text)][:-1]


def word_cuts(text: str) -> list[int]:
    """Ascending lengths, a few hundredths apart, at the ends of words where the script has spaces."""
    cuts: dict[int, None] = {}
    length = 1.0
    while length < len(text):
        place = int(length)
        space = max(text.rfind(" ", 0, place + 1), text.rfind("\n", 0, place + 1))
        cut = len(text[: space if space > place * _NEAR else place].rstrip())
        if cut:
            cuts[cut] = None
        length = max(length + 1, length * _GROWTH)
    return sorted(cuts)


def longest(cuts: Sequence[int], fits: Callable[[int], bool]) -> int:
    """The last of ascending cuts that fits, or 0; a cut before one that fits is taken to fit too."""
    low, high = 0, len(cuts)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(cuts[middle - 1]) else (low, middle - 1)
    return cuts[low - 1] if low else 0


def largest_that_fits(sizes: Sequence[Size], build: Callable[[Size], Built]) -> Built:
    """What is built of the first of the sizes, largest first, that fits; the first is tried first.

    Raises:
        ContextLengthError: none does.
    """
    built: dict[int, Built] = {}

    def fits(number: int) -> bool:
        with suppress(ContextLengthError):
            built[number] = build(sizes[-number])
        return number in built

    number = len(sizes) if fits(len(sizes)) else longest(range(1, len(sizes)), fits)
    return built[number] if number else build(sizes[-1])
