"""The surest of several answers, each given from one page alone (VisRAG, arXiv 2410.10594, eq. 4 and 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Selection:
    """index: of the answer chosen. weights: float64 (n,), what each answer scored."""

    index: int
    weights: NDArray[np.float64]


def select_answer(scores: Sequence[float], mean_logprobs: Sequence[float]) -> Selection:
    """The answer with the highest share of the retrieval scores times its reciprocal perplexity; first of equals.

    scores: of the pages, cosines in VisRAG: the softmax has no temperature, so that wider ones decide alone.
    mean_logprobs: of each answer, the mean natural log-probability of its tokens, whose exponential is the
    reciprocal of its perplexity; an answer with one that is no finite number has the weight 0.

    Raises:
        ValueError: the two differ in length, or are empty.
    """
    if not scores or len(scores) != len(mean_logprobs):
        raise ValueError(
            f"{len(scores)} scores and {len(mean_logprobs)} log-probabilities; give one of each a page"
        )
    means = np.asarray(mean_logprobs, np.float64)
    confidences = np.exp(np.where(np.isfinite(means), means, -np.inf))
    weights = retrieval_shares(scores).astype(np.float64) * confidences
    return Selection(int(np.argmax(weights)), weights)


def retrieval_shares(scores: Sequence[float]) -> NDArray[np.float32]:
    """float32 (n,): softmax of the scores without temperature, in float32 as the authors compute it."""
    given = np.asarray(scores, np.float32)
    exponentials = np.exp(given - given.max())
    shares: NDArray[np.float32] = exponentials / exponentials.sum()
    return shares


def mean_logprob(logprobs: Sequence[float]) -> float:
    """Mean log-probability of an answer's tokens; an answer without tokens is never the surest (-inf)."""
    return sum(logprobs) / len(logprobs) if logprobs else float("-inf")
