"""RM3, against a case worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ragkit.config import LexicalConfig
from ragkit.indexers.lexical.bm25_index import Bm25Index
from ragkit.records import Hit, Passage, Query
from ragkit.retrievers.feedback.rm3 import Rm3Feedback, likeliest, mixed, relevance_model

TEXTS = ["crane rope crane tide", "rope quay", "storm"]
INDEX = Bm25Index.build(np.array([1, 2, 3]), TEXTS, LexicalConfig(language="none"))


def hit(text: str, score: float, title: str = "") -> Hit:
    return Hit(score, Passage(1, "d", 1, 0, len(text), text, title))


FOUND = [hit(TEXTS[0], 3.0), hit(TEXTS[1], 1.0), hit("storm storm", 100.0)]


def test_the_relevance_model_weighs_passages_by_their_share_of_the_scores():
    # Shares 3/4 and 1/4. crane: 3/4 · 2/4; rope: 3/4 · 1/4 + 1/4 · 1/2; tide: 3/4 · 1/4; quay: 1/4 · 1/2.
    counts = [INDEX.term_counts(text) for text in TEXTS[:2]]
    model = relevance_model(counts, [3.0, 1.0])
    assert model == pytest.approx({"crane": 0.375, "rope": 0.3125, "tide": 0.1875, "quay": 0.125})
    assert sum(model.values()) == pytest.approx(1)


def test_the_query_is_mixed_with_the_likeliest_terms_of_its_passages():
    feedback = Rm3Feedback(INDEX, depth=2, num_terms=2, original_weight=0.5)
    (again,) = feedback.revise([Query("rope storm rope")], [FOUND])
    # Of the passages crane 0.375 and rope 0.3125, scaled to 6/11 and 5/11; of the query rope 2/3, storm 1/3.
    assert again.terms is not None
    assert dict(again.terms) == pytest.approx({"rope": 1 / 3 + 5 / 22, "storm": 1 / 6, "crane": 3 / 11})
    assert sum(dict(again.terms).values()) == pytest.approx(1)
    assert (again.text, again.feedback_depth) == ("rope storm rope", 2)


@pytest.mark.parametrize(("share", "expected"), [(1.0, {"quay": 1.0}), (0.0, {"crane": 1.0})])
def test_a_share_of_all_or_none_leaves_out_what_weighs_nothing(share, expected):
    feedback = Rm3Feedback(INDEX, depth=1, num_terms=1, original_weight=share)
    (again,) = feedback.revise([Query("quay")], [FOUND])
    assert dict(again.terms or ()) == expected


def test_equally_likely_terms_are_taken_by_name():
    assert likeliest({"b": 0.2, "c": 0.2, "a": 0.2, "d": 0.4}, 2) == pytest.approx({"d": 2 / 3, "a": 1 / 3})
    assert mixed({"a": 1.0}, {}, 0.25) == {"a": 0.25}


def test_titles_count_as_bm25_counts_them():
    feedback = Rm3Feedback(INDEX, depth=1, num_terms=5, original_weight=0.0)
    (again,) = feedback.revise([Query("quay")], [[hit("tide", 1.0, title="crane tide")]])
    assert dict(again.terms or ()) == pytest.approx({"tide": 2 / 3, "crane": 1 / 3})


def test_scores_below_zero_weigh_nothing_and_without_any_above_all_weigh_the_same():
    counts = [{"a": 1}, {"b": 1}, {}]
    assert relevance_model(counts, [2.0, -1.0, 5.0]) == {"a": 1.0, "b": 0.0}
    assert relevance_model(counts, [-2.0, -1.0, 5.0]) == {"a": 0.5, "b": 0.5}


@pytest.mark.parametrize(("text", "found"), [("rope", []), ("rope", [hit("", 1.0)]), ("?", FOUND)])
def test_without_terms_or_passages_the_query_stays(text, found):
    asked = Query(text)
    assert Rm3Feedback(INDEX, 3, 3, 0.5).revise([asked], [found]) == [asked]
