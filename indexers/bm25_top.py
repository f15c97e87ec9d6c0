"""The best passages for one query: BM25 from counts, without weighing postings that cannot matter.

MaxScore (Turtle & Flood 1995), a term at a time: terms are taken from the rarest to the commonest; once all
terms left could together not lift a new passage among the k best, they are looked up for the passages at hand
alone. This first look is in float32; the contenders that it leaves are scored exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragkit.indexers.lexical_shards import Flags, LexicalShard
from ragkit.indexers.section_file import damaged
from ragkit.indexers.vocabulary import IntArray
from ragkit.records import FloatArray, KeyArray

Scores = NDArray[np.float64]

# A posting is added up for a fraction of what finding one by binary search costs.
_SEARCH_COST = 8
# From this share of all passages on, going through all sums is cheaper than keeping track of the rows in use.
_DENSE = 1 / 16
_GROUP = 64


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
    def norms(self) -> FloatArray:
        """float32 (n,), what `exact_norms` gives for all rows."""
        lengths = np.concatenate(
            [np.zeros(0, np.float32), *(shard.lengths for shard in self.shards)], dtype=np.float32
        )
        np.maximum(lengths, 1, out=lengths)
        lengths *= np.float32(self.formula.slope)
        lengths += np.float32(self.formula.base)
        return lengths

    def exact_norms(self, rows: IntArray) -> Scores:
        """base + slope * length of some rows, ascending; for those without a term as of length 1, never 0."""
        lengths = np.maximum(self._gather("lengths", rows), 1)
        norms: Scores = self.formula.base + self.formula.slope * lengths
        return norms

    def keys(self, rows: IntArray) -> KeyArray:
        """The passages at some rows, ascending."""
        return self._gather("keys", rows)

    def _gather(self, name: str, rows: IntArray) -> NDArray[Any]:
        ends = np.searchsorted(rows, self.starts).tolist()
        parts = [
            getattr(shard, name)[rows[ends[i] : ends[i + 1]] - self.starts[i]]
            for i, shard in enumerate(self.shards)
            if ends[i] < ends[i + 1]
        ]
        return np.concatenate([np.zeros(0, np.int64), *parts])


class Term:
    """A term of a query, and where in the shards it is.

    Args:
        weight: its idf, as often as the query has it; no passage gains as much from the term.
        spans: (number of a shard, begin, end) of its postings there.
    """

    def __init__(self, text: str, weight: float, spans: Sequence[tuple[int, int, int]]) -> None:
        self.text = text
        self.weight = weight
        self.num_postings = sum(end - begin for _, begin, end in spans)
        self._spans = spans
        self._joined: tuple[IntArray, FloatArray] | None = None

    def postings(self, passages: Rows) -> tuple[IntArray, FloatArray]:
        """Ascending rows of all postings, and what each gains. Dead passages are among them."""
        rows, counts = self._joined = self._join(passages)
        try:
            gains = passages.norms.take(rows)
        except IndexError as error:
            names = ", ".join(passages.shards[i].name for i, _, _ in self._spans)
            raise damaged(names, f"the postings of {self.text!r} make no sense: {error}") from error
        gains += counts
        np.divide(counts, gains, out=gains)
        gains *= np.float32(self.weight)
        return rows, gains

    def _join(self, passages: Rows) -> tuple[IntArray, FloatArray]:
        rows = np.empty(self.num_postings, np.int64)
        counts = np.empty(len(rows), np.float32)
        done = 0
        for i, begin, end in self._spans:
            shard, upto = passages.shards[i], done + end - begin
            np.add(shard.rows[begin:end], passages.starts[i], out=rows[done:upto])
            counts[done:upto] = shard.counts[begin:end]
            done = upto
        return rows, counts

    def gains_at(self, passages: Rows, rows: IntArray, norms: Scores | FloatArray) -> Scores:
        """What each of some rows (ascending), of these norms, gains; exact where the norms are."""
        counts = self._counts_at(passages, rows)
        return self.weight * counts / (counts + norms)

    def _counts_at(self, passages: Rows, rows: IntArray) -> Scores:
        if self._joined is not None:
            return _found(rows, *self._joined)
        counts = np.zeros(len(rows))
        ends = np.searchsorted(rows, passages.starts).tolist()
        for i, begin, end in self._spans:
            if ends[i] < ends[i + 1]:
                shard = passages.shards[i]
                # Of the postings' own type: another would have them all converted.
                local = (rows[ends[i] : ends[i + 1]] - passages.starts[i]).astype(np.uint32)
                counts[ends[i] : ends[i + 1]] = _found(local, shard.rows[begin:end], shard.counts[begin:end])
        return counts


def _found(wanted: NDArray[Any], rows: NDArray[Any], counts: NDArray[Any]) -> Scores:
    """The counts of wanted rows; 0 where they have none."""
    places = rows.searchsorted(wanted)
    places[places == len(rows)] = 0
    found: Scores = counts[places] * (rows[places] == wanted).astype(np.float64)
    return found


def exact_scores(passages: Rows, terms: Sequence[Term], rows: IntArray) -> Scores:
    """float64, summed in the order of the terms: which shard holds a passage changes no bit of it."""
    scores, norms = np.zeros(len(rows)), passages.exact_norms(rows)
    for term in sorted(terms, key=lambda term: term.text):
        scores += term.gains_at(passages, rows, norms)
    return scores


class ContenderSearch:
    """Finds the rows that may be among the k best, for one query after the other.

    Args:
        admitted: bool (n,), what may be a hit; None for all.
        sums: float32 (n,), zeros; zeros again after each query.
    """

    def __init__(self, passages: Rows, admitted: Flags | None, sums: FloatArray) -> None:
        self._passages = passages
        self._admitted = admitted
        self._num_admitted = len(passages) if admitted is None else int(np.count_nonzero(admitted))
        self._sums = sums

    def rows(self, terms: Sequence[Term], k: int) -> IntArray:
        """Ascending rows with a term of the query; all that are, or tie with, the k best are among them."""
        terms = sorted(terms, key=lambda term: (-term.weight, term.text))
        if not terms or not self._num_admitted:
            return np.zeros(0, np.int64)
        # The most that the terms from the i-th on can give.
        left = [*np.cumsum([term.weight for term in reversed(terms)])[::-1].tolist(), 0.0]
        # More than float32 sums can be wrong by, and than rounding a score to float32 can change its rank.
        slack = 1 - 1e-6 * (10 + len(terms))
        if self._num_admitted * _SEARCH_COST * len(terms) < sum(term.num_postings for term in terms):
            assert self._admitted is not None, "more postings than terms times passages"
            done, rows, floor = 0, np.flatnonzero(self._admitted), 0.0
            sums = np.zeros(len(rows), np.float32)
        else:
            done, rows, sums, floor = self._add_up(terms, left, k, slack)
        scores = sums.astype(np.float64)
        norms = self._passages.norms.take(rows)
        for i in range(done, len(terms)):
            scores = scores + terms[i].gains_at(self._passages, rows, norms)
            floor = max(floor, kth_best(scores, k) * slack)
            kept = np.flatnonzero(scores >= floor - left[i + 1])
            rows, scores, norms = rows[kept], scores[kept], norms[kept]
        return rows[(scores > 0) & (scores >= floor)]

    def _add_up(
        self, terms: Sequence[Term], left: Sequence[float], k: int, slack: float
    ) -> tuple[int, IntArray, FloatArray, float]:
        """Add up terms until looking the others up is cheaper: how many, rows and sums of contenders, and a floor.

        The floor is a score that k rows reach, 0 where there are not so many.
        """
        rows: IntArray | None
        rows, scores = self._admit(*terms[0].postings(self._passages))
        floor, done = 0.0, 1
        while True:
            if left[done] < left[0] - left[done]:
                floor = max(floor, kth_best(scores, k) * slack)
            contending = scores >= floor - left[done] if floor > left[done] else scores > 0
            if done == len(terms) or (floor > left[done] and self._lookup_pays(contending, terms[done:])):
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

    def _add(self, rows: IntArray | None, term: Term) -> tuple[IntArray | None, FloatArray]:
        """Add a term to the sums of some rows (None: of all): the rows that have sums then, and the sums."""
        added, gains = term.postings(self._passages)
        if rows is None or len(rows) + len(added) > len(self._sums) * _DENSE:
            np.add.at(self._sums, added, gains)
            return None, self._sums if self._admitted is None else self._sums * self._admitted
        added, gains = self._admit(added, gains)
        sums = self._sums.take(added)
        rows = np.concatenate([rows, added[sums == 0]])
        self._sums[added] = sums + gains
        return rows, self._sums.take(rows)

    def _admit(self, rows: IntArray, gains: FloatArray) -> tuple[IntArray, FloatArray]:
        if self._admitted is None:
            return rows, gains
        kept = self._admitted[rows]
        return rows[kept], gains[kept]


def kth_best(scores: FloatArray | Scores, k: int) -> float:
    """A score that at least k of the scores reach, near the k-th best; 0 where there are fewer than k."""
    # The k-th best of the maxima of groups: quick, and lower only where two of the best share a group.
    size = min(_GROUP, len(scores) // (4 * k))
    if size > 1:
        whole = len(scores) // size * size
        scores = scores[:whole].reshape(size, -1).max(axis=0)
    if len(scores) < k:
        return 0.0
    return float(np.partition(scores, len(scores) - k)[len(scores) - k])
