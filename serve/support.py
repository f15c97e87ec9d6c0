"""Which units of the sources support a sentence of an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ragkit.protocols import Embedder
from ragkit.records import Source
from ragkit.serve.content_words import ContentWords, Weights, Words, numbers_in
from ragkit.serve.similarity import Similarity
from ragkit.serve.units import Unit, units_of

# Calibrated on questions joined with right and wrong answers; see tests/serve/test_calibration.py.
MIN_COVERAGE = 0.5
MIN_SIMILARITY = 0.75
# A neighbouring sentence is quoted too where it adds this much of the sentence's words.
_NEIGHBOUR_GAIN = 0.2
_FEWEST_WORDS = 2


@dataclass(frozen=True, slots=True)
class Quote:
    """Characters start to end of the text of a source's passage."""

    source: Source
    start: int
    end: int


class Support:
    """Finds the places in the sources that a sentence rests on.

    Overlap is the share of the sentence's content words, weighted by how telling they are among the
    sources, that a unit and its title hold.
    """

    def __init__(self, sources: Sequence[Source], embedder: Embedder | None = None) -> None:
        self._units = {source.marker: units_of(source) for source in sources}
        self._sources = {source.marker: source for source in sources}
        self._content = ContentWords(source.hit.passage.text for source in sources)
        self._words = {marker: [self._of_unit(unit) for unit in units] for marker, units in self._units.items()}
        self._weights = Weights(words for listed in self._words.values() for words in listed)
        self._embedder = embedder

    def quote(self, sentence: str, marker: int) -> Quote:
        """The units of one source that hold most of the sentence; the whole passage where none holds any."""
        units, source = self._units[marker], self._sources[marker]
        wanted = self._content.of(sentence)
        coverages = [self._weights.coverage(wanted, words) for words in self._words[marker]]
        if not any(coverages):
            return self._nearest(sentence, marker)
        first = last = int(np.argmax(coverages))
        first, last = self._extend(wanted, marker, first, last)
        return Quote(source, units[first].start, units[last].end)

    def attribute(self, sentences: Sequence[str]) -> list[Quote | None]:
        """For each sentence the place that supports it, or None.

        A source supports a sentence where one of its places holds `MIN_COVERAGE` of the sentence's
        words, the passage holds all its numbers and, with an embedder that `Similarity` trusts in
        the language, sentence and place are at least `MIN_SIMILARITY` near.
        """
        places = [self._best_place(sentence) for sentence in sentences]
        return [
            place if place is not None and self._is_near(sentence, place) else None
            for sentence, place in zip(sentences, places, strict=True)
        ]

    @cached_property
    def _similarity(self) -> Similarity | None:
        similarity = Similarity(self._embedder) if self._embedder is not None else None
        return similarity if similarity is None or similarity.is_trusted(self._content.language) else None

    def _of_unit(self, unit: Unit) -> Words:
        return self._content.of(f"{unit.source.hit.passage.title} {unit.header} {unit.text}")

    def _best_place(self, sentence: str) -> Quote | None:
        wanted = self._content.of(sentence)
        best, place = MIN_COVERAGE, None
        if len(wanted) < _FEWEST_WORDS:
            return None
        for marker, listed in self._words.items():
            if not listed or not numbers_in(wanted) <= frozenset().union(*listed):
                continue
            top = int(np.argmax([self._weights.coverage(wanted, words) for words in listed]))
            first, last = self._extend(wanted, marker, top, top)
            coverage = self._weights.coverage(wanted, self._joined(marker, first, last))
            if coverage > best or (coverage == best and place is None):
                units = self._units[marker]
                best, place = coverage, Quote(self._sources[marker], units[first].start, units[last].end)
        return place

    def _extend(self, wanted: Words, marker: int, first: int, last: int) -> tuple[int, int]:
        """Take in the neighbour before or behind where it adds enough."""
        base = self._weights.coverage(wanted, self._joined(marker, first, last))
        if first > 0 and self._gain(wanted, marker, first - 1, last, base) >= _NEIGHBOUR_GAIN:
            first -= 1
            base = self._weights.coverage(wanted, self._joined(marker, first, last))
        if (
            last + 1 < len(self._units[marker])
            and self._gain(wanted, marker, first, last + 1, base) >= _NEIGHBOUR_GAIN
        ):
            last += 1
        return first, last

    def _gain(self, wanted: Words, marker: int, first: int, last: int, base: float) -> float:
        return self._weights.coverage(wanted, self._joined(marker, first, last)) - base

    def _joined(self, marker: int, first: int, last: int) -> Words:
        return frozenset().union(*self._words[marker][first : last + 1])

    def _nearest(self, sentence: str, marker: int) -> Quote:
        units, source = self._units[marker], self._sources[marker]
        if self._similarity is None or not units:
            return Quote(source, 0, len(source.hit.passage.text))
        near = self._similarity.of_sentence(sentence, units, self._content.language)
        nearest = units[int(np.argmax(near))]
        return Quote(source, nearest.start, nearest.end)

    def _is_near(self, sentence: str, quote: Quote) -> bool:
        if self._similarity is None:
            return True
        text = quote.source.hit.passage.text[quote.start : quote.end]
        place = Unit(quote.source, quote.start, quote.end, text, "")
        near = self._similarity.of_sentence(sentence, [place], self._content.language)
        return bool(near[0] >= MIN_SIMILARITY)
