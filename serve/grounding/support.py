"""Which units of the sources support a sentence of an answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np

from ragkit.protocols import Embedder
from ragkit.records import Source
from ragkit.sentences import Span
from ragkit.serve.grounding.content_words import ContentWords, Weights, Words, numbers_in
from ragkit.serve.grounding.marks import defuse_marks
from ragkit.serve.grounding.similarity import Similarity
from ragkit.serve.grounding.units import Unit, one_line, units_of

# Calibrated on questions joined with right and wrong answers; see tests/serve/test_calibration.py.
MIN_COVERAGE = 0.5
MIN_SIMILARITY = 0.75
# What is nearer to what has nothing to do with the sentence than to what has is not shown as its source.
_LEAST_NEAR = 0.5
# Each has the embedder read a sentence, and questions wait for it.
_MOST_NEAREST = 64
# Another sentence is quoted too where it adds this much of the sentence's words.
_UNIT_COST = 0.12
_MOST_UNITS = 3
_FEWEST_WORDS = 2
# Fewer words in a row may stand anywhere and say nothing of where they were taken from.
_FEWEST_IN_A_ROW = 4
_TOKEN = re.compile(r"\S+")
# What may end a sentence of an answer where the source goes on.
_CLOSING = ".!?…,;: "
# What of the source's word may stand behind the last one that is said.
_BEHIND = ".!?…,;:)]}\"'”’»›"


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
        self._embedder = embedder
        self._told: _Telling | None = None
        self._near: dict[tuple[str, int], Quote] = {}
        self._held: dict[tuple[str, int], Quote | None] = {}
        self._lines: dict[int, list[str]] = {}
        self._shown: dict[int, str] = {}

    def quote(self, sentence: str, marker: int, before: int | None = None) -> Quote:
        """Where one source has the sentence word for word, else its units in a row that hold most of it.

        Where no unit holds any of it the nearest one, by the embedder; the whole passage where none is near, and
        of all but the first `_MOST_NEAREST` such sentences.
        before: as of `word_for_word`.
        """
        return (
            self.word_for_word(sentence, marker, before)
            or self._most_of(sentence, marker)
            or self._nearest(sentence, marker)
        )

    def word_for_word(self, sentence: str, marker: int, before: int | None = None) -> Quote | None:
        """The unit of one source that is the sentence, else the units in which its words first stand in a row.

        Words are what stands between white space, `_FEWEST_IN_A_ROW` at least; behind the source's last one others
        of `_BEHIND` may stand. before: of several units that are the sentence the last one before this character
        is taken, as of heads of a table's columns; else the first.
        """
        units, source = self._units[marker], self._sources[marker]
        said = one_line(sentence)
        if same := [unit for unit, line in zip(units, self._lines_of(marker), strict=True) if line == said]:
            above = [unit for unit in same if before is not None and unit.end <= before]
            unit = above[-1] if above else same[0]
            return Quote(source, unit.start, unit.end)
        place = _place_of(said, source.hit.passage.text, self._shown_of(marker))
        if place is None:
            return None
        inside = [unit for unit in units if unit.end > place[0] and unit.start < place[1]]
        return Quote(source, inside[0].start, inside[-1].end)

    def find(self, sentence: str, marker: int) -> Quote | None:
        """The place in one source that holds `MIN_COVERAGE` of the sentence's words, or None.

        The source must hold all the sentence's numbers, and the sentence at least two content words.
        """
        found = self._place(self._telling.content.of(sentence), marker)
        return found[1] if found else None

    def attribute(self, sentences: Sequence[str]) -> list[Quote | None]:
        """For each sentence the place that supports it, or None.

        A source supports a sentence where one of its places holds `MIN_COVERAGE` of the sentence's
        words, the passage holds all its numbers and, with an embedder that `Similarity` trusts in
        the language, sentence and place are at least `MIN_SIMILARITY` near.
        """
        places = [self._best_place(sentence) for sentence in sentences]
        placed = [(sentence, place) for sentence, place in zip(sentences, places, strict=True) if place]
        if placed and self._similarity is not None:
            self._similarity.read([sentence for sentence, _ in placed], [_as_unit(place) for _, place in placed])
        return [
            place if place is not None and self._is_near(sentence, place) else None
            for sentence, place in zip(sentences, places, strict=True)
        ]

    # An answer may have thousands of sentences with marks of the same source.
    def _lines_of(self, marker: int) -> list[str]:
        if marker not in self._lines:
            self._lines[marker] = [defuse_marks(one_line(unit.text)) for unit in self._units[marker]]
        return self._lines[marker]

    def _shown_of(self, marker: int) -> str:
        if marker not in self._shown:
            self._shown[marker] = _shown(self._sources[marker].hit.passage.text)
        return self._shown[marker]

    @property
    def _telling(self) -> _Telling:
        # Without a lock, as threads that find none would do the same work twice: what is made is the same.
        if self._told is None:
            self._told = _Telling(self._sources, self._units)
        return self._told

    @cached_property
    def _similarity(self) -> Similarity | None:
        similarity = Similarity(self._embedder, remembers=True) if self._embedder is not None else None
        return similarity if similarity is None or similarity.is_trusted(self._telling.content.language) else None

    def _most_of(self, sentence: str, marker: int) -> Quote | None:
        """The units of one source that hold most of the sentence's words; None where none holds any."""
        key = (sentence, marker)
        if key not in self._held:
            first, last, coverage = self._best_window(self._telling.content.of(sentence), marker)
            units = self._units[marker]
            quote = Quote(self._sources[marker], units[first].start, units[last].end) if coverage else None
            self._held[key] = quote
        return self._held[key]

    def _best_place(self, sentence: str) -> Quote | None:
        wanted = self._telling.content.of(sentence)
        places = [place for marker in self._telling.words if (place := self._place(wanted, marker))]
        # The first of equals: max keeps it.
        return max(places, key=lambda place: place[0])[1] if places else None

    def _place(self, wanted: Words, marker: int) -> tuple[float, Quote] | None:
        """Coverage and place, where a source holds enough of the words."""
        listed = self._telling.words[marker]
        if len(wanted) < _FEWEST_WORDS or not numbers_in(wanted) <= frozenset().union(*listed):
            return None
        first, last, coverage = self._best_window(wanted, marker)
        if coverage < MIN_COVERAGE:
            return None
        units = self._units[marker]
        return coverage, Quote(self._sources[marker], units[first].start, units[last].end)

    def _best_window(self, wanted: Words, marker: int) -> tuple[int, int, float]:
        """First and last of up to three units in a row that hold most of the words, and their coverage.

        A unit more must add `_UNIT_COST`; among equals the earlier and shorter window is taken.
        """
        # Of each unit the wanted words alone: a window's are those of its units together.
        held = [wanted & words for words in self._telling.words[marker]]
        weights = self._telling.weights
        total = weights.total(wanted)
        best, window = -1.0, (0, 0, 0.0)
        for length in range(1, _MOST_UNITS + 1):
            for first in range(len(held) - length + 1):
                if length > 1 and not (held[first] and held[first + length - 1]):
                    # A shorter window has the same words.
                    continue
                joined = frozenset().union(*held[first : first + length])
                coverage = weights.total(joined) / total if total else 0.0
                value = coverage - _UNIT_COST * (length - 1)
                if value > best:
                    best, window = value, (first, first + length - 1, coverage)
        return window

    def _nearest(self, sentence: str, marker: int) -> Quote:
        key = (sentence, marker)
        if key not in self._near:
            self._near[key] = self._nearest_of(sentence, marker)
        return self._near[key]

    def _nearest_of(self, sentence: str, marker: int) -> Quote:
        units, source = self._units[marker], self._sources[marker]
        if units and len(self._near) < _MOST_NEAREST and self._similarity is not None:
            near = self._similarity.of_sentence(sentence, units, self._telling.content.language)
            best = int(np.argmax(near))
            if near[best] >= _LEAST_NEAR:
                return Quote(source, units[best].start, units[best].end)
        return Quote(source, 0, len(source.hit.passage.text))

    def _is_near(self, sentence: str, quote: Quote) -> bool:
        if self._similarity is None:
            return True
        near = self._similarity.of_sentence(sentence, [_as_unit(quote)], self._telling.content.language)
        return bool(near[0] >= MIN_SIMILARITY)


def _as_unit(quote: Quote) -> Unit:
    text = quote.source.hit.passage.text[quote.start : quote.end]
    return Unit(quote.source, quote.start, quote.end, text)


class _Telling:
    """The content words of each unit of each source, and how telling each is; not made before it is asked for."""

    def __init__(self, sources: Mapping[int, Source], units: Mapping[int, Sequence[Unit]]) -> None:
        self.content = ContentWords(source.hit.passage.text for source in sources.values())
        self.words = {marker: [self._of_unit(unit) for unit in listed] for marker, listed in units.items()}
        self.weights = Weights(words for listed in self.words.values() for words in listed)

    def _of_unit(self, unit: Unit) -> Words:
        return self.content.of(f"{unit.source.hit.passage.title} {unit.full_text}")


def _place_of(said: str, text: str, shown: str) -> Span | None:
    """Where a text first has all that is said, as of `Support.word_for_word`. said: on one line.

    shown: `_shown` of the text.
    """
    bare = said.rstrip(_CLOSING)
    count = bare.count(" ") + 1
    if count < _FEWEST_IN_A_ROW:
        return None
    at = shown.find(f" {bare}")
    while at >= 0 and not _is_end_of_word(shown, at + 1 + len(bare)):
        at = shown.find(f" {bare}", at + 1)
    if at < 0:
        return None
    first = shown.count(" ", 0, at)
    tokens = list(islice(_TOKEN.finditer(text), first, first + count))
    return tokens[0].start(), tokens[-1].end()


def _shown(text: str) -> str:
    """As a prompt shows it, with a space around each word of the text."""
    plain = one_line(text)
    defused = one_line(defuse_marks(plain))
    # Where a mark of several words became one, the words of what is shown are not those of the text.
    return f" {defused if defused.count(' ') == plain.count(' ') else plain} "


def _is_end_of_word(text: str, place: int) -> bool:
    return not text[place : text.index(" ", place)].strip(_BEHIND)
