"""A trained model that revises the vectors of questions by what they found: the seam of LoL's reformulators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

from ragkit.records import FloatArray, Hit


class Reformulator(Protocol):
    """Makes the vector that a question is searched with again from the first passages that it found.

    Passages come best first and may be fewer than the model was trained for, down to none: the vector of a
    question without passages is that of its embedder. A row does not depend on the other questions of the batch
    (1e-5 in float32).

    kind "dense": reads the texts of question and passages. "vector": reads vectors alone, and so revises for page
    pictures as well. "sparse": reads texts, and its vectors are weights of a vocabulary's terms.
    """

    @property
    def kind(self) -> Literal["dense", "sparse", "vector"]: ...

    @property
    def fingerprint(self) -> str:
        """That of the `Embedder` whose passages the revised vectors are compared with."""
        ...

    @property
    def most(self) -> int:
        """How many passages it looks at; further ones change nothing."""
        ...

    def revise(
        self,
        questions: Sequence[str],
        vectors: FloatArray,
        passages: Sequence[Sequence[Hit]],
        passage_vectors: Sequence[FloatArray],
    ) -> FloatArray:
        """float32 (q, dim), of unit length where the embedder's metric is "cosine".

        Args:
            vectors: float32 (q, dim), the questions as the embedder has them.
            passages: for each question its feedback, best first.
            passage_vectors: for each question float32 (number of its passages, dim), in their order.
        """
        ...


@runtime_checkable
class GuardedReformulator(Protocol):
    """A `Reformulator` that also says how much feedback a question can bear."""

    def choose_depths(
        self,
        questions: Sequence[str],
        vectors: FloatArray,
        passages: Sequence[Sequence[Hit]],
        passage_vectors: Sequence[FloatArray],
    ) -> list[int]:
        """For each question by how many of its first passages to revise it, from 0 to all.

        Arguments as of `Reformulator.revise`.
        """
        ...
