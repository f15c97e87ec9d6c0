"""Orders of passages as a language model writes them: "[3] > [1] > [2]"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_MARK = re.compile(r"\[(\d+)\]")
_CHAIN = re.compile(r"\s*\[\d+\](?:\s*>\s*\[\d+\])*\s*")


@dataclass(frozen=True, slots=True)
class Permutation:
    """order: places from 0, each once. readable: whether the reply was a chain of marks and nothing else.

    repeated, unknown: marks that were left out, as they stood before or stand for no passage. missing: places that
    the reply lacked, which follow in their former order.
    """

    order: tuple[int, ...]
    readable: bool = True
    repeated: int = 0
    unknown: int = 0
    missing: int = 0

    @property
    def is_whole(self) -> bool:
        return self.readable and not (self.repeated or self.unknown or self.missing)


def parse_permutation(reply: str, number: int, *, is_cut: bool = False) -> Permutation:
    """The order that a reply gives to `number` passages; one that is not readable leaves them as they were.

    is_cut: the reply ended for want of tokens; what stands behind its last whole mark does not count.

    Sun et al., "Is ChatGPT Good at Search?", arXiv 2304.09542, which looks for numbers anywhere in the reply; here
    a reply that says other things is no order.
    """
    if is_cut:
        reply = reply[: reply.rfind("]") + 1]
    if not _CHAIN.fullmatch(reply):
        return Permutation(tuple(range(number)), readable=False, missing=number)
    marks = [int(mark) - 1 for mark in _MARK.findall(reply)]
    known = [mark for mark in marks if 0 <= mark < number]
    named = list(dict.fromkeys(known))
    rest = _without(range(number), named)
    return Permutation(
        (*named, *rest),
        repeated=len(known) - len(named),
        unknown=len(marks) - len(known),
        missing=len(rest),
    )


def _without(places: Sequence[int], named: Sequence[int]) -> list[int]:
    taken = set(named)
    return [place for place in places if place not in taken]
