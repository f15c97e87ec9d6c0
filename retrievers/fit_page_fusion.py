"""Fitting the weights of a page fusion on a small set of labelled questions.

The model is a conditional logit (McFadden, "Conditional logit analysis of qualitative choice behavior",
1974) over the pages that the routes give for a question: the probability of a page grows with the
exponential of its weighted z-scores. The loss is the cross-entropy against the relevant pages, with a
weak Gaussian prior on the weights; it is convex. Weights are not negative.

Safeguard: the fusion and the better route alone are cross-validated with whole documents left out, by
the log-likelihood of the relevant pages and by nDCG@10. On 20 to 60 questions the likelihood tells an
informative route from a random one where nDCG@10 does not yet. The fusion is used where

- its likelihood is better by more than the standard error of the difference, and its nDCG@10 is not
  worse by more than that of its own difference; or
- the routes' own nDCG@10 differ by less than a standard error, so that to choose one would be to guess,
  and the likelihood of the fusion is better.

Otherwise the better route is used alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ragkit.errors import DataError
from ragkit.extras import require
from ragkit.retrievers.fusion import Ranking, ScoreArray
from ragkit.retrievers.page_fusion import Page, standard_score_fusion, standard_scores
from ragkit.retrievers.page_fusion_weights import PageFusionWeights

MeanAndError = tuple[float, float]

_CUTOFF = 10
_LEAST_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class LabelledQuestion:
    """What the routes gave for one question, and which pages answer it.

    document: the questions of one document are held together in cross-validation.
    scores: by route, then page; higher is better. relevant: also those that no route gave.
    """

    document: str
    scores: Mapping[str, Mapping[Page, float]]
    relevant: frozenset[Page]


def fit_page_fusion(
    questions: Sequence[LabelledQuestion], depth: int, *, max_folds: int = 10, prior: float = 1.0
) -> PageFusionWeights:
    """Fit and cross-validate the weights of the routes.

    Args:
        depth: pages that each route gave at most, which searches with the weights then take too.
        max_folds: parts that the documents are divided into; fewer where there are fewer documents.
        prior: half of it times the sum of squared weights is added to the loss, which is a sum over
            questions; weights are of the order of 1, as z-scores are.

    Raises:
        DataError: questions of fewer than two documents, a question without relevant pages, or not the
            same routes in all.
    """
    routes = _routes_of(questions)
    cases = [_Case.of(question, routes) for question in questions]
    documents = [question.document for question in questions]
    alone = np.array([[case.ndcg(weights) for weights in np.eye(len(routes))] for case in cases])
    best, second = map(int, np.argsort(-alone.mean(axis=0), kind="stable")[:2])
    fused, likelihoods = _cross_validate(cases, _folds(documents, max_folds), best, prior)
    gain = _mean_and_error(fused - alone[:, best], documents)
    likelihood_gain = _mean_and_error(likelihoods, documents)
    lead = _mean_and_error(alone[:, best] - alone[:, second], documents)
    fitted = _shares(_fit(cases, prior))
    weights = fitted if _is_better(gain, likelihood_gain, lead) else np.eye(len(routes))[best]
    return PageFusionWeights(
        routes=routes,
        weights=tuple(map(float, weights)),
        depth=depth,
        fitted=tuple(map(float, fitted)),
        num_questions=len(questions),
        num_documents=len(set(documents)),
        alone=tuple(map(float, alone.mean(axis=0))),
        fused=float(fused.mean()),
        gain=gain,
        likelihood_gain=likelihood_gain,
    )


@dataclass(frozen=True, slots=True)
class _Case:
    """A question in numbers. relevant: keys; target: float64 (n,), shares of the relevant pages found."""

    rankings: tuple[Ranking, ...]
    relevant: frozenset[int]
    features: ScoreArray
    target: ScoreArray

    @classmethod
    def of(cls, question: LabelledQuestion, routes: Sequence[str]) -> _Case:
        pages = sorted(question.relevant.union(*question.scores.values()))
        key_of = {page: key for key, page in enumerate(pages)}
        rankings = tuple(_ranking(question.scores[route], key_of) for route in routes)
        relevant = frozenset(key_of[page] for page in question.relevant)
        keys, features = standard_scores(rankings)
        hit = np.isin(keys, list(relevant)).astype(np.float64)
        return cls(rankings, relevant, features, hit / max(hit.sum(), 1.0))

    def ndcg(self, weights: Sequence[float] | ScoreArray) -> float:
        """nDCG@10 of the fusion with these weights, every relevant page counting 1."""
        keys, _ = standard_score_fusion(self.rankings, list(weights))
        discounts = 1 / np.log2(np.arange(2, _CUTOFF + 2))
        gains = np.isin(keys[:_CUTOFF], list(self.relevant))
        return float(discounts[: len(gains)][gains].sum() / discounts[: len(self.relevant)].sum())

    def log_likelihood(self, weights: ScoreArray) -> tuple[float, ScoreArray]:
        """Mean log-probability of the relevant pages found, and its gradient; 0 where none was found."""
        if not self.target.any():
            return 0.0, np.zeros_like(weights)
        scores = self.features @ weights
        shifted = np.exp(scores - scores.max())
        value = self.target @ scores - scores.max() - np.log(shifted.sum())
        return float(value), self.features.T @ (self.target - shifted / shifted.sum())


def _ranking(scores: Mapping[Page, float], key_of: Mapping[Page, int]) -> Ranking:
    keys = np.array([key_of[page] for page in scores], np.int64)
    return keys, np.array(list(scores.values()), np.float64)


def _routes_of(questions: Sequence[LabelledQuestion]) -> tuple[str, ...]:
    documents = {question.document for question in questions}
    if len(documents) < 2:
        raise DataError(
            f"{len(questions)} questions on {len(documents)} documents; page fusion is fitted on some documents "
            "and checked on others: give questions on at least two, better ten"
        )
    routes = tuple(questions[0].scores)
    if len(routes) < 2:
        raise DataError(f"the questions were run along {len(routes)} route; fusion needs at least two")
    for number, question in enumerate(questions, 1):
        if not question.relevant:
            raise DataError(f"question {number} has no relevant page; leave it out")
        if set(question.scores) != set(routes):
            raise DataError(
                f"question {number} has the routes {sorted(question.scores)}, expected {sorted(routes)}"
            )
    return routes


def _cross_validate(
    cases: Sequence[_Case], folds: NDArray[np.int64], best: int, prior: float
) -> tuple[ScoreArray, ScoreArray]:
    """Of each case with weights fitted on the other folds, float64 (cases,): nDCG@10 of the fusion, and its
    log-likelihood less that of the route `best` with a weight fitted for it alone."""
    ndcg, gains = np.zeros(len(cases)), np.zeros(len(cases))
    for fold in sorted(set(folds.tolist())):
        others = [case for case, other in zip(cases, folds, strict=True) if other != fold]
        weights, alone = _fit(others, prior), _fit(others, prior, only=best)
        for i in np.flatnonzero(folds == fold).tolist():
            ndcg[i] = cases[i].ndcg(weights)
            gains[i] = cases[i].log_likelihood(weights)[0] - cases[i].log_likelihood(alone)[0]
    return ndcg, gains


def _is_better(gain: MeanAndError, likelihood_gain: MeanAndError, lead: MeanAndError) -> bool:
    """The safeguard; lead: nDCG@10 of the better route less that of the next."""
    clearly = likelihood_gain[0] > likelihood_gain[1] and gain[0] >= -gain[1]
    return clearly or (lead[0] <= lead[1] and likelihood_gain[0] > 0)


def _fit(cases: Sequence[_Case], prior: float, only: int | None = None) -> ScoreArray:
    """Weights float64 (routes,) that minimise the loss; those of other routes than `only`, if given, are 0."""
    optimize = require("scipy.optimize")
    num_routes = len(cases[0].rankings)

    def loss(weights: ScoreArray) -> tuple[float, ScoreArray]:
        total, slope = 0.5 * prior * float(weights @ weights), prior * weights
        for case in cases:
            value, gradient = case.log_likelihood(weights)
            total, slope = total - value, slope - gradient
        return total, slope

    start = np.eye(num_routes)[only] if only is not None else np.full(num_routes, 1 / num_routes)
    bounds = [(0, None if only in (None, route) else 0) for route in range(num_routes)]
    found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return np.asarray(found.x, np.float64)


def _shares(weights: ScoreArray) -> ScoreArray:
    """Scaled to add up to 1, which changes no order; shares that no ranking would show are 0."""
    if weights.sum() == 0:
        return np.full_like(weights, 1 / len(weights))
    shares: ScoreArray = weights / weights.sum()
    shares[shares < _LEAST_SHARE] = 0.0
    return np.asarray(shares / shares.sum(), np.float64)


def _folds(documents: Sequence[str], max_folds: int) -> NDArray[np.int64]:
    """The fold of each question, int64 (questions,): whole documents, folds of about equal size."""
    counts = Counter(documents)
    sizes = [0] * min(max_folds, len(counts))
    fold_of: dict[str, int] = {}
    for document, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        fold_of[document] = sizes.index(min(sizes))
        sizes[fold_of[document]] += count
    return np.array([fold_of[document] for document in documents], np.int64)


def _mean_and_error(values: ScoreArray, documents: Sequence[str]) -> MeanAndError:
    """The mean over questions, and the larger of its standard errors over questions and over documents.

    Questions of one document resemble each other, so the first alone is too small; with few documents
    the second alone can be small by chance.
    """
    count = len(values)
    residuals = values - values.mean()
    names = sorted(set(documents))
    sums = np.zeros(len(names))
    np.add.at(sums, np.searchsorted(names, list(documents)), residuals)
    over_questions = residuals @ residuals * count / (count - 1)
    over_documents = sums @ sums * len(names) / (len(names) - 1)
    return float(values.mean()), float(np.sqrt(max(over_questions, over_documents)) / count)
