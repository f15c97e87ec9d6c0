"""Whether a difference of means over the same queries is more than chance, and how sure a mean is.

Paired randomisation is the test that information retrieval has settled on: Smucker, Allan and Carterette,
"A comparison of statistical significance tests for information retrieval evaluation", CIKM 2007.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ragkit.errors import DataError
from ragkit.extras import require

RANDOMIZATION_RESAMPLES = 99_999
BOOTSTRAP_RESAMPLES = 10_000
_SIGNS_BATCH = 500
_BOOTSTRAP_BATCH = 50


@dataclass(frozen=True, slots=True)
class Interval:
    """Both ends of a confidence interval."""

    low: float
    high: float


def paired_randomization(
    a: ArrayLike, b: ArrayLike, *, seed: int = 0, resamples: int = RANDOMIZATION_RESAMPLES
) -> float:
    """Two-sided p-value of the difference of means of paired values, float64 (q,) each; see `randomization_p`.

    Raises:
        DataError: the two do not pair, or a value is missing or not finite.
    """
    return float(randomization_p(_differences(a, b)[None], seed=seed, resamples=resamples)[0])


def randomization_p(
    differences: ArrayLike, *, seed: int = 0, resamples: int = RANDOMIZATION_RESAMPLES
) -> NDArray[np.float64]:
    """Two-sided p-values, float64 (m,), of the means of m rows of paired differences, float64 (m, q).

    If two systems are alike, each difference could as well have the other sign. p is the share of all ways to
    set the signs, 2^q of them, whose mean is at least as far from 0. Where there are more than `resamples` ways,
    that many are drawn, the same for all rows, and p = (1 + those as far) / (1 + resamples), which is never 0.
    The sign of a difference of 0 changes nothing, so only differences other than 0 count into the 2^q.

    This is scipy.stats.permutation_test of one sample, with the signs drawn once for all rows and applied to
    them by a matrix product: a twentieth of the time over a thousand queries.
    """
    rows = np.atleast_2d(np.asarray(differences, np.float64))
    p_values = np.ones(len(rows))
    counts = np.count_nonzero(rows, axis=1)
    few = (counts > 0) & (counts <= np.log2(resamples))
    for index in np.flatnonzero(few):
        row = rows[index][rows[index] != 0]
        p_values[index] = _num_as_far(row[None], _all_signs(len(row)))[0] / 2 ** len(row)
    many = (counts > 0) & ~few
    if many.any():
        drawn = _drawn_signs(rows.shape[1], resamples, np.random.default_rng(seed))
        p_values[many] = (1 + _num_as_far(rows[many], drawn)) / (1 + resamples)
    return p_values


def bootstrap_interval(
    values: ArrayLike, *, confidence: float = 0.95, resamples: int = BOOTSTRAP_RESAMPLES, seed: int = 0
) -> Interval:
    """Bootstrap interval of the mean of values, float64 (q,); see `bootstrap_intervals`.

    Raises:
        DataError: there is no value, or one is not finite.
    """
    return bootstrap_intervals(_finite(values)[None], confidence=confidence, resamples=resamples, seed=seed)[0]


def bootstrap_intervals(
    rows: ArrayLike, *, confidence: float = 0.95, resamples: int = BOOTSTRAP_RESAMPLES, seed: int = 0
) -> list[Interval]:
    """Bootstrap intervals of the means of m rows of finite values, float64 (m, q), all from the same draws.

    Bias-corrected and accelerated (BCa: Efron, "Better bootstrap confidence intervals", JASA 1987), because
    values of queries are skewed: many lie at 0 or 1. The interval of equal values is that value.
    """
    array = np.asarray(rows, np.float64)
    scale = np.abs(array).max(axis=1)
    # Values that differ by rounding alone are equal: resampling them would only show the rounding.
    varied = np.ptp(array, axis=1) > 1e-12 * scale
    low, high = array.mean(axis=1), array.mean(axis=1)
    if varied.any():
        result = require("scipy.stats").bootstrap(
            (array[varied] / scale[varied, None],),
            np.mean,
            axis=-1,
            confidence_level=confidence,
            n_resamples=resamples,
            batch=_BOOTSTRAP_BATCH,
            method="BCa",
            rng=np.random.default_rng(seed),
        )
        low[varied] = result.confidence_interval.low * scale[varied]
        high[varied] = result.confidence_interval.high * scale[varied]
    return [Interval(float(one), float(other)) for one, other in zip(low, high, strict=True)]


def wilson_interval(num_right: float, number: int, confidence: float = 0.95) -> Interval:
    """Interval of a share of `number` > 0 questions (Wilson, JASA 1927): within 0 to 1, and no point at 0 or 1."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = num_right / number
    middle = (share + z**2 / (2 * number)) / (1 + z**2 / number)
    half = z / (1 + z**2 / number) * math.sqrt(share * (1 - share) / number + z**2 / (4 * number**2))
    # At a share of 0 or 1 the end is that share; rounding must not put it beside.
    return Interval(min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half)))


def bootstrap_difference(
    a: ArrayLike,
    b: ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = BOOTSTRAP_RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Bootstrap interval of the mean of b - a; queries are drawn, and both values of a query stay together.

    Raises:
        DataError: the two do not pair, or a value is missing or not finite.
    """
    return bootstrap_interval(_differences(b, a), confidence=confidence, resamples=resamples, seed=seed)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number, in the order given.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 1979: of
    m values the i-th smallest (from 0) is multiplied by m - i, and none becomes smaller than one before it.
    """
    array = np.asarray(p_values, np.float64)
    order = np.argsort(array, kind="stable")
    stepped = np.maximum.accumulate(array[order] * (len(array) - np.arange(len(array))))
    adjusted = np.empty_like(array)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in adjusted]


def _num_as_far(rows: NDArray[np.float64], signs: Iterable[NDArray[np.float64]]) -> NDArray[np.int64]:
    """How many rows of signs, float64 (n, q) a batch, bring the sum of each row, float64 (m, q), as far from 0."""
    # Sums that are equal by arithmetic may differ in the last bits by the order of addition.
    slack = 1e-12 * np.abs(rows).sum(axis=1)
    reached = np.abs(rows.sum(axis=1)) - slack
    as_far = np.zeros(len(rows), np.int64)
    for batch in signs:
        as_far += (np.abs(batch @ rows.T) >= reached).sum(axis=0)
    return as_far


def _all_signs(num_queries: int) -> Iterator[NDArray[np.float64]]:
    for start in range(0, 2**num_queries, _SIGNS_BATCH):
        ways = np.arange(start, min(start + _SIGNS_BATCH, 2**num_queries))
        bits = ways[:, None] >> np.arange(num_queries) & 1
        yield 2 * bits.astype(np.float64) - 1


def _drawn_signs(num_queries: int, count: int, rng: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    for start in range(0, count, _SIGNS_BATCH):
        drawn = rng.integers(0, 2, (min(_SIGNS_BATCH, count - start), num_queries), np.int8)
        yield 2 * drawn.astype(np.float64) - 1


def _differences(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    minuend, subtrahend = _finite(a), _finite(b)
    if minuend.shape != subtrahend.shape:
        raise DataError(f"{len(minuend)} and {len(subtrahend)} values cannot be paired")
    return minuend - subtrahend


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or array.size == 0:
        raise DataError(f"values of shape {array.shape}, expected one for each of at least one query")
    if not np.isfinite(array).all():
        raise DataError(f"{np.count_nonzero(~np.isfinite(array))} of {array.size} values are not finite numbers")
    return array
