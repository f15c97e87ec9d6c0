import numpy as np

from ragkit.indexers.top_k import best_of


def test_ties_at_the_cut_are_broken_by_key():
    scores = np.array([1, 2, 1, 1, 0], np.float32)
    keys = np.array([9, 5, 7, 3, 1])
    best, found = best_of(scores, keys, 3)
    assert best.tolist() == [2, 1, 1]
    assert found.tolist() == [5, 3, 7]


def test_places_without_a_hit_are_marked():
    best, found = best_of(np.array([1, -np.inf], np.float32), np.array([4, 2]), 3)
    assert best.tolist() == [1, -np.inf, -np.inf]
    assert found.tolist() == [4, -1, -1]
