"""LoL's sparse reformulator over the terms of the lexical index: one weight for each word that is read.

As `SparseSeqDqr` in the code of arXiv 2204.11545: a weight for every token of `[CLS] q [SEP] p1 [SEP] …`, not
below 0, of which a term that stands there several times takes the greatest. Terms are those of BM25, so that no
further index is needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ragkit.devices import Placement
from ragkit.extras import require
from ragkit.retrievers.feedback.feedback_sequences import FeedbackSequence, SequenceLimits
from ragkit.retrievers.feedback.reformulator import depths_of_lowest_loss
from ragkit.retrievers.feedback.sequence_encoder import SequenceEncoder
from ragkit.retrievers.feedback.sequence_reformulator import SequenceReformulator

if TYPE_CHECKING:
    from torch import Tensor

    from ragkit.records import FloatArray

WordsOf = Callable[[str], Sequence[tuple[str, Sequence[str]]]]
"""The words of a text, each with its terms: `LexicalIndex.words`."""

# What a passage's term weighs before training, beside 1 of a question's: at 0 nothing would be learnt.
_FIRST_WEIGHT = 0.02


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A term and what it weighs before training. place: of its word's first token.

    Where a question is cut, what follows has the place of its [SEP].
    """

    place: int
    term: str
    prior: float


@dataclass(frozen=True, slots=True)
class TermSequence:
    """A sequence of tokens, and the terms of the index that stand in it. own: the question's, by their counts."""

    tokens: FeedbackSequence
    own: Mapping[str, int]
    occurrences: tuple[Occurrence, ...]

    def first(self, count: int) -> TermSequence:
        """With at most so many passages."""
        tokens = self.tokens.first(count)
        kept = tuple(one for one in self.occurrences if one.place < len(tokens.ids))
        return TermSequence(tokens, self.own, kept)


@dataclass(frozen=True, slots=True)
class TermWeights:
    """weights: (terms,), those of all sequences one after the other. rows: int64 (terms,), of which sequence.

    loss_change: (q,), as of `Revision`.
    """

    weights: Tensor
    rows: Tensor
    terms: list[str]
    loss_change: Tensor


class TermReformulator(SequenceReformulator):
    """Weighs the terms of a question and of the passages that it found.

    A term of the question begins with the weight of its count, one of a passage with nearly nothing. A question
    without passages keeps its terms.

    Args:
        encoder: of any text embedder; it is trained.
        language: of the lexical index whose terms are weighed.
        most: passages that are looked at.
        threshold: as of `VectorReformulator`.
    """

    kind: Literal["sparse"] = "sparse"

    def __init__(self, encoder: SequenceEncoder, language: str, most: int, threshold: float = 0.0) -> None:
        super().__init__(encoder, "weight", most, threshold)
        self.language = language

    def facts(self) -> dict[str, Any]:
        """JSON facts to make the same model from, but for its weights."""
        return {
            "language": self.language,
            "most": self.most,
            "passage_tokens": self.encoder.limits.passage,
            "threshold": self.threshold,
        }

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any], encoder: Path, placement: Placement) -> TermReformulator:
        """The model of these facts; encoder: the folder of its weights. Raises KeyError where one is missing."""
        limits = SequenceLimits(passage=facts["passage_tokens"])
        read = SequenceEncoder(encoder, placement, limits)
        return cls(read, facts["language"], facts["most"], facts["threshold"])

    def sequences(
        self, questions: Sequence[str], passages: Sequence[Sequence[str]], words_of: WordsOf
    ) -> list[TermSequence]:
        """Of each question with the first `most` of its passages' texts, read as words of the index."""
        texts = dict.fromkeys((*questions, *(text for some in passages for text in some[: self.most])))
        words = {text: words_of(text) for text in texts}
        distinct = list(dict.fromkeys(word for each in words.values() for word, _ in each))
        tokens = dict(zip(distinct, self.encoder.tokens(distinct), strict=True))
        return [
            self._sequence([words[question], *(words[text] for text in some[: self.most])], tokens)
            for question, some in zip(questions, passages, strict=True)
        ]

    def _sequence(
        self, texts: Sequence[Sequence[tuple[str, Sequence[str]]]], tokens: Mapping[str, Sequence[int]]
    ) -> TermSequence:
        """texts: the words of the question, then those of each passage. tokens: of each word."""
        read = [[token for word, _ in words for token in tokens[word]] for words in texts]
        sequence = self.encoder.sequence(read[0], read[1:])
        own = Counter(term for _, terms in texts[0] for term in terms)
        occurrences: list[Occurrence] = []
        begin = 1
        for number, (words, end) in enumerate(zip(texts, sequence.separators, strict=False)):
            place = begin
            for word, terms in words:
                # Words of the question that are not read are weighed where it ends, not forgotten.
                if place < end or number == 0:
                    priors = [_FIRST_WEIGHT if number else float(own[term]) for term in terms]
                    occurrences += map(Occurrence, [min(place, end)] * len(priors), terms, priors)
                place += len(tokens[word])
            begin = end + 1
        return TermSequence(sequence, dict(own), tuple(occurrences))

    def forward(self, sequences: Sequence[TermSequence]) -> TermWeights:
        """Weigh, with gradients; each term once a sequence, weights at least 0."""
        torch = require("torch")
        states = self.encoder.read([one.tokens for one in sequences]).states
        numbers: dict[tuple[int, str], int] = {}
        found = [(row, each) for row, one in enumerate(sequences) for each in one.occurrences]
        targets = [numbers.setdefault((row, each.term), len(numbers)) for row, each in found]
        rows, places, owners = (
            torch.tensor(values, dtype=torch.int64, device=states.device)
            for values in (
                [row for row, _ in found],
                [each.place for _, each in found],
                [row for row, _ in numbers],
            )
        )
        priors = torch.tensor([each.prior for _, each in found], device=states.device)
        values = torch.relu(self._heads["weight"](states[rows, places]).squeeze(1) + priors)
        index = torch.tensor(targets, dtype=torch.int64, device=states.device)
        weights = values.new_zeros(len(numbers)).scatter_reduce(0, index, values, "amax", include_self=False)
        has_any = torch.tensor([one.tokens.num_passages > 0 for one in sequences], device=states.device)
        change = self._heads["loss_change"](states[:, 0]).squeeze(1) * has_any
        return TermWeights(weights, owners, [term for _, term in numbers], change)

    def revise(self, sequences: Sequence[TermSequence]) -> list[dict[str, float]]:
        """The weights above 0 of each sequence's terms; a question without passages has its own terms' counts."""
        with require("torch").inference_mode():
            found = self.forward(sequences)
        revised: list[dict[str, float]] = [{} for _ in sequences]
        for term, row, weight in zip(found.terms, found.rows.tolist(), found.weights.tolist(), strict=True):
            if weight > 0:
                revised[row][term] = weight
        return [
            weights if one.tokens.num_passages else {term: float(count) for term, count in one.own.items()}
            for one, weights in zip(sequences, revised, strict=True)
        ]

    def choose_depths(self, sequences: Sequence[TermSequence]) -> list[int]:
        """For each by how many of its first passages to revise it, by `depths_of_lowest_loss`."""
        torch = require("torch")

        def guess(depth: int) -> FloatArray:
            with torch.inference_mode():
                guessed: FloatArray = (
                    self.forward([one.first(depth) for one in sequences]).loss_change.cpu().numpy()
                )
            return guessed

        lengths = [one.tokens.num_passages for one in sequences]
        return depths_of_lowest_loss(guess, lengths, self.most, self.threshold)
