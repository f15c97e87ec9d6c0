"""A query and its first passages as one sequence of tokens: [CLS] q [SEP] p1 [SEP] … (LoL, arXiv 2204.11545)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TokenArray = NDArray[np.int64]
NO_SEPARATOR = -100


@dataclass(frozen=True, slots=True)
class SequenceLimits:
    """In tokens. query, passage: without special tokens. total: of the whole sequence.

    least: where fewer are left, no further passage begins.
    """

    query: int = 128
    passage: int = 128
    total: int = 512
    least: int = 10


@dataclass(frozen=True, slots=True)
class FeedbackSequence:
    """ids, types: one a token; types are 0 in the query and 1 in passages. separators: places of all [SEP]."""

    ids: tuple[int, ...]
    types: tuple[int, ...]
    separators: tuple[int, ...]

    @property
    def num_passages(self) -> int:
        """How many passages there was room for."""
        return len(self.separators) - 1

    def first(self, count: int) -> FeedbackSequence:
        """With at most so many passages; all where there are fewer."""
        kept = min(count, self.num_passages)
        end = self.separators[kept] + 1
        return FeedbackSequence(self.ids[:end], self.types[:end], self.separators[: kept + 1])


@dataclass(frozen=True, slots=True)
class SequenceBatch:
    """int64 (n, width): padded on the right, mask 1 where a token is. separators: (n, most), padded by -100."""

    ids: TokenArray
    mask: TokenArray
    types: TokenArray
    separators: TokenArray


def feedback_sequence(
    query: Sequence[int], passages: Sequence[Sequence[int]], cls: int, sep: int, limits: SequenceLimits
) -> FeedbackSequence:
    """From tokens without special ones; the last passage is cut to the room that is left."""
    ids = [cls, *query[: limits.query], sep]
    separators = [len(ids) - 1]
    num_query = len(ids)
    for passage in passages:
        room = limits.total - len(ids)
        if room < limits.least:
            break
        ids += [*passage[: min(limits.passage, room - 1)], sep]
        separators.append(len(ids) - 1)
    types = [0] * num_query + [1] * (len(ids) - num_query)
    return FeedbackSequence(tuple(ids), tuple(types), tuple(separators))


def collate(sequences: Sequence[FeedbackSequence], pad: int, least: int = 0) -> SequenceBatch:
    """Rows in this order; `pad` is the token that fills them up, to `least` tokens or the longest."""
    longest = max(len(one.ids) for one in sequences)
    width, most = max(least, longest), max(len(one.separators) for one in sequences)
    return SequenceBatch(
        _padded([one.ids for one in sequences], pad, width),
        _padded([(1,) * len(one.ids) for one in sequences], 0, width),
        _padded([one.types for one in sequences], 0, width),
        _padded([one.separators for one in sequences], NO_SEPARATOR, most),
    )


def _padded(rows: Sequence[Sequence[int]], fill: int, width: int) -> TokenArray:
    padded = np.full((len(rows), width), fill, np.int64)
    for row, values in zip(padded, rows, strict=True):
        row[: len(values)] = values
    return padded
