"""The words that carry a sentence's meaning, and how much of one text another one covers."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import cache

import Stemmer

from ragkit.stop_words import stopwords

Words = frozenset[str]

# Snowball languages whose stop words bm25s ships.
_STOP_WORDS: dict[str, Words] = {
    "english": frozenset(stopwords.STOPWORDS_EN_PLUS),
    "danish": frozenset(stopwords.STOPWORDS_DANISH),
    "dutch": frozenset(stopwords.STOPWORDS_DUTCH),
    "french": frozenset(stopwords.STOPWORDS_FRENCH),
    "german": frozenset(stopwords.STOPWORDS_GERMAN)
    | {"wer", "wann", "wo", "wie", "warum", "wurde", "wurden", "worden"},
    "italian": frozenset(stopwords.STOPWORDS_ITALIAN),
    "norwegian": frozenset(stopwords.STOPWORDS_NORWEGIAN),
    "portuguese": frozenset(stopwords.STOPWORDS_PORTUGUESE),
    "russian": frozenset(stopwords.STOPWORDS_RUSSIAN),
    "spanish": frozenset(stopwords.STOPWORDS_SPANISH),
    "swedish": frozenset(stopwords.STOPWORDS_SWEDISH),
    "turkish": frozenset(stopwords.STOPWORDS_TURKISH),
}
# Numbers with their separators, else words; scripts without spaces are cut into pairs afterwards.
_CJK = "\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"\d+(?:[.,]\d+)*(?![^\W{_CJK}])|[{_CJK}]+|[^\W{_CJK}]+")
# The same of ASCII texts, whose classes are small.
_ASCII_WORD = re.compile(r"\d+(?:[.,]\d+)*(?!\w)|\w+", re.ASCII)
_GROUPING = re.compile(r",(?=\d{3}(?:\D|$))")
# Han characters and kana that ask or join and say nothing of what a question is about.
_CJK_FUNCTION = re.compile(
    r"[的了是在和与及或也就都而被把让给从到对这那哪谁吗呢啊吧么什几怎如何为之其有个些您我你他她它们请]"
)
_HIRAGANA = re.compile(r"[\u3041-\u309f]")


class ContentWords:
    """Cuts texts of one language into stemmed content words.

    language: the Snowball language whose stop words the sample texts use most, or "cjk" for texts in
    scripts without spaces, which become pairs of characters. Words of other scripts among those are
    stemmed as English.
    """

    def __init__(self, sample: Iterable[str]) -> None:
        counts = Counter(_runs(" ".join(sample).lower()))
        self.language = _language(counts)
        known = "english" if self.language == "cjk" else self.language
        self._stop_words = _STOP_WORDS[known]
        self._stemmer = Stemmer.Stemmer(known)

    def of(self, text: str) -> Words:
        """The distinct content words of a text."""
        words: set[str] = set()
        plain: list[str] = []
        for run in _runs(unicodedata.normalize("NFKC", text).lower()):
            if _is_cjk(run):
                words |= _pairs(run)
            elif run[0].isdigit():
                words.add(_GROUPING.sub("", run))
            elif run not in self._stop_words and (len(run) > 1 or not run.isascii()):
                plain.append(run)
        words.update(self._stemmer.stemWords(plain))
        return frozenset(words)


def numbers_in(words: Words) -> Words:
    """Those of the words that begin with a digit: years, amounts, model numbers."""
    return frozenset(word for word in words if word[0].isdigit())


class Weights:
    """How telling each word is among some texts: ln(1 + (n - df + 0.5) / (df + 0.5)), BM25's idf.

    Robertson and Zaragoza (2009), in the form that is never negative.
    """

    def __init__(self, texts: Iterable[Words]) -> None:
        listed = list(texts)
        frequency = Counter(word for words in listed for word in words)
        of_count = {count: _idf(count, len(listed)) for count in set(frequency.values())}
        self._weights = {word: of_count[count] for word, count in frequency.items()}
        self._highest = _idf(0, len(listed))

    def of(self, word: str) -> float:
        """Highest for a word that no text has."""
        return self._weights.get(word, self._highest)

    def coverage(self, wanted: Words, among: Words) -> float:
        """Share (0..1) of the weight of the words in `wanted` that are in `among`; 0 if none is wanted."""
        total = self.total(wanted)
        return self.total(wanted & among) / total if total else 0.0

    def total(self, words: Words) -> float:
        """Their weights together, exactly: sets keep no order, and equal ones must weigh the same."""
        return math.fsum(map(self.of, words))


def _idf(frequency: int, count: int) -> float:
    return math.log1p((count - frequency + 0.5) / (frequency + 0.5))


def _language(counts: Counter[str]) -> str:
    cjk_characters = sum(len(word) * count for word, count in counts.items() if _is_cjk(word))
    if cjk_characters > counts.total():
        return "cjk"
    uses = dict.fromkeys(_STOP_WORDS, 0)
    languages = _languages()
    for word in languages.keys() & counts.keys():
        for language in languages[word]:
            uses[language] += counts[word]
    return max(uses, key=uses.__getitem__) if any(uses.values()) else "english"


@cache
def _languages() -> dict[str, list[str]]:
    """Of each stop word the languages that have it."""
    languages: defaultdict[str, list[str]] = defaultdict(list)
    for language, words in _STOP_WORDS.items():
        for word in words:
            languages[word].append(language)
    return dict(languages)


def _runs(text: str) -> list[str]:
    """Words, numbers and runs of scripts without spaces, in text order."""
    return (_ASCII_WORD if text.isascii() else _WORD).findall(text)


def _is_cjk(run: str) -> bool:
    return "\u3041" <= run[0] <= "\ufaff"


def _pairs(run: str) -> set[str]:
    pairs = {run[i : i + 2] for i in range(max(1, len(run) - 1))}
    return {pair for pair in pairs if not _CJK_FUNCTION.search(pair) and not _all_hiragana(pair)}


def _all_hiragana(pair: str) -> bool:
    return all(_HIRAGANA.match(character) for character in pair)
