"""Fitting on planted data: pages and questions are random vectors, routes see them through noise."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.optimize import brentq

from ragkit.errors import DataError
from ragkit.eval.measures.ranking_metrics import score_run
from ragkit.retrievers.fit_page_fusion import LabelledQuestion, _Case, _fit, _folds, fit_page_fusion
from ragkit.retrievers.page_fusion_weights import PageFusionWeights

SEEDS = range(5)
NUM_DOCUMENTS, NUM_PAGES, DIM, DEPTH = 40, 20, 32, 100


def rows(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.normal(size=(count, DIM)) / DIM**0.5


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def questions(seed: int, count: int, image_noise: float | None, text_noise: float = 1.5) -> list[LabelledQuestion]:
    """Each question is a page's vector with noise. image_noise None: the pictures' vectors are random."""
    rng = np.random.default_rng(seed)
    true = rows(rng, NUM_DOCUMENTS * NUM_PAGES)
    text = unit(true + text_noise * rows(rng, len(true)))
    image = unit(rows(rng, len(true)) if image_noise is None else true + image_noise * rows(rng, len(true)))
    places = [(f"d{i // NUM_PAGES:02}", i % NUM_PAGES + 1) for i in range(len(true))]
    made = []
    for page in rng.integers(len(true), size=count):
        query = unit(true[page] + rows(rng, 1)[0])
        scores = {}
        for route, vectors in (("text", text), ("image", image)):
            found = vectors @ query
            scores[route] = {places[i]: float(found[i]) for i in np.argsort(-found)[:DEPTH]}
        made.append(LabelledQuestion(places[page][0], scores, frozenset([places[page]])))
    return made


@cache
def fitted(seed: int, count: int, image_noise: float | None) -> tuple[PageFusionWeights, float, float, float]:
    """Weights fitted on `count` questions of half of the documents; on the other half nDCG@10 of the fusion,
    of the texts and of the pictures."""
    made = questions(seed, 2 * count + 200, image_noise)
    here = [question for question in made if int(question.document[1:]) % 2][:count]
    there = [_Case.of(q, ("text", "image")) for q in made if not int(q.document[1:]) % 2]
    weights = fit_page_fusion(here, DEPTH)
    held_out = (
        float(np.mean([case.ndcg(shares) for case in there])) for shares in (weights.weights, (1, 0), (0, 1))
    )
    return weights, *held_out


@pytest.mark.parametrize("count", [20, 60])
@pytest.mark.parametrize("seed", SEEDS)
def test_random_pictures_get_no_weight(seed, count):
    weights, fused, text, image = fitted(seed, count, None)
    assert weights.weights[1] <= 0.02
    assert image < 0.05 < text
    assert fused >= text - 0.005


@pytest.mark.parametrize("count", [20, 60])
@pytest.mark.parametrize("seed", SEEDS)
def test_informative_pictures_raise_the_result_on_other_documents(seed, count):
    weights, fused, text, image = fitted(seed, count, 1.5)
    assert fused > max(text, image) + 0.05
    assert 0.3 < weights.weights[1] < 0.75


@pytest.mark.parametrize("noise", [3.0, 8.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_fusion_is_never_worse_than_the_better_route(seed, noise):
    _, fused, text, image = fitted(seed, 40, noise)
    assert text > image
    assert fused >= text - 0.005


def test_what_is_reported_is_what_was_measured():
    made = [question for question in questions(0, 120, 1.5) if int(question.document[1:]) % 2][:40]
    weights = fit_page_fusion(made, DEPTH)
    qrels = {f"q{i}": {str(page): 1 for page in q.relevant} for i, q in enumerate(made)}
    for route, value in zip(weights.routes, weights.alone, strict=True):
        run = {f"q{i}": {str(page): score for page, score in q.scores[route].items()} for i, q in enumerate(made)}
        assert score_run(qrels, run, ["nDCG@10"]).means["nDCG@10"] == pytest.approx(value, abs=1e-6)
    assert weights.routes == ("text", "image")
    assert (weights.num_questions, weights.depth) == (40, DEPTH)
    assert weights.num_documents == len({question.document for question in made})
    assert weights.gain[0] == pytest.approx(weights.fused - max(weights.alone))
    assert weights.gain[1] > 0
    assert sum(weights.weights) == pytest.approx(1)


def test_ndcg_counts_relevant_pages_that_no_route_found():
    question = LabelledQuestion(
        "a",
        {"text": {("a", 1): 3.0, ("a", 2): 2.0, ("a", 3): 1.0}, "image": {}},
        frozenset([("a", 2), ("a", 9)]),
    )
    ideal = 1 + 1 / np.log2(3)
    assert _Case.of(question, ("text", "image")).ndcg((1, 0)) == pytest.approx((1 / np.log2(3)) / ideal)


def test_the_weight_solves_the_equation_of_its_optimum():
    # Two pages with z-scores 1 and -1, the first relevant, n times: the loss n log(1 + exp(-2w)) + w^2 / 2
    # has its minimum where w = 2n / (1 + exp(2w)). The other route is flat and says nothing.
    scores = {"text": {("a", 1): 0.9, ("a", 2): 0.1}, "image": {("a", 1): 0.5, ("a", 2): 0.5}}
    case = _Case.of(LabelledQuestion("a", scores, frozenset([("a", 1)])), ("text", "image"))
    for count in (1, 5, 40):
        expected = brentq(lambda w, n=count: w - 2 * n / (1 + np.exp(2 * w)), 0, 10)
        np.testing.assert_allclose(_fit([case] * count, 1.0), [expected, 0], atol=1e-4)


def test_a_route_that_misleads_gets_no_negative_weight():
    scores = {"text": {("a", 1): 0.9, ("a", 2): 0.1}, "image": {("a", 1): 0.1, ("a", 2): 0.9}}
    case = _Case.of(LabelledQuestion("a", scores, frozenset([("a", 1)])), ("text", "image"))
    assert _fit([case] * 5, 1.0)[1] == 0


def test_questions_of_a_document_stay_together():
    documents = list("aaaabbbccdefg")
    folds = _folds(documents, 3)
    assert len(set(folds)) == 3
    by_document = {
        document: {f for d, f in zip(documents, folds, strict=True) if d == document} for document in "abcdefg"
    }
    assert all(len(found) == 1 for found in by_document.values())
    assert max(np.bincount(folds)) <= 5
    assert _folds(list("ab"), 10).tolist() == [0, 1]


def test_fitting_does_not_depend_on_the_order_of_pages():
    made = questions(3, 30, 3.0)
    turned = [
        LabelledQuestion(
            q.document, {route: dict(reversed(scores.items())) for route, scores in q.scores.items()}, q.relevant
        )
        for q in made
    ]
    assert fit_page_fusion(made, DEPTH).weights == pytest.approx(fit_page_fusion(turned, DEPTH).weights, abs=1e-9)


def test_routes_that_found_nothing_leave_the_first_one():
    made = [LabelledQuestion(d, {"text": {}, "image": {}}, frozenset([(d, 1)])) for d in "abc"]
    assert fit_page_fusion(made, DEPTH).weights == (1.0, 0.0)


def test_questions_that_cannot_be_fitted_on_are_told():
    one = LabelledQuestion("a", {"text": {("a", 1): 1.0}, "image": {}}, frozenset([("a", 1)]))
    two = LabelledQuestion("b", {"text": {("b", 1): 1.0}}, frozenset([("b", 1)]))
    none = LabelledQuestion("b", {"text": {}, "image": {}}, frozenset())
    for made, message in (
        ([one, one], "2 questions on 1 documents"),
        ([], "0 questions on 0 documents"),
        ([one, two], r"question 2 has the routes \['text'\]"),
        ([one, none], "question 2 has no relevant page"),
        ([two, LabelledQuestion("c", two.scores, two.relevant)], "along 1 route"),
    ):
        with pytest.raises(DataError, match=message):
            fit_page_fusion(made, DEPTH)
