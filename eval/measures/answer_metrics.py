"""How well an answer's words agree with gold answers. Of several gold answers the best counts.

Exact match and token F1 are SQuAD's (Rajpurkar et al., EMNLP 2016, arXiv 1606.05250), normalised as its evaluation
script does; ANLS is that of DocVQA (Biten et al., ICCV 2019, arXiv 1905.13648; Mathew et al., WACV 2021). Words
are parted by white space, so Chinese and Japanese answers count as single words.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

_MARK = re.compile(r"\s*\[\d{1,3}\]")
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ANLS_THRESHOLD = 0.5


def without_citation_marks(answer: str) -> str:
    """The answer without marks such as ``[1]`` and the space before them."""
    return _MARK.sub("", answer).strip()


def squad_normal(text: str) -> str:
    """Lower case, without punctuation and English articles, words parted by one space."""
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def exact_match(answer: str, golds: Sequence[str]) -> float:
    """1.0 where the answer equals a gold answer after SQuAD's normalisation, else 0.0."""
    return _best(golds, lambda gold: float(squad_normal(answer) == squad_normal(gold)))


def token_f1(answer: str, golds: Sequence[str]) -> float:
    """SQuAD's F1 of words as a bag; where one side has none after normalisation, whether both have none."""
    return _best(golds, lambda gold: _f1(squad_normal(answer).split(), squad_normal(gold).split()))


def containment(answer: str, golds: Sequence[str]) -> float:
    """1.0 where a gold answer's normalised words stand in the answer, together and in order, else 0.0.

    A gold answer that is an article alone ("A") has no words left: the answer must then be equal to it.
    """
    return _best(golds, lambda gold: _contains(answer, gold))


def anls(answer: str, golds: Sequence[str]) -> float:
    """Normalised Levenshtein similarity, 0.0 where it is below 0.5; case and runs of white space do not count.

    A similarity of exactly 0.5 is kept, as in the evaluation script of the DocVQA challenge; the formula of Biten
    et al. drops it.
    """
    return _best(golds, lambda gold: _similarity(_plain(answer), _plain(gold)))


def edit_distance(first: str, second: str) -> int:
    """Least number of characters put in, taken out or replaced (Levenshtein 1966)."""
    letters = np.array([ord(letter) for letter in second], np.int64)
    steps = np.arange(len(second) + 1)
    row = steps
    for number, letter in enumerate(first, 1):
        reached = np.empty_like(row)
        reached[0] = number
        reached[1:] = np.minimum(row[1:] + 1, row[:-1] + (letters != ord(letter)))
        # Putting in costs one a place: the least over all places to the left.
        row = np.minimum.accumulate(reached - steps) + steps
    return int(row[-1])


def _best(golds: Sequence[str], measure: Callable[[str], float]) -> float:
    if not golds:
        raise ValueError("an answer is scored against at least one gold answer")
    return max(measure(gold) for gold in golds)


def _f1(answer: list[str], gold: list[str]) -> float:
    if not answer or not gold:
        return float(answer == gold)
    common = (Counter(answer) & Counter(gold)).total()
    return 2 * common / (len(answer) + len(gold))


def _contains(answer: str, gold: str) -> float:
    words = squad_normal(gold)
    if not words:
        return float(answer.strip().casefold() == gold.strip().casefold())
    return float(f" {words} " in f" {squad_normal(answer)} ")


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def _similarity(answer: str, gold: str) -> float:
    longest = max(len(answer), len(gold))
    if not longest:
        return 1.0
    # The lengths alone may make them too far apart; answers are often much longer than gold answers.
    if min(len(answer), len(gold)) / longest < _ANLS_THRESHOLD:
        return 0.0
    similarity = 1 - edit_distance(answer, gold) / longest
    return similarity if similarity >= _ANLS_THRESHOLD else 0.0
