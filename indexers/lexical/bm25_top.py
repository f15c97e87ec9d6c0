"""The best passages for one query: BM25 from counts, without weighing postings that cannot matter.

MaxScore (Turtle & Flood 1995), a term at a time: terms are taken from the rarest to the commonest; once all
terms left could together not lift a new passage among the k best, they are looked up for the passages at hand
alone. Either way each passage's sum is made in float64 in the order of the terms, which depends on the
passages of the corpus and not on the shards that hold them: nor does any bit of a score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from sys import float_info
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragkit.indexers.lexical.lexical_shards import Flags, LexicalShard
from ragkit.indexers.lexical.section_file import damaged
from ragkit.indexers.lexical.vocabulary import IntArray
from ragkit.records import KeyArray

Scores = NDArray[np.float64]

# A posting is added up for a fraction of what finding one by binary search costs.
_SEARCH_COST = 8
# From this share of all passages on, going through all sums is cheaper than keeping track of the rows in use.
_DENSE = 1 / 16
_GROUP = 64
# Scores are rounded to float32 before they are ranked; what then ties with the k-th best must be above the floor.
_SLACK = 1 - 1e-6


@dataclass(frozen=True, slots=True)
class Formula:
    """Lucene's gain from a term that a passage has `count` times: count / (count + base + slope * length)."""

    base: float
    slope: float


class Rows:
    """The passages of several shards, numbered one shard after the other."""

    def __init__(self, shards: Sequence[LexicalShard], formula: Formula) -> None:
        self.shards = shards
        self.formula = formula
        self.starts = np.concatenate([[0], np.cumsum([len(shard) for shard in shards], dtype=np.int64)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    @cached_property
    def norms(self) -> Scores:
        """float64 (n,), base + slope * length; for passages without a term as of length 1, so never 0."""
        lengths = np.concatenate([np.zeros(0), *(shard.lengths for shard in self.shards)], dtype=np.float64)
        np.maximum(lengths, 1, out=lengths)
        lengths *= self.formula.slope
        lengths += self.formula.base
        return lengths

    def keys(self, rows: IntArray) -> KeyArray:
        """The passages at some rows, ascending."""
        ends = np.searchsorted(rows, self.starts).tolist()
        keys = [
            shard.keys[rows[ends[i] : ends[i + 1]] - self.starts[i]]
            for i, shard in enumerate(self.shards)
            if ends[i] < ends[i + 1]
        ]
        return np.concatenate([np.zeros(0, np.int64), *keys])


class Term:
    """A term of a query, and where in the shards it is.

    Args:
        weight: its idf times its weight in the query; no passage gains as much from the term.
        spans: (number of a shard, begin, end) of its postings there.
    """

    def __init__(self, text: str, weight: float, spans: Sequence[tuple[int, int, int]]) -> None:
        self.text = text
        self.weight = weight
        self.num_postings = sum(end - begin for _, begin, end in spans)
        self._spans = spans
        self._postings: tuple[IntArray, Scores] | None = None

    def postings(self, passages: Rows) -> tuple[IntArray, Scores]:
        """Ascending rows of all postings, and what each gains; kept. Dead passages are among them."""
        if self._postings is None:
            rows, counts = self._join(passages)
            try:
                gains = passages.norms.take(rows)
            except IndexError as error:
                names = ", ".join(passages.shards[i].name for i, _, _ in self._spans)
                raise damaged(names, f"the postings of {self.text!r} make no sense: {error}") from error
            gains += counts
            np.divide(counts, gains, out=gains)
            gains *= self.weight
            self._postings = rows, gains
        return self._postings

    @property
    def is_kept(self) -> bool:
        """Whether the postings are in memory."""
        return self._postings is not None

    def _join(self, passages: Rows) -> tuple[IntArray, Scores]:
        rows = np.empty(self.num_postings, np.int64)
        counts = np.empty(len(rows))
        done = 0
        for i, begin, end in self._spans:
            shard, upto = passages.shards[i], done + end - begin
            np.add(shard.rows[begin:end], passages.starts[i], out=rows[done:upto])
            counts[done:upto] = shard.counts[begin:end]
            done = upto
        return rows, counts

    def gains_at(self, passages: Rows, rows: IntArray, norms: Scores) -> Scores:
        """What each of some rows (ascending), of these norms, gains: to the bit what `postings` says."""
        if self._postings is not None:
            return _found(rows, *self._postings)
        counts = np.zeros(len(rows))
        ends = np.searchsorted(rows, passages.starts).tolist()
        for i, begin, end in self._spans:
            if ends[i] < ends[i + 1]:
                shard = passages.shards[i]
                # Of the postings' own type: another would have them all converted.
                local = (rows[ends[i] : ends[i + 1]] - passages.starts[i]).astype(np.uint32)
                counts[ends[i] : ends[i + 1]] = _found(local, shard.rows[begin:end], shard.counts[begin:end])
        gains: Scores = counts / (norms + counts)
        gains *= self.weight
        return gains


def _found(wanted: NDArray[Any], rows: NDArray[Any], values: NDArray[Any]) -> Scores:
    """The values of wanted rows; 0 where they have none."""
    places = rows.searchsorted(wanted)
    places[places == len(rows)] = 0
    found: Scores = values[places] * (rows[places] == wanted).astype(np.float64)
    return found


class ContenderSearch:
    """Finds the rows that may be among the k best, for one query after the other.

    Args:
        admitted: bool (n,), what may be a hit; None for all.
        sums: float64 (n,), zeros; zeros again after each query.
    """

    def __init__(self, passages: Rows, admitted: Flags | None, sums: Scores) -> None:
        self._passages = passages
        self._admitted = admitted
        self._num_admitted = len(passages) if admitted is None else int(np.count_nonzero(admitted))
        self._sums = sums

    def contenders(self, terms: Sequence[Term], k: int) -> tuple[IntArray, Scores]:
        """Ascending rows and their scores; all that are, or tie with, the k best hits are among them."""
        terms = sorted(terms, key=lambda term: (-term.weight, term.text))
        if not terms or not self._num_admitted:
            return np.zeros(0, np.int64), np.zeros(0)
        # The most that the terms from the i-th on can give.
        left = [*np.cumsum([term.weight for term in reversed(terms)])[::-1].tolist(), 0.0]
        if self._num_admitted * _SEARCH_COST * len(terms) < sum(term.num_postings for term in terms):
            assert self._admitted is not None, "more postings than terms times passages"
            done, rows, floor = 0, np.flatnonzero(self._admitted), 0.0
            scores = np.zeros(len(rows))
        else:
            done, rows, scores, floor = self._add_up(terms, left, k)
        norms = self._passages.norms.take(rows)
        for i in range(done, len(terms)):
            scores = scores + terms[i].gains_at(self._passages, rows, norms)
            floor = max(floor, kth_best(scores, k))
            kept = np.flatnonzero(scores >= floor - left[i + 1])
            rows, scores, norms = rows[kept], scores[kept], norms[kept]
        found = np.flatnonzero((scores > 0) & (scores >= floor))
        return rows[found], scores[found]

    def _add_up(self, terms: Sequence[Term], left: Sequence[float], k: int) -> tuple[int, IntArray, Scores, float]:
        """Add up terms until looking the others up is cheaper: how many, rows and sums of contenders, and a floor.

        The floor is a score that k rows reach, 0 where there are not so many.
        """
        rows: IntArray | None
        rows, scores = self._gains(terms[0])
        floor, done = 0.0, 1
        while True:
            if left[done] < left[0] - left[done]:
                floor = max(floor, kth_best(scores, k))
            if done == len(terms) or floor > left[done]:
                contending = scores >= max(floor - left[done], float_info.min)
                if done == len(terms) or self._lookup_pays(contending, terms[done:]):
                    break
            if done == 1:
                self._sums[rows] = scores
            rows, scores = self._add(rows, terms[done])
            done += 1
        contenders = np.flatnonzero(contending)
        scores = scores[contenders]
        if done > 1:
            self._sums[slice(None) if rows is None else rows] = 0
        if rows is None:
            return done, contenders, scores, floor
        contenders = rows[contenders]
        order = np.argsort(contenders)
        return done, contenders[order], scores[order], floor

    def _lookup_pays(self, contending: Flags, terms: Sequence[Term]) -> bool:
        lookups = int(np.count_nonzero(contending)) * len(terms)
        return lookups * _SEARCH_COST <= sum(term.num_postings for term in terms)

    def _add(self, rows: IntArray | None, term: Term) -> tuple[IntArray | None, Scores]:
        """Add a term to the sums of some rows (None: of all): the rows that have sums then, and the sums."""
        added, gains = self._gains(term)
        if rows is None or len(rows) + len(added) > len(self._sums) * _DENSE:
            np.add.at(self._sums, added, gains)
            return None, self._sums
        sums = self._sums.take(added)
        rows = np.concatenate([rows, added[sums == 0]])
        self._sums[added] = sums + gains
        return rows, self._sums.take(rows)

    def _gains(self, term: Term) -> tuple[IntArray, Scores]:
        """Rows of a term's postings, and what they gain: 0 where they may not be hits."""
        rows, gains = term.postings(self._passages)
        return rows, gains if self._admitted is None else gains * self._admitted.take(rows)


def kth_best(scores: Scores, k: int) -> float:
    """A score that k of the scores reach, a little below the k-th best; 0 where there are fewer than k."""
    # The k-th best of the maxima of groups: quick, and lower only where two of the best share a group.
    size = min(_GROUP, len(scores) // (4 * k))
    if size > 1:
        whole = len(scores) // size * size
        scores = scores[:whole].reshape(size, -1).max(axis=0)
    if len(scores) < k:
        return 0.0
    return float(np.partition(scores, len(scores) - k)[len(scores) - k]) * _SLACK
