"""Means over questions, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ragkit.eval.measures.significance import bootstrap_interval


@dataclass(frozen=True, slots=True)
class Mean:
    """A measure's mean over the questions that have it, and the 95 % bootstrap interval (BCa) of it."""

    value: float
    low: float
    high: float
    num_questions: int

    def to_json(self) -> dict[str, object]:
        return {"mean": self.value, "interval": [self.low, self.high], "questions": self.num_questions}


def mean_of(values: Sequence[float], seed: int = 0) -> Mean:
    """The mean and its interval; of one value, or of equal ones, the interval is that value.

    Raises:
        ValueError: there is no value.
    """
    if not values:
        raise ValueError("there is no value to take the mean of")
    interval = bootstrap_interval(values, seed=seed)
    return Mean(float(np.mean(values)), interval.low, interval.high, len(values))
