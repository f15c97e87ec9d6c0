"""Cutting text into the terms that BM25 counts, for any language."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable

import Stemmer
from bm25s import stopwords

from ragkit.errors import ConfigError

# Scripts written without spaces: Thai, Lao, Myanmar, Khmer, Japanese kana, Han.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_TERM = re.compile(rf"[{_UNSPACED}\U00020000-\U0003134f]+|[^\W{_UNSPACED}\U00020000-\U0003134f]{{2,}}")
_FIRST_UNSPACED = "\u0e00"

# The languages whose stop words bm25s ships, by their Snowball names.
STOP_WORDS: dict[str, tuple[str, ...]] = {
    "danish": stopwords.STOPWORDS_DANISH,
    "dutch": stopwords.STOPWORDS_DUTCH,
    "english": stopwords.STOPWORDS_EN,
    "french": stopwords.STOPWORDS_FRENCH,
    "german": stopwords.STOPWORDS_GERMAN,
    "italian": stopwords.STOPWORDS_ITALIAN,
    "norwegian": stopwords.STOPWORDS_NORWEGIAN,
    "portuguese": stopwords.STOPWORDS_PORTUGUESE,
    "russian": stopwords.STOPWORDS_RUSSIAN,
    "spanish": stopwords.STOPWORDS_SPANISH,
    "swedish": stopwords.STOPWORDS_SWEDISH,
    "turkish": stopwords.STOPWORDS_TURKISH,
}
# For telling languages apart the longer English list is the fairer match for the others' lengths.
_DETECTION = {
    language: frozenset(stopwords.STOPWORDS_EN_PLUS if language == "english" else words)
    for language, words in STOP_WORDS.items()
}


class TermAnalyzer:
    """Lower-cased words of two characters or more, without stop words, reduced to their stems.

    Runs of characters from scripts without spaces become overlapping n-grams, whatever the language.

    Args:
        language: a Snowball language, or "none" for neither stop words nor stems.
        ngram: characters in an n-gram; a shorter run is one term.
    """

    def __init__(self, language: str, ngram: int = 2) -> None:
        known = sorted(Stemmer.algorithms())
        if language not in ("none", *known):
            raise ConfigError(
                f"lexical.language = {language!r} is unknown; choose 'auto', 'none' or one of {', '.join(known)}"
            )
        self.language = language
        self.ngram = ngram
        self._stop_words = frozenset(STOP_WORDS.get(language, ()))
        self._stem: Callable[[list[str]], list[str]] | None = (
            None if language == "none" else Stemmer.Stemmer(language).stemWords
        )

    def terms(self, text: str) -> list[str]:
        """Terms in text order, repeated as often as they occur."""
        words: list[str] = []
        grams: list[str] = []
        for run in _runs(text):
            if _is_unspaced(run):
                grams += _ngrams(run, self.ngram)
            elif run not in self._stop_words:
                words.append(run)
        return (self._stem(words) if self._stem else words) + grams


def detect_language(texts: Iterable[str]) -> str:
    """The Snowball language that at least two thirds of the texts are in, judged by stop words; else "none"."""
    votes = Counter(vote for text in texts if (vote := _vote(text)))
    if not votes:
        return "none"
    language, count = votes.most_common(1)[0]
    return language if language in STOP_WORDS and 3 * count >= 2 * votes.total() else "none"


def _vote(text: str) -> str:
    """The language of one text; "" where it has too few words, "unknown" where no language stands out."""
    words = [run for run in _runs(text) if not _is_unspaced(run)]
    if len(words) < 10:
        return ""
    shares = {name: sum(word in listed for word in words) / len(words) for name, listed in _DETECTION.items()}
    best, second = sorted(shares, key=lambda name: -shares[name])[:2]
    clear = shares[best] >= 0.12 and shares[best] >= 1.2 * shares[second]
    return best if clear else "unknown"


def _runs(text: str) -> list[str]:
    return _TERM.findall(unicodedata.normalize("NFKC", text).lower())


def _is_unspaced(run: str) -> bool:
    return run[0] >= _FIRST_UNSPACED and _TERM_UNSPACED.match(run) is not None


_TERM_UNSPACED = re.compile(rf"[{_UNSPACED}\U00020000-\U0003134f]")


def _ngrams(run: str, n: int) -> list[str]:
    return [run[i : i + n] for i in range(max(1, len(run) - n + 1))]
