"""Means over questions, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ragkit.eval.measures.significance import bootstrap_interval, wilson_interval


@dataclass(frozen=True, slots=True)
class Mean:
    """A measure's mean over the questions that have it, and its 95 % interval.

    Wilson's where every value is 0 or 1, for a bootstrap of a few alike sees no doubt; else a bootstrap (BCa).
    """

    value: float
    low: float
    high: float
    num_questions: int

    def to_json(self) -> dict[str, object]:
        return {"mean": self.value, "interval": [self.low, self.high], "questions": self.num_questions}


def mean_of(values: Sequence[float], seed: int = 0) -> Mean:
    """The mean and its interval; of equal values that are no shares the interval is that value.

    Raises:
        ValueError: there is no value.
    """
    if not values:
        raise ValueError("there is no value to take the mean of")
    is_share = all(value in (0, 1) for value in values)
    interval = wilson_interval(sum(values), len(values)) if is_share else bootstrap_interval(values, seed=seed)
    return Mean(float(np.mean(values)), interval.low, interval.high, len(values))
