"""`Feedback`: what every way to revise queries keeps to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from ragkit.config import LexicalConfig
from ragkit.indexers.lexical.bm25_index import Bm25Index
from ragkit.indexers.vectors.numpy_index import NumpyIndex
from ragkit.protocols import Feedback
from ragkit.records import Hit, Passage, Query
from ragkit.retrievers.feedback.reformulator_feedback import ReformulatorFeedback
from ragkit.retrievers.feedback.rm3 import Rm3Feedback
from ragkit.retrievers.feedback.vector_feedback import LastHits, Shares, VectorFeedback, average
from tests.fakes import HashEmbedder
from tests.retrievers.feedback.fake_reformulators import CautiousReformulator, SumReformulator

TEXTS = ["tide crane rope", "barge pilot", "storm ledger signal quay", "anchor", "crane barge", "pilot storm tide"]
PASSAGES = [Passage(10 + i, f"d{i}", 1, 0, len(text), text) for i, text in enumerate(TEXTS)]
EMBEDDER = HashEmbedder()
VECTORS = NumpyIndex(np.arange(10, 16), EMBEDDER.embed_passages(PASSAGES))
TERMS = Bm25Index.build(np.arange(10, 16), TEXTS, LexicalConfig(language="none"))
CAUTIOUS = CautiousReformulator()


@dataclass(frozen=True)
class Case:
    """A way to revise, made for a number of hits; whether it revises terms or vectors."""

    make: Callable[[int], Feedback]
    of_terms: bool = False


CASES = {
    "average": Case(lambda depth: VectorFeedback(VECTORS, "cosine", average, depth)),
    "rocchio": Case(
        lambda depth: VectorFeedback(
            VECTORS, "cosine", lambda _: Shares(0.4, 0.6, 0.1), depth, LastHits(1, depth + 1)
        )
    ),
    "rm3": Case(lambda depth: Rm3Feedback(TERMS, depth, 4, 0.5), of_terms=True),
    "model": Case(lambda depth: ReformulatorFeedback(SumReformulator(), VECTORS, depth)),
    "guarded model": Case(lambda depth: ReformulatorFeedback(CAUTIOUS, VECTORS, depth, CAUTIOUS)),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def queries(*texts: str) -> list[Query]:
    return [Query(text, vector) for text, vector in zip(texts, EMBEDDER.embed_queries(texts), strict=True)]


def found(*places: int) -> list[Hit]:
    return [Hit(1.0 - 0.1 * rank, PASSAGES[place]) for rank, place in enumerate(places)]


def same(one: Query, other: Query) -> bool:
    vectors = [query.dense for query in (one, other)]
    assert vectors[0] is not None
    assert vectors[1] is not None
    rest = (one.text, one.terms, one.feedback_depth) == (other.text, other.terms, other.feedback_depth)
    return rest and bool(np.allclose(vectors[0], vectors[1], atol=1e-6))


def test_only_the_first_hits_count(case: Case):
    feedback = case.make(2)
    asked = queries("crane tide rope")
    some, more = (feedback.revise(asked, [found(*places)])[0] for places in ((0, 1, 2), (0, 1, 2, 3, 4)))
    assert same(some, more)
    assert some.feedback_depth == 2


def test_deeper_feedback_is_another_query(case: Case):
    asked = queries("crane tide rope")
    one, two = (case.make(depth).revise(asked, [found(0, 5, 2, 1)])[0] for depth in (1, 2))
    assert (one.feedback_depth, two.feedback_depth) == (1, 2)
    assert not same(one, two)


def test_fewer_hits_than_the_depth_are_all_used(case: Case):
    asked = queries("crane tide rope barge")
    few, exact = (case.make(depth).revise(asked, [found(0, 5)])[0] for depth in (3, 2))
    assert few.feedback_depth == 2
    assert same(few, exact)


def test_a_query_without_hits_stays_as_it_is(case: Case):
    asked = queries("crane tide", "storm pilot")
    again = case.make(2).revise(asked, [[], found(2, 5)])
    assert again[0] is asked[0]
    assert again[1].feedback_depth > 0


def test_queries_do_not_depend_on_each_other(case: Case):
    feedback = case.make(2)
    asked, hits = queries("crane tide rope", "storm pilot"), [found(0, 5, 4), found(2)]
    together = feedback.revise(asked, hits)
    alone = [feedback.revise([query], [own])[0] for query, own in zip(asked, hits, strict=True)]
    assert all(same(one, other) for one, other in zip(together, alone, strict=True))
    assert feedback.revise([], []) == []


def test_text_and_what_is_not_revised_stay(case: Case):
    (asked,) = queries("crane tide rope")
    (again,) = case.make(2).revise([asked], [found(0, 1)])
    assert again.text == asked.text
    assert asked.terms is None
    if case.of_terms:
        assert again.dense is asked.dense
        assert all(weight > 0 for _, weight in again.terms or ())
    else:
        assert again.terms is None
        assert again.dense is not None
        assert again.dense.dtype == np.float32
        assert again.dense.shape == (64,)


def test_the_hits_it_asks_for_are_all_that_it_reads(case: Case):
    feedback = case.make(2)
    asked, hits = queries("crane tide rope"), found(0, 5, 4, 3, 2, 1)
    enough, more = (feedback.revise(asked, [own])[0] for own in (hits[: feedback.num_hits], hits))
    assert same(enough, more)
