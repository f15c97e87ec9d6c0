"""Cutting text into the terms that BM25 counts, for any language."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import Stemmer

from ragkit.errors import ConfigError
from ragkit.stop_words import stopwords

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
# What one passage says about the language of its corpus: nothing (too few words), none clearly, or a language.
# The numbers are kept in files: new languages are added at the end.
VOTES = ("", "unknown", *STOP_WORDS)
_VOTING_RUNS = 60


def _listing() -> dict[str, tuple[int, ...]]:
    """Stop word -> numbers of the votes of the languages that list it."""
    listing: dict[str, tuple[int, ...]] = {}
    for number, language in enumerate(VOTES[2:], 2):
        # The longer English list is the fairer match for the others' lengths.
        words = stopwords.STOPWORDS_EN_PLUS if language == "english" else STOP_WORDS[language]
        for word in set(words):
            listing[word] = (*listing.get(word, ()), number)
    return listing


_LISTING = _listing()


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
            # Without its cache, which is slow once it is full; each word comes once.
            None if language == "none" else Stemmer.Stemmer(language, 0).stemWords
        )

    def terms(self, text: str) -> list[str]:
        """Terms, repeated as often as they occur."""
        return [term for _, terms in self.words(text) for term in terms]

    def words(self, text: str) -> list[tuple[str, Sequence[str]]]:
        """Words and unspaced runs in text order, each with its terms."""
        runs = runs_of(text)
        return list(zip(runs, self.terms_of_each(runs), strict=True))

    def terms_of_each(self, runs: Sequence[str]) -> list[Sequence[str]]:
        """For each run its terms: none of a stop word, one of another word, the n-grams of an unspaced run."""
        words = list({run for run in runs if run not in self._stop_words and not is_unspaced(run)})
        stems = dict(zip(words, self._stem(words) if self._stem else words, strict=True))
        return [
            (stems[run],) if run in stems else _ngrams(run, self.ngram) if is_unspaced(run) else () for run in runs
        ]


def detect_language(texts: Iterable[str]) -> str:
    """`elected_language` by the votes of texts."""
    votes = Counter(vote_of(runs_of(text)) for text in texts)
    return elected_language([votes[number] for number in range(len(VOTES))])


def elected_language(counts: Sequence[int]) -> str:
    """The language that at least two thirds of those who vote are for; else "none".

    Args:
        counts: how often each of `VOTES` was given.
    """
    cast = list(counts)[1:]
    best = max(range(len(cast)), key=cast.__getitem__)
    return VOTES[best + 1] if best > 0 and 3 * cast[best] >= 2 * sum(cast) else "none"


def vote_of(runs: Sequence[str]) -> int:
    """The number in `VOTES` that the words among a text's first 60 runs give, judged by stop words."""
    words = [run for run in runs[:_VOTING_RUNS] if not is_unspaced(run)]
    if len(words) < 10:
        return 0
    listed = [0] * len(VOTES)
    for word in words:
        for number in _LISTING.get(word, ()):
            listed[number] += 1
    second, best = sorted(listed)[-2:]
    clear = best >= 0.12 * len(words) and best >= 1.2 * second
    return listed.index(best) if clear else 1


def runs_of(text: str) -> list[str]:
    """Lower-cased words, and runs of characters from scripts without spaces, in text order."""
    return _TERM.findall(unicodedata.normalize("NFKC", text).lower())


def is_unspaced(run: str) -> bool:
    """Whether a run is of characters that stand without spaces between words."""
    return run[0] >= _FIRST_UNSPACED and _TERM_UNSPACED.match(run) is not None


_TERM_UNSPACED = re.compile(rf"[{_UNSPACED}\U00020000-\U0003134f]")


def _ngrams(run: str, n: int) -> list[str]:
    return [run[i : i + n] for i in range(max(1, len(run) - n + 1))]
