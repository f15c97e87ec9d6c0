import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.retrievers.fusion import merge, reciprocal_rank_fusion, scale_min_max, weighted_score_fusion

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/fusion/rrf.json").read_text("utf-8"))


def ranking(pairs):
    keys, scores = zip(*pairs, strict=True) if pairs else ((), ())
    return np.array(keys, np.int64), np.array(scores, np.float32)


def golden_ranking(scores):
    """Document "d3" has key 3; entries stand in the run's order."""
    return ranking([(int(name[1:]), score) for name, score in scores.items()])


@pytest.mark.parametrize("query", ["qa", "qb", "qc", "qe"])
def test_rrf_equals_the_golden_scores(query):
    keys, scores = reciprocal_rank_fusion(
        [golden_ranking(GOLDEN["A"][query]), golden_ranking(GOLDEN["B"][query])], k=GOLDEN["k"]
    )
    expected = {int(name[1:]): score for name, score in GOLDEN["hand_arithmetic"][query].items()}
    assert dict(zip(keys.tolist(), scores.tolist(), strict=True)) == pytest.approx(expected, abs=1e-12)
    assert keys.tolist() == sorted(expected, key=lambda key: (-expected[key], key))


def test_rrf_counts_ranks_from_one_and_ignores_scores():
    keys, scores = reciprocal_rank_fusion([ranking([(7, 100.0), (3, -5.0)])], k=1)
    assert keys.tolist() == [7, 3]
    assert scores.tolist() == [1 / 2, 1 / 3]


def test_rrf_orders_equal_sums_by_key():
    keys, scores = reciprocal_rank_fusion([ranking([(9, 1.0), (2, 0.5)]), ranking([(2, 8.0), (9, 7.0)])])
    assert keys.tolist() == [2, 9]
    assert scores[0] == scores[1]


def test_weighted_fusion_by_hand():
    # dense 0.9, 0.5, 0.1 scale to 1, 0.5, 0; lexical 12, 4 to 1, 0. Weights 0.25 and 0.75.
    dense = ranking([(1, 0.9), (2, 0.5), (3, 0.1)])
    lexical = ranking([(3, 12.0), (4, 4.0)])
    keys, scores = weighted_score_fusion([dense, lexical], (0.25, 0.75))
    assert keys.tolist() == [3, 1, 2, 4]
    assert scores.tolist() == pytest.approx([0.75, 0.25, 0.125, 0.0], abs=1e-7)


def test_weighted_fusion_with_a_floor_keeps_the_last_hit_above_the_missing():
    # With floor 0 the lexical 12, 4 scale to 1 and 1/3.
    dense = ranking([(1, 0.9), (2, 0.5), (3, 0.1)])
    lexical = ranking([(3, 12.0), (4, 4.0)])
    keys, scores = weighted_score_fusion([dense, lexical], (0.25, 0.75), floors=(None, 0.0))
    assert keys.tolist() == [3, 1, 4, 2]
    assert scores.tolist() == pytest.approx([0.75, 0.25, 0.25, 0.125], abs=1e-7)


def test_scaling_gives_equal_scores_one():
    assert scale_min_max(np.array([4.0, 4.0], np.float32)).tolist() == [1.0, 1.0]
    assert scale_min_max(np.array([-2.0], np.float32)).tolist() == [1.0]
    assert scale_min_max(np.array([0.0], np.float32), floor=0.0).tolist() == [1.0]
    assert scale_min_max(np.array([4.0, 4.0], np.float32), floor=0.0).tolist() == [1.0, 1.0]
    assert scale_min_max(np.zeros(0, np.float32)).tolist() == []


def test_scaling_refuses_what_it_cannot_scale():
    with pytest.raises(ValueError, match="finite"):
        scale_min_max(np.array([1.0, -np.inf], np.float32))
    with pytest.raises(ValueError, match=r"-1\.0 lies below the floor 0\.0"):
        scale_min_max(np.array([1.0, -1.0], np.float32), floor=0.0)


def test_places_without_a_hit_are_passed_over():
    padded = (np.array([5, -1, -1]), np.array([0.5, -np.inf, -np.inf], np.float32))
    for keys, scores in (reciprocal_rank_fusion([padded]), weighted_score_fusion([padded], [1.0])):
        assert keys.tolist() == [5]
        assert np.isfinite(scores).all()


def test_empty_rankings_give_an_empty_ranking():
    empty = ranking([])
    for keys, scores in (
        merge([]),
        reciprocal_rank_fusion([]),
        reciprocal_rank_fusion([empty, empty]),
        weighted_score_fusion([empty, empty], (0.5, 0.5)),
    ):
        assert keys.dtype == np.int64
        assert scores.dtype == np.float64
        assert len(keys) == len(scores) == 0


def test_malformed_rankings_are_refused():
    twice = ranking([(1, 1.0), (1, 0.5)])
    with pytest.raises(ValueError, match="twice"):
        reciprocal_rank_fusion([twice])
    with pytest.raises(ValueError, match="2 keys but 1 scores"):
        reciprocal_rank_fusion([(np.array([1, 2]), np.array([1.0], np.float32))])
    with pytest.raises(ValueError, match="1 rankings, 2 weights"):
        weighted_score_fusion([ranking([(1, 1.0)])], (0.5, 0.5))
    with pytest.raises(ValueError, match="negative"):
        weighted_score_fusion([ranking([(1, 1.0)])], (-1.0,))


rankings = st.lists(
    st.dictionaries(st.integers(0, 20), st.floats(-10, 10, width=32), max_size=12).map(
        lambda scores: ranking(sorted(scores.items(), key=lambda item: (-item[1], item[0])))
    ),
    max_size=2,
)


@given(rankings)
def test_merged_rankings_are_ordered_and_hold_every_key_once(parts):
    every_key = {key for keys, _ in parts for key in keys.tolist()}
    for keys, scores in (
        reciprocal_rank_fusion(parts),
        weighted_score_fusion(parts, [0.5] * len(parts)),
    ):
        assert set(keys.tolist()) == every_key
        assert len(keys) == len(every_key)
        order = list(zip((-scores).tolist(), keys.tolist(), strict=True))
        assert order == sorted(order)
        assert ((scores >= 0) & (scores <= 1)).all()


@given(rankings)
def test_the_order_of_the_rankings_does_not_matter(parts):
    for fuse in (reciprocal_rank_fusion, lambda parts: weighted_score_fusion(parts, [0.5] * len(parts))):
        keys, scores = fuse(parts)
        reversed_keys, reversed_scores = fuse(parts[::-1])
        assert keys.tolist() == reversed_keys.tolist()
        assert scores.tolist() == reversed_scores.tolist()
