"""The terms of a lexical shard, found by binary search in a mapped file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
TermArray = NDArray[np.bytes_]


class Vocabulary:
    """Terms in UTF-8 ordered by their number of bytes, then by their bytes; a term's number is its place.

    Terms of one width lie side by side, so they are a numpy array of fixed-width strings wherever
    they are: no offset is kept for a term, and two vocabularies merge without a loop over terms.

    Args:
        widths: int64 (w,), the numbers of bytes that occur, ascending.
        firsts: int64 (w + 1,), number of the first term of each width, and how many terms there are.
        blob: uint8, all terms one after the other.
    """

    def __init__(self, widths: IntArray, firsts: IntArray, blob: NDArray[np.uint8]) -> None:
        self.widths = widths
        self.firsts = firsts
        self.blob = blob
        self._offsets = np.concatenate([[0], np.cumsum(widths * np.diff(firsts))])

    def __len__(self) -> int:
        return int(self.firsts[-1])

    def find(self, term: str) -> int:
        """The number of a term; -1 where it is none of these."""
        encoded = term.encode()
        place = int(np.searchsorted(self.widths, len(encoded)))
        terms = self._group(place, len(encoded))
        if not len(terms):
            return -1
        wanted = np.array(encoded, terms.dtype)
        at = int(np.searchsorted(terms, wanted))
        return int(self.firsts[place]) + at if at < len(terms) and terms[at] == wanted else -1

    def of_width(self, width: int) -> tuple[int, TermArray]:
        """The number of the first term of so many bytes, and all terms of that width."""
        place = int(np.searchsorted(self.widths, width))
        return int(self.firsts[place]), self._group(place, width)

    def _group(self, place: int, width: int) -> TermArray:
        if place == len(self.widths) or self.widths[place] != width:
            return np.zeros(0, f"S{width}")
        return self.blob[self._offsets[place] : self._offsets[place + 1]].view(f"S{width}")


def number_terms(terms: Iterable[str]) -> tuple[Vocabulary, IntArray]:
    """A vocabulary of distinct terms, and the number of each of them."""
    encoded = [term.encode() for term in terms]
    order = sorted(range(len(encoded)), key=lambda i: (len(encoded[i]), encoded[i]))
    numbers = np.empty(len(encoded), np.int64)
    numbers[order] = np.arange(len(encoded))
    widths, counts = np.unique(np.fromiter(map(len, encoded), np.int64, len(encoded)), return_counts=True)
    blob = np.frombuffer(b"".join(encoded[i] for i in order), np.uint8)
    return Vocabulary(widths, _starts(counts), blob), numbers


def merge_vocabularies(
    vocabularies: Sequence[Vocabulary], kept: Sequence[NDArray[np.bool_]]
) -> tuple[Vocabulary, list[IntArray]]:
    """The union of the kept terms, and for each vocabulary the new numbers of its kept terms, ascending.

    Args:
        kept: bool (number of terms,) for each vocabulary.
    """
    numbers: list[list[IntArray]] = [[np.zeros(0, np.int64)] for _ in vocabularies]
    widths: list[int] = []
    blobs: list[TermArray] = []
    total = 0
    counts: list[int] = []
    for width in sorted({width for vocabulary in vocabularies for width in vocabulary.widths.tolist()}):
        groups = [_kept_of(vocabulary, keep, width) for vocabulary, keep in zip(vocabularies, kept, strict=True)]
        union, places = _union(groups)
        for own, new in zip(numbers, places, strict=True):
            own.append(new + total)
        if len(union):
            widths.append(width)
            counts.append(len(union))
            blobs.append(union)
            total += len(union)
    blob = np.concatenate([np.zeros(0, np.uint8), *(terms.view(np.uint8) for terms in blobs)])
    merged = Vocabulary(np.array(widths, np.int64), _starts(counts), blob)
    return merged, [np.concatenate(own) for own in numbers]


def _kept_of(vocabulary: Vocabulary, keep: NDArray[np.bool_], width: int) -> TermArray:
    first, terms = vocabulary.of_width(width)
    return terms[keep[first : first + len(terms)]]


def _union(groups: Sequence[TermArray]) -> tuple[TermArray, list[IntArray]]:
    """Distinct terms in order, and the places of each group's terms among them."""
    together = np.concatenate(groups)
    # Stable sorting is fast on what is made of sorted runs.
    order = np.argsort(together, kind="stable")
    ordered = together[order]
    is_first = np.ones(len(ordered), bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    places = np.empty(len(ordered), np.int64)
    places[order] = np.cumsum(is_first) - 1
    ends = np.cumsum([len(group) for group in groups])
    return ordered[is_first], np.split(places, ends[:-1])


def _starts(counts: Any) -> IntArray:
    """Where runs of so many begin, and the end of the last."""
    starts = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=starts[1:])
    return starts
