"""BM25 over the passages of lexical shards."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ragkit.config import LexicalConfig
from ragkit.indexers.lexical.bm25_top import ContenderSearch, Formula, Rows, Scores, Term
from ragkit.indexers.lexical.lexical_language import build_in_language
from ragkit.indexers.lexical.lexical_merge import common_settings
from ragkit.indexers.lexical.lexical_shards import Flags, LexicalShard
from ragkit.indexers.lexical.section_file import damaged
from ragkit.indexers.lexical.terms import TermAnalyzer
from ragkit.indexers.lexical.vocabulary import IntArray
from ragkit.indexers.top_k import best_of
from ragkit.records import FloatArray, KeyArray

_NONE = np.zeros(0, np.int64)
# Terms whose places are remembered, a few hundred bytes each.
_REMEMBERED_TERMS = 10_000
# Postings that the queries of one call share in memory, 16 bytes each.
_SHARED_POSTINGS = 2_000_000


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a term's postings are, as `Term.spans`, and how many of them live."""

    spans: tuple[tuple[int, int, int], ...]
    frequency: int


class _SharedTerms:
    """Terms with their postings in memory, for the queries of one call that have them in common."""

    def __init__(self) -> None:
        self.terms: dict[tuple[str, float], Term] = {}
        self._num_postings = 0

    def keep(self, terms: Mapping[tuple[str, float], Term]) -> None:
        """Add those whose postings a query has put into memory; forget all when they are too many."""
        for name, term in terms.items():
            if term.is_kept and name not in self.terms:
                self.terms[name] = term
                self._num_postings += term.num_postings
        if self._num_postings > _SHARED_POSTINGS:
            self.terms.clear()
            self._num_postings = 0


class Bm25Index:
    """A `LexicalIndex` with Lucene's BM25 (Robertson et al. 1995; Kamphuis et al. 2020 on the variants).

    Weights are made when a query is asked, from the counts of all living passages: which shards hold
    them, and what was removed before, changes no score. Threads may share it.

    Args:
        shards: of one state, without common passages.
        dead: int64 ascending, keys of passages that are in the shards and no longer in the corpus; and any others.
        config: of it k1 and b; the language is that of the shards.

    Raises:
        CorpusDamagedError: the shards were made with different settings.
    """

    def __init__(self, shards: Sequence[LexicalShard], dead: KeyArray, config: LexicalConfig) -> None:
        self._analyzer = TermAnalyzer(*common_settings(shards))
        self._shards = [shard for shard in shards if len(shard)]
        gone = [shard.rows_of(dead) for shard in self._shards]
        self._num_living = sum(map(len, self._shards)) - sum(map(len, gone))
        total = sum(
            shard.total_length - int(shard.lengths[rows].sum(dtype=np.int64))
            for shard, rows in zip(self._shards, gone, strict=True)
        )
        # Without a term there is no hit, and no length to be divided by.
        slope = config.k1 * config.b * self._num_living / total if total > 0 else 0.0
        self._passages = Rows(self._shards, Formula(config.k1 * (1 - config.b), slope))
        self._alive = self._flags(gone, living=False) if any(map(len, gone)) else None
        self._places: dict[str, _Place] = {}
        self._idle_sums: list[Scores] = []

    @classmethod
    def build(cls, keys: KeyArray, texts: Sequence[str], config: LexicalConfig) -> Bm25Index:
        """Index one text for each key in memory; language "auto" is decided by all texts."""
        order = np.argsort(keys, kind="stable")
        ordered = np.asarray(keys, np.int64)[order], [texts[i] for i in order]
        return cls(build_in_language(lambda: [ordered], config), _NONE, config)

    @property
    def language(self) -> str:
        """The language the texts were taken for."""
        return self._analyzer.language

    def __len__(self) -> int:
        return self._num_living

    def words(self, text: str) -> list[tuple[str, Sequence[str]]]:
        """As `LexicalIndex.words`."""
        return self._analyzer.words(text)

    def term_counts(self, text: str) -> Counter[str]:
        """As `LexicalIndex.term_counts`."""
        return Counter(self._analyzer.terms(text))

    def search(self, queries: Sequence[str], k: int, among: KeyArray | None = None) -> tuple[FloatArray, KeyArray]:
        """As `LexicalIndex.search`; raises as `search_terms`."""
        return self.search_terms([self.term_counts(query) for query in queries], k, among)

    def search_terms(
        self, queries: Sequence[Mapping[str, float]], k: int, among: KeyArray | None = None
    ) -> tuple[FloatArray, KeyArray]:
        """As `LexicalIndex.search_terms`.

        Raises:
            ValueError: a weight is not above 0, or not finite.
            CorpusDamagedError: a shard was altered so that it makes no sense.
        """
        try:
            sums = self._idle_sums.pop()
        except IndexError:
            sums = np.zeros(len(self._passages))
        search = ContenderSearch(self._passages, self._admitted(among), sums)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        keys = np.full((len(queries), k), -1, np.int64)
        shared = _SharedTerms()
        for i, query in enumerate(queries if k else ()):
            terms = self._terms(query, shared)
            rows, found = search.contenders(list(terms.values()), k)
            shared.keep(terms)
            scores[i], keys[i] = best_of(found.astype(np.float32), self._passages.keys(rows), k)
        # Only now: after an error they might not be zero again.
        self._idle_sums.append(sums)
        return scores, keys

    def _terms(self, query: Mapping[str, float], shared: _SharedTerms) -> dict[tuple[str, float], Term]:
        """The query's terms that occur, by their text and their weight in it."""
        wrong = [(term, weight) for term, weight in query.items() if not 0 < weight < math.inf]
        if wrong:
            raise ValueError(f"the weight of {wrong[0][0]!r} is {wrong[0][1]}; give finite ones above 0")
        wanted = [item for item in query.items() if self._place(item[0]).frequency]
        return {item: shared.terms.get(item) or self._term(*item) for item in wanted}

    def _term(self, text: str, weight: float) -> Term:
        place = self._place(text)
        rarity = (self._num_living - place.frequency + 0.5) / (place.frequency + 0.5)
        return Term(text, weight * math.log(1 + rarity), place.spans)

    def _place(self, term: str) -> _Place:
        place = self._places.get(term)
        if place is None:
            if len(self._places) >= _REMEMBERED_TERMS:
                self._places = {}
            place = self._places[term] = self._look_up(term)
        return place

    def _look_up(self, term: str) -> _Place:
        spans: list[tuple[int, int, int]] = []
        frequency = 0
        for i, shard in enumerate(self._shards):
            number = shard.vocabulary.find(term)
            if number < 0:
                continue
            begin, end = int(shard.starts[number]), int(shard.starts[number + 1])
            if not 0 <= begin < end <= len(shard.rows):
                raise damaged(
                    shard.name, f"the postings of {term!r} are from {begin} to {end} of {len(shard.rows)}"
                )
            spans.append((i, begin, end))
            frequency += self._count_living(i, shard.rows[begin:end])
        return _Place(tuple(spans), frequency)

    def _count_living(self, number: int, rows: NDArray[np.uint32]) -> int:
        if self._alive is None:
            return len(rows)
        shard, start = self._shards[number], self._passages.starts[number]
        try:
            return int(np.count_nonzero(self._alive[start : start + len(shard)][rows]))
        except IndexError as error:
            raise damaged(shard.name, error) from error

    def _admitted(self, among: KeyArray | None) -> Flags | None:
        if among is None:
            return self._alive
        wanted = np.sort(among)
        admitted = self._flags([shard.rows_of(wanted) for shard in self._shards], living=True)
        return admitted if self._alive is None else admitted & self._alive

    def _flags(self, rows: Sequence[IntArray], *, living: bool) -> Flags:
        """bool for all passages: `living` in the given rows of each shard, the contrary elsewhere."""
        flags = np.full(len(self._passages), not living)
        for start, own in zip(self._passages.starts.tolist(), rows, strict=False):
            flags[start + own] = living
        return flags
