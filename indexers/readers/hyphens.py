"""Words broken at the end of a line: does the hyphen belong to the word?"""

from __future__ import annotations

import re
from collections.abc import Iterable

_LETTERS = re.compile(r"[^\W\d_]+")
# Words remembered of one document: as many as a thick book has, and no more in a shelf of them.
_MOST_WORDS = 200_000


class LineEndHyphens:
    """Decides about hyphens at line ends by the words that the document has elsewhere.

    A typesetter breaks "infor-mation" and an author writes "tax-related"; on the page both look alike.
    """

    def __init__(self) -> None:
        self._words: set[str] = set()

    def learn(self, words: Iterable[str]) -> None:
        """Take note of words that stand unbroken in the document."""
        if len(self._words) >= _MOST_WORDS:
            return
        for word in words:
            known = word.strip(".,;:()[]{}\"'“”‘’„!?").lower()
            self._words.add(known)
            if "-" in known:
                self._words.update(known.split("-"))

    def joint(self, before: str, after: str) -> str:
        """What to put between the two halves of a word: "-" or nothing.

        In order: the document has the whole word; it has the hyphenated one; the second half begins
        with a capital or a digit; the halves belong to a chain of hyphens or an address; both halves,
        or a first half of four letters or more, are words of the document.
        """
        first, second = _last_letters(before), _first_letters(after)
        if not first or not second:
            return "-"
        whole = f"{first}{second}".lower()
        if whole in self._words:
            return ""
        if f"{first}-{second}".lower() in self._words or not second[0].islower():
            return "-"
        rest = before[: -len(first)], after[len(second) :]
        if any(mark in part for part in rest for mark in "-/@_"):
            return "-"
        known_first = first.lower() in self._words
        known_second = second.lower() in self._words
        return "-" if known_first and (known_second or len(first) >= 4) else ""


def _last_letters(text: str) -> str:
    runs = _LETTERS.findall(text)
    return runs[-1] if runs and text.endswith(runs[-1]) else ""


def _first_letters(text: str) -> str:
    match = _LETTERS.match(text)
    return match.group() if match else ""
