from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit.errors import DataError
from ragkit.records import Filter, Hit, PageImage, Passage, Query
from ragkit.retrievers.fusion import reciprocal_rank_fusion
from ragkit.retrievers.page_fusion import PageFusionRetriever, standard_score_fusion, standardise
from ragkit.retrievers.page_fusion_weights import PageFusionWeights

ROOT_1_5 = 1.5**0.5


def ranking(*pairs):
    return np.array([key for key, _ in pairs], np.int64), np.array([score for _, score in pairs], np.float64)


def test_standard_scores_by_hand():
    # Mean 2, standard deviation sqrt(2/3).
    scores, missing = standardise(np.array([3.0, 2.0, 1.0]))
    np.testing.assert_allclose(scores, [ROOT_1_5, 0, -ROOT_1_5])
    assert missing == pytest.approx(-ROOT_1_5)


def test_equal_scores_say_only_what_was_found():
    for flat in ([0.7, 0.7, 0.7], [5.0], [0.0, 0.0]):
        scores, missing = standardise(np.array(flat, np.float32))
        assert scores.tolist() == [0.0] * len(flat)
        assert missing == -1.0
    scores, missing = standardise(np.zeros(0))
    assert (len(scores), missing) == (0, 0.0)


def test_scores_must_be_finite():
    with pytest.raises(ValueError, match="finite"):
        standardise(np.array([1.0, np.nan]))


def test_a_page_that_a_route_lacks_stands_at_its_lowest_score():
    text, image = ranking((7, 3.0), (8, 2.0), (9, 1.0)), ranking((9, 0.6), (5, 0.4))
    keys, scores = standard_score_fusion([text, image], [1.0, 0.5])
    # image: mean 0.5, deviation 0.1, so 9 -> 1 and 5 -> -1; 7 and 8 are missing there, 5 is missing in text.
    by_hand = {7: ROOT_1_5 - 0.5, 8: 0 - 0.5, 9: -ROOT_1_5 + 0.5, 5: -ROOT_1_5 - 0.5}
    assert keys.tolist() == [7, 8, 9, 5]
    np.testing.assert_allclose(scores, [by_hand[key] for key in keys.tolist()])


def test_equal_sums_are_ordered_by_key():
    keys, scores = standard_score_fusion([ranking((4, 2.0), (2, 1.0)), ranking((2, 2.0), (4, 1.0))], [0.5, 0.5])
    assert keys.tolist() == [2, 4]
    assert scores.tolist() == [0.0, 0.0]


def test_a_weight_of_0_leaves_a_route_out_with_its_pages():
    keys, _ = standard_score_fusion(
        [ranking((9, 3.0), (1, 2.0), (4, 1.0)), ranking((2, 9.0), (4, 1.0))], [1.0, 0.0]
    )
    assert keys.tolist() == [9, 1, 4]


def test_nothing_found_is_no_error():
    keys, scores = standard_score_fusion([ranking(), ranking()], [0.5, 0.5])
    assert (keys.tolist(), scores.tolist()) == ([], [])
    keys, _ = standard_score_fusion([ranking(), ranking((3, 0.2), (1, 0.1))], [0.9, 0.1])
    assert keys.tolist() == [3, 1]


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="1 weights"):
        standard_score_fusion([ranking(), ranking()], [1.0])
    with pytest.raises(ValueError, match="negative"):
        standard_score_fusion([ranking(), ranking()], [1.0, -0.1])
    with pytest.raises(ValueError, match="twice"):
        standard_score_fusion([ranking((1, 2.0), (1, 1.0))], [1.0])


scores_of_pages = st.dictionaries(st.integers(0, 30), st.integers(-50, 50), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(scores_of_pages, scores_of_pages, st.sampled_from([0.25, 4.0, 1024.0]), st.integers(-64, 64))
def test_a_route_may_score_on_any_scale(left, right, factor, shift):
    def fuse(scale, offset):
        rankings = [
            ranking(*((key, value * scale + offset) for key, value in left.items())),
            ranking(*right.items()),
        ]
        return dict(zip(*map(np.ndarray.tolist, standard_score_fusion(rankings, [0.7, 0.3])), strict=True))

    plain, scaled = fuse(1.0, 0.0), fuse(factor, shift)
    assert plain.keys() == scaled.keys() == left.keys() | right.keys()
    assert plain == pytest.approx(scaled, abs=1e-9)


def passage(key: int, document: str, page: int, text: str = "") -> Passage:
    picture = None if text else PageImage(document, page, 10, 10, lambda: pytest.fail("no picture is needed"))
    return Passage(key, document, page, 0, len(text), text, image=picture)


class FixedRoute:
    """Gives the same hits for every query, and remembers what it was asked."""

    def __init__(self, *hits: tuple[float, Passage]) -> None:
        self.hits = [Hit(score, found) for score, found in hits]
        self.asked: list[tuple[int, Filter | None]] = []

    def retrieve(self, queries, k, where=None):
        self.asked.append((k, where))
        return [self.hits[:k] for _ in queries]


def routes():
    text = FixedRoute(
        (0.9, passage(1, "a", 1, "first")),
        (0.8, passage(2, "a", 1, "second")),
        (0.7, passage(3, "b", 4, "third")),
    )
    image = FixedRoute((30.0, passage(11, "b", 4)), (20.0, passage(12, "c", 2)), (10.0, passage(10, "a", 1)))
    return {"text": text, "image": image}


def test_a_page_scores_by_its_best_passage_and_is_shown_by_its_text():
    hits = PageFusionRetriever(routes(), partial(reciprocal_rank_fusion, k=60), 10).retrieve([Query("q")], 10)[0]
    assert [(hit.passage.document, hit.passage.page) for hit in hits] == [("b", 4), ("a", 1), ("c", 2)]
    # Page a1 is first of the texts and third of the pictures, b4 second and first, c2 second of the pictures.
    assert [hit.score for hit in hits] == pytest.approx([1 / 62 + 1 / 61, 1 / 61 + 1 / 63, 1 / 62])
    assert [hit.passage.text for hit in hits] == ["third", "first", ""]
    assert hits[2].passage.image is not None


def test_text_is_shown_whatever_the_order_of_the_routes():
    both = routes()
    turned = {"image": both["image"], "text": both["text"]}
    hits = PageFusionRetriever(turned, reciprocal_rank_fusion, 10).retrieve([Query("q")], 10)[0]
    assert [hit.passage.text for hit in hits] == ["third", "first", ""]


def test_the_first_hits_do_not_depend_on_k_and_depth_bounds_the_pages():
    retriever = PageFusionRetriever(routes(), reciprocal_rank_fusion, 2)
    assert [len(retriever.retrieve([Query("q")], k)[0]) for k in (1, 2, 50)] == [1, 2, 3]
    first = [retriever.retrieve([Query("q")], k)[0][0] for k in (1, 2, 50)]
    assert first[0] == first[1] == first[2]
    one = PageFusionRetriever(routes(), reciprocal_rank_fusion, 1).retrieve([Query("q")], 50)[0]
    assert {(hit.passage.document, hit.passage.page) for hit in one} == {("a", 1), ("b", 4)}


def test_passages_are_fetched_until_they_make_enough_pages():
    many = [(1.0 - i / 1000, passage(i, "long", 1, f"passage {i}")) for i in range(40)]
    text = FixedRoute(*many, (0.1, passage(99, "short", 1, "last")))
    hits = PageFusionRetriever({"text": text}, reciprocal_rank_fusion, 2).retrieve([Query("q")], 5)[0]
    assert [hit.passage.document for hit in hits] == ["long", "short"]


def test_queries_and_filters_are_passed_on():
    both = routes()
    where = Filter(documents=frozenset({"a"}))
    found = PageFusionRetriever(both, reciprocal_rank_fusion, 3).retrieve([Query("q"), Query("r")], 2, where)
    assert len(found) == 2
    assert both["text"].asked[0][1] == both["image"].asked[0][1] == where
    assert PageFusionRetriever(both, reciprocal_rank_fusion, 3).retrieve([], 2) == []


WEIGHTS = PageFusionWeights(
    routes=("text", "image"),
    weights=(0.75, 0.25),
    depth=100,
    fitted=(0.75, 0.25),
    num_questions=40,
    num_documents=12,
    alone=(0.5, 0.25),
    fused=0.5625,
    gain=(0.0625, 0.03125),
    likelihood_gain=(0.25, 0.125),
)


def test_weights_survive_json():
    assert PageFusionWeights.from_json(json.loads(json.dumps(WEIGHTS.to_json()))) == WEIGHTS


def test_weights_of_another_form_are_refused():
    form = WEIGHTS.to_json()
    for change, message in (
        ({"format": 2}, "format 2, this version reads 1"),
        ({"weights": [0.5, 0.2]}, "add up to 1"),
        ({"weights": [1.0]}, "2 routes, 1 weights"),
        ({"standardisation": "rank"}, "standardisation 'rank'"),
        ({"colour": "red"}, "colour"),
    ):
        with pytest.raises(DataError, match=message):
            PageFusionWeights.from_json({**form, **change})
    with pytest.raises(DataError, match="fused"):
        PageFusionWeights.from_json({name: value for name, value in form.items() if name != "fused"})


def test_a_route_of_weight_0_is_never_asked():
    both = routes()
    alone = PageFusionWeights.from_json({**WEIGHTS.to_json(), "weights": [1.0, 0.0]})
    hits = alone.retriever(both).retrieve([Query("q")], 10)[0]
    assert [hit.passage.key for hit in hits] == [1, 3]
    assert not both["image"].asked


def test_weights_search_with_the_routes_of_their_names():
    both = routes()
    turned = {"other": FixedRoute(), "image": both["image"], "text": both["text"]}
    hits = WEIGHTS.retriever(turned).retrieve([Query("q")], 10)[0]
    # text: a1 0.9, b4 0.7 -> 1, -1; image: b4 30, c2 20, a1 10 -> root 1.5, 0, minus root 1.5.
    by_hand = {"a": 0.75 - 0.25 * ROOT_1_5, "b": -0.75 + 0.25 * ROOT_1_5, "c": -0.75}
    assert {hit.passage.document: hit.score for hit in hits} == pytest.approx(by_hand)
    with pytest.raises(DataError, match="this corpus has text"):
        WEIGHTS.retriever({"text": both["text"]})
