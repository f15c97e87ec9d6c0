"""Means over questions, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_RESAMPLES = 10_000
_BATCH = 500
_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Mean:
    """A measure's mean over the questions that have it, and the 95 % percentile bootstrap interval of it."""

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
    array = np.array(values, np.float64)
    low, high = _interval(array, seed)
    return Mean(float(array.mean()), low, high, len(values))


def _interval(values: NDArray[np.float64], seed: int) -> tuple[float, float]:
    """Percentile bootstrap (Efron, Annals of Statistics 7, 1979)."""
    rng = np.random.default_rng(seed)
    means = [
        values[rng.integers(0, len(values), (_BATCH, len(values)))].mean(axis=1)
        for _ in range(_RESAMPLES // _BATCH)
    ]
    low, high = np.percentile(np.concatenate(means), _PERCENTILES)
    return float(low), float(high)
