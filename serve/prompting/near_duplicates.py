"""Passages that repeat what an earlier one says.

"exact": the same text but for white space. From another document only where it has at least `_LEAST_WORDS` words,
for what a short passage says depends on whose it is, and where titles and names hold the same numbers
("report-2021.pdf" is no copy of "report-2022.pdf").

"near": also a passage of which at least `_LEAST_CONTAINED` of the shingles (three words in a row) stand in one
earlier passage, where no shingle that is missing holds a word that tells: a number, a word with a capital letter
or of a script without capitals, a negation. So copies with other values, names or signs stay, and of Chinese only
what an earlier passage holds whole is left out. Words are numbers, runs of letters, and characters of scripts
without spaces one by one. Containment is that of Broder, "On the resemblance and containment of documents", 1997.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ragkit.records import Hit

_LEAST_WORDS = 30
_LEAST_CONTAINED = 0.9
_SHINGLE = 3
_Shingle = tuple[str, ...]
# Of the earlier passages that share the rarest shingles, so many are compared word by word.
_MOST_COMPARED = 16

_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_LETTERS = rf"[^\W_{_UNSPACED}]+"
_WORD = re.compile(rf"[-−+]?\d+(?:[.,:/]\d+)*|[{_UNSPACED}]|{_LETTERS}(?:['’]{_LETTERS})*")
_NUMBER = re.compile(r"\d+")
_NEGATIONS = frozenset(
    "no not never none nor neither without cannot nicht kein keine keinen keinem keiner nie niemals ohne ne pas "
    "non jamais sans aucun aucune nunca sin ningún ninguna não nem sem niet geen zonder ikke inte не нет без nie "
    "bez "
    "ni mai senza nessun nessuna".split()
)


@dataclass(frozen=True, slots=True)
class Repeat:
    """The hit at `index` repeats the one at `of`, both from 0; is_exact: word for word."""

    index: int
    of: int
    is_exact: bool


def find_repeats(hits: Sequence[Hit], *, near: bool) -> list[Repeat]:
    """Hits, best first, that repeat one before them that is none itself; those without text never do."""
    seen = _Seen()
    repeats = []
    for index, hit in enumerate(hits):
        text = _Text(index, hit)
        if not text.plain:
            continue
        of = seen.same(text)
        is_exact = of is not None
        if of is None and near and text.words:
            of = seen.containing(text)
        if of is None:
            seen.add(text, near=near)
        else:
            repeats.append(Repeat(index, of, is_exact))
    return repeats


class _Text:
    """A passage as it is compared; what exact repeats do not need is made when it is asked for."""

    def __init__(self, index: int, hit: Hit) -> None:
        self.index = index
        self.hit = hit
        self.plain = " ".join(hit.passage.text.split())

    @cached_property
    def words(self) -> list[str]:
        return _WORD.findall(self.plain)

    @cached_property
    def numbers(self) -> list[str]:
        """Of what the document is called."""
        return _NUMBER.findall(f"{self.hit.passage.document} {self.hit.passage.title}")

    @cached_property
    def shingles(self) -> frozenset[_Shingle]:
        return frozenset(self._in_rows([word.casefold() for word in self.words]))

    def tells(self, missing: frozenset[_Shingle]) -> bool:
        """Whether any of these shingles of the text holds a word that tells."""
        folded = [word.casefold() for word in self.words]
        rows = zip(self._in_rows(folded), self._in_rows(self.words), strict=True)
        return any(any(map(_tells, row)) for plain, row in rows if plain in missing)

    def _in_rows(self, words: list[str]) -> list[_Shingle]:
        if len(words) < _SHINGLE:
            return [tuple(words)]
        return list(zip(words, words[1:], words[2:], strict=False))


class _Seen:
    """The passages that are kept, to be found by all their text or by a shingle."""

    def __init__(self) -> None:
        self._by_text: defaultdict[str, list[_Text]] = defaultdict(list)
        self._by_shingle: defaultdict[_Shingle, list[_Text]] = defaultdict(list)

    def add(self, text: _Text, *, near: bool) -> None:
        self._by_text[text.plain].append(text)
        for shingle in text.shingles if near else ():
            self._by_shingle[shingle].append(text)

    def same(self, text: _Text) -> int | None:
        return next((kept.index for kept in self._by_text.get(text.plain, ()) if _may_repeat(text, kept)), None)

    def containing(self, text: _Text) -> int | None:
        """The first passage that holds nearly all of this one."""
        for kept in self._candidates(text.shingles):
            missing = text.shingles - kept.shingles
            contained = len(missing) <= _most_missing(text.shingles) and _may_repeat(text, kept)
            if contained and not text.tells(missing):
                return kept.index
        return None

    def _candidates(self, shingles: frozenset[_Shingle]) -> list[_Text]:
        """Of a passage that holds all but m of the shingles one is found among any m + 1 of them."""
        known = self._by_shingle
        rarest = sorted(shingles, key=lambda shingle: (len(known.get(shingle, ())), shingle))
        shared: Counter[int] = Counter()
        texts: dict[int, _Text] = {}
        for shingle in rarest[: _most_missing(shingles) + 1]:
            for text in known.get(shingle, ()):
                shared[text.index] += 1
                texts[text.index] = text
        first = sorted(shared, key=lambda index: (-shared[index], index))[:_MOST_COMPARED]
        return [texts[index] for index in sorted(first)]


def _most_missing(shingles: frozenset[_Shingle]) -> int:
    return len(shingles) - math.ceil(_LEAST_CONTAINED * len(shingles))


def _may_repeat(text: _Text, kept: _Text) -> bool:
    """Whether what the documents are called leaves it open."""
    one, other = text.hit.passage, kept.hit.passage
    if len(text.words) < _LEAST_WORDS:
        return (one.document, one.title) == (other.document, other.title)
    return one.document == other.document or text.numbers == kept.numbers


def _tells(word: str) -> bool:
    lower = word.lower()
    is_name = lower == word.upper() or word != lower
    plain = word.casefold().replace("’", "'")
    return is_name or plain in _NEGATIONS or plain.endswith("n't")
