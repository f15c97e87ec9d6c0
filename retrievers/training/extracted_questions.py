"""Questions taken from the passages themselves: for where no language model is at hand that writes good ones.

They share their words with the passage, so they teach less than written ones; the lists that a teacher scores for
them still say how near the other passages are.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum

from ragkit.indexers.lexical.terms import TermAnalyzer, is_unspaced
from ragkit.retrievers.training.examples import TrainingPassage
from ragkit.sentences import sentence_spans

NUM_TERMS = 5
_MIN_WORDS, _MAX_WORDS = 5, 32
_WORD = re.compile(r"[^\W\d_]\w{2,}")
_ANALYZER = TermAnalyzer("none")
# Characters that count as a word where no spaces part words.
_UNSPACED_WORD = 2


class ExtractedKind(StrEnum):
    """What is taken from a passage: the sentence most of whose words come back in it, or the terms it is about."""

    sentences = "sentences"
    terms = "terms"


class QuestionExtractor:
    """Weighs words by how few of these passages have them: log(number of passages / those with the word)."""

    def __init__(self, passages: Sequence[TrainingPassage]) -> None:
        self._num_passages = len(passages)
        self._frequencies = Counter(word for passage in passages for word in set(_words(passage.titled_text)))

    def extract(self, kind: ExtractedKind, passage: TrainingPassage) -> str:
        """A sentence or terms; "" where the passage has none."""
        return self._sentence(passage) if kind is ExtractedKind.sentences else self._terms(passage)

    def _terms(self, passage: TrainingPassage) -> str:
        """The five words of the greatest tf-idf, in the order of the passage."""
        counts = Counter(_words(passage.titled_text))
        ranked = sorted(counts, key=lambda word: counts[word] * self._weight(word), reverse=True)
        best = {word for word in ranked[:NUM_TERMS] if self._weight(word) > 0}
        return " ".join(word for word in counts if word in best)

    def _sentence(self, passage: TrainingPassage) -> str:
        """By the weight of its words that the passage has elsewhere too, over the root of its number of words."""
        counts = Counter(_words(passage.titled_text))
        best, greatest = "", 0.0
        for start, end in sentence_spans(passage.text):
            sentence = " ".join(passage.text[start:end].split())
            own = Counter(_words(sentence))
            num_words = _num_words(sentence)
            shared = sum(self._weight(word) for word in own if counts[word] > own[word])
            score = shared / math.sqrt(max(num_words, 1))
            if _MIN_WORDS <= num_words <= _MAX_WORDS and score > greatest:
                best, greatest = sentence, score
        return best

    def _weight(self, word: str) -> float:
        return math.log(self._num_passages / self._frequencies[word]) if self._frequencies[word] else 0.0


def _words(text: str) -> list[str]:
    """Lower-cased, of three characters or more; where no spaces part words, pairs of characters."""
    return [term for _, terms in _ANALYZER.words(text) for term in terms if is_unspaced(term) or _WORD.match(term)]


def _num_words(sentence: str) -> int:
    runs = [run for run, _ in _ANALYZER.words(sentence)]
    unspaced = [run for run in runs if is_unspaced(run)]
    num_pairs = sum(math.ceil(len(run) / _UNSPACED_WORD) for run in unspaced)
    return num_pairs + len(runs) - len(unspaced) if unspaced else len(sentence.split())
