"""LoL's reformulators while they are trained: queries with some of their passages in, revised vectors out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from ragkit.extras import require
from ragkit.indexers.models.text_embedder import batches_by_length
from ragkit.records import FloatArray
from ragkit.retrievers.feedback.reformulator import Revision
from ragkit.retrievers.feedback.term_reformulator import TermReformulator, WordsOf
from ragkit.retrievers.feedback.text_reformulator import TextReformulator
from ragkit.retrievers.feedback.vector_reformulator import VectorReformulator, padded
from ragkit.retrievers.training.term_matrix import TermMatrix

if TYPE_CHECKING:
    from torch import Tensor

    from ragkit.retrievers.feedback.sequence_encoder import SequenceEncoder

# Characters of a token, to guess lengths by: pieces need not be exact.
_CHARACTERS = 4


@dataclass(frozen=True, slots=True)
class FeedbackQuery:
    """A query to train on. vector: float32 (dim,), empty where terms are revised. relevant: at least one.

    found: rows of its first passages, best first.
    """

    text: str
    vector: FloatArray
    found: tuple[int, ...]
    relevant: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FeedbackSet:
    """Queries of one collection, all of whose passages are their candidates.

    passages: float32 (n, dim), (n, 0) where terms are revised. texts: of the n passages. terms: theirs, where
    terms are revised.
    """

    passages: FloatArray
    texts: tuple[str, ...]
    queries: tuple[FeedbackQuery, ...]
    terms: TermMatrix | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A query and the rows of the passages that one of its revisions sees."""

    query: FeedbackQuery
    rows: tuple[int, ...]


class LolStudent(Protocol):
    """A reformulator and how it reads a `FeedbackSet`."""

    @property
    def kind(self) -> Literal["dense", "sparse", "vector"]: ...

    @property
    def parameters(self) -> Mapping[str, Tensor]: ...

    @property
    def most(self) -> int:
        """Passages that it looks at."""
        ...

    @property
    def num_tokens(self) -> int:
        """How many it has read so far."""
        ...

    def candidates(self, one: FeedbackSet) -> Tensor:
        """(n, dim), the set's passages; dense, or sparse COO."""
        ...

    def unrevised(self, one: FeedbackSet, queries: Sequence[FeedbackQuery]) -> Tensor:
        """(len(queries), dim), as they are searched with first."""
        ...

    def pieces(self, one: FeedbackSet, asked: Sequence[Asked], most_tokens: int) -> list[list[int]]:
        """Indices of all, in pieces of about one length and of at most about so many tokens."""
        ...

    def forward(self, one: FeedbackSet, asked: Sequence[Asked]) -> Revision:
        """With gradients."""
        ...


class VectorStudent:
    """A `LolStudent`: `VectorReformulator`, which reads no tokens."""

    kind: Literal["vector"] = "vector"
    num_tokens = 0

    def __init__(self, model: VectorReformulator) -> None:
        self.model = model
        self.parameters, self.most = model.parameters, model.most

    def candidates(self, one: FeedbackSet) -> Tensor:
        return _tensor(one.passages)

    def unrevised(self, one: FeedbackSet, queries: Sequence[FeedbackQuery]) -> Tensor:
        del one
        return _tensor(np.stack([query.vector for query in queries]))

    def pieces(self, one: FeedbackSet, asked: Sequence[Asked], most_tokens: int) -> list[list[int]]:
        del one, most_tokens
        return [list(range(len(asked)))]

    def forward(self, one: FeedbackSet, asked: Sequence[Asked]) -> Revision:
        counts = [min(len(each.rows), self.most) for each in asked]
        passages = padded([one.passages[list(each.rows)] for each in asked], counts, self.model.shape.dim)
        queries = self.unrevised(one, [each.query for each in asked])
        return self.model.forward(queries, passages, require("torch").tensor(counts))


class TextStudent:
    """A `LolStudent`: `TextReformulator`."""

    kind: Literal["dense"] = "dense"

    def __init__(self, model: TextReformulator) -> None:
        self.model = model
        self.parameters, self.most, self.num_tokens = model.parameters, model.most, 0

    def candidates(self, one: FeedbackSet) -> Tensor:
        return _tensor(one.passages).to(self.model.encoder.placement.device)

    def unrevised(self, one: FeedbackSet, queries: Sequence[FeedbackQuery]) -> Tensor:
        del one
        return _tensor(np.stack([query.vector for query in queries])).to(self.model.encoder.placement.device)

    def pieces(self, one: FeedbackSet, asked: Sequence[Asked], most_tokens: int) -> list[list[int]]:
        return _pieces(self.model.encoder, one, asked, most_tokens)

    def forward(self, one: FeedbackSet, asked: Sequence[Asked]) -> Revision:
        sequences = self.model.sequences([each.query.text for each in asked], _texts(one, asked))
        self.num_tokens += sum(len(sequence.ids) for sequence in sequences)
        return self.model.forward(self.unrevised(one, [each.query for each in asked]), sequences)


class TermStudent:
    """A `LolStudent`: `TermReformulator`. Rows have unit length, which changes no ranking.

    Args:
        words_of: as of `TermReformulator.sequences`.
    """

    kind: Literal["sparse"] = "sparse"

    def __init__(self, model: TermReformulator, words_of: WordsOf) -> None:
        self.model = model
        self._words_of = words_of
        self.parameters, self.most, self.num_tokens = model.parameters, model.most, 0

    def candidates(self, one: FeedbackSet) -> Tensor:
        return _terms(one).gains.to(self.model.encoder.placement.device)

    def unrevised(self, one: FeedbackSet, queries: Sequence[FeedbackQuery]) -> Tensor:
        matrix = _terms(one)
        terms = [Counter(term for _, some in self._words_of(query.text) for term in some) for query in queries]
        rows = require("torch").stack([matrix.row(one) for one in terms])
        return rows.to(self.model.encoder.placement.device)  # type: ignore[no-any-return]

    def pieces(self, one: FeedbackSet, asked: Sequence[Asked], most_tokens: int) -> list[list[int]]:
        return _pieces(self.model.encoder, one, asked, most_tokens)

    def forward(self, one: FeedbackSet, asked: Sequence[Asked]) -> Revision:
        torch = require("torch")
        sequences = self.model.sequences([each.query.text for each in asked], _texts(one, asked), self._words_of)
        self.num_tokens += sum(len(sequence.tokens.ids) for sequence in sequences)
        found, numbers = self.model.forward(sequences), _terms(one).numbers
        # A question's term that no passage has is no term of the matrix.
        kept = [i for i, term in enumerate(found.terms) if term in numbers]
        columns = torch.tensor(
            [numbers[found.terms[i]] for i in kept], dtype=torch.int64, device=found.rows.device
        )
        places = torch.tensor(kept, dtype=torch.int64, device=found.rows.device)
        weights = found.weights.new_zeros(len(asked), len(numbers))
        weights = weights.index_put((found.rows[places], columns), found.weights[places])
        revised = torch.nn.functional.normalize(weights, dim=1)
        if alone := [i for i, each in enumerate(asked) if not each.rows]:
            base = self.unrevised(one, [asked[i].query for i in alone])
            revised = revised.index_put((torch.tensor(alone, device=revised.device),), base)
        return Revision(revised, found.loss_change)


def _tensor(rows: FloatArray) -> Tensor:
    tensor: Tensor = require("torch").from_numpy(np.ascontiguousarray(rows, np.float32))
    return tensor


def _texts(one: FeedbackSet, asked: Sequence[Asked]) -> list[list[str]]:
    return [[one.texts[row] for row in each.rows] for each in asked]


def _terms(one: FeedbackSet) -> TermMatrix:
    assert one.terms is not None, "sets that terms are revised with have them"
    return one.terms


def _pieces(
    encoder: SequenceEncoder, one: FeedbackSet, asked: Sequence[Asked], most_tokens: int
) -> list[list[int]]:
    limits = encoder.limits

    def guessed(text: str, most: int) -> int:
        return min(most, len(text) // _CHARACTERS + 2)

    lengths = [
        min(
            limits.total,
            guessed(each.query.text, limits.query)
            + sum(guessed(one.texts[row], limits.passage) for row in each.rows),
        )
        for each in asked
    ]
    return list(batches_by_length([encoder.batch_width(length) for length in lengths], most_tokens))
