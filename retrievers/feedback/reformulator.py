"""A trained model that revises the vectors of questions by what they found: the seam of LoL's reformulators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from ragkit.records import FloatArray, Hit

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Revision:
    """vectors: (q, dim). loss_change: (q,), the model's guess of what revising changes in the query's loss."""

    vectors: Tensor
    loss_change: Tensor


class Reformulator(Protocol):
    """Makes the vector that a question is searched with again from the first passages that it found.

    Passages come best first and may be fewer than the model was trained for, down to none: the vector of a
    question without passages is that of its embedder. A row does not depend on the other questions of the batch
    (1e-5 in float32).

    kind "dense": reads the texts of question and passages. "vector": reads vectors alone, and so revises for page
    pictures as well. What revises terms is `ragkit.retrievers.feedback.term_reformulator`.
    """

    @property
    def kind(self) -> Literal["dense", "vector"]: ...

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

    def choose_depths(
        self,
        questions: Sequence[str],
        vectors: FloatArray,
        passages: Sequence[Sequence[Hit]],
        passage_vectors: Sequence[FloatArray],
    ) -> list[int]:
        """For each question how much feedback it can bear: by how many of its first passages, from 0 to all.

        Arguments as of `revise`.
        """
        ...


def depths_of_lowest_loss(
    guess: Callable[[int], FloatArray], lengths: Sequence[int], most: int, threshold: float
) -> list[int]:
    """For each question the depth of the lowest guessed loss among those that it has passages for.

    None where no depth is guessed to be better than no feedback by more than the threshold.

    Args:
        guess: for a depth from 1 each question's guessed change of its loss, (q,).
        lengths: how many passages each question has.
        most: the greatest depth.
    """
    deepest = min(most, max(lengths, default=0))
    changes = np.full((deepest + 1, len(lengths)), np.inf)
    changes[0] = -threshold
    for depth in range(1, deepest + 1):
        changes[depth] = np.where(np.asarray(lengths) >= depth, guess(depth), np.inf)
    chosen: list[int] = changes.argmin(axis=0).tolist()
    return chosen
