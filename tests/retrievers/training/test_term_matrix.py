"""The sparse candidates against the index that is searched afterwards."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from ragkit.config import LexicalConfig
from ragkit.indexers.lexical.bm25_index import Bm25Index
from ragkit.retrievers.training.term_matrix import term_matrix


@pytest.mark.parametrize(("k1", "b"), [(1.2, 0.75), (0.9, 0.4)])
def test_products_are_the_index_s_scores(k1: float, b: float) -> None:
    rng = random.Random(0)
    texts = [" ".join(rng.choices([f"word{i}" for i in range(30)], k=rng.randint(1, 20))) for _ in range(50)]
    index = Bm25Index.build(np.arange(50), texts, LexicalConfig(language="none", k1=k1, b=b))
    matrix = term_matrix((index.term_counts(text) for text in texts), k1, b)
    query = {"word3": 2.0, "word7": 0.5, "word11": 1.25}
    weights = torch.zeros(len(matrix.numbers))
    for term, weight in query.items():
        weights[matrix.numbers[term]] = weight
    products = torch.mv(matrix.gains, weights).numpy()
    scores, keys = index.search_terms([query], 50)
    found = keys[0] >= 0
    np.testing.assert_allclose(products[keys[0][found]], scores[0][found], rtol=1e-5)
    assert np.count_nonzero(products) == found.sum()


def test_a_query_s_row_has_unit_length_and_only_known_terms() -> None:
    matrix = term_matrix([{"a": 1, "b": 2}, {"c": 1}], 1.2, 0.75)
    row = matrix.row({"a": 3.0, "c": 4.0, "unknown": 9.0})
    assert {term: pytest.approx(float(row[i])) for term, i in matrix.numbers.items()} == {
        "a": 0.6,
        "b": 0,
        "c": 0.8,
    }
    assert not matrix.row({"unknown": 1.0}).any()
