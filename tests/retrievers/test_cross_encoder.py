import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from ragkit.devices import Placement
from ragkit.errors import ConfigError
from ragkit.records import Query
from ragkit.retrievers.cross_encoder import CrossEncoderReranker
from tests.reranker_fakes import make_cross_encoder, make_hits, picture_hit

FLOAT32 = Placement("cpu", "float32")
TEXTS = ["cat sat on mat", "dog ran far", "the small bird flew over the deep water", "money", "river " * 200]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_cross_encoder(tmp_path_factory.mktemp("models") / "tiny")


def reference_scores(folder, query, texts):
    """Each pair by itself through transformers: no padding, no batches."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        pairs = [tokenizer(query, text, truncation=True, return_tensors="pt") for text in texts]
        return [float(torch.sigmoid(model(**pair).logits[0, 0])) for pair in pairs]


def test_scores_equal_the_model_run_on_each_pair_alone(folder):
    ranked = CrossEncoderReranker(folder, FLOAT32, batch_size=2).rerank(Query("the old cat"), make_hits(TEXTS))
    scores = {hit.passage.key: hit.score for hit in ranked}
    expected = reference_scores(folder, "the old cat", TEXTS)
    assert [scores[key] for key in range(len(TEXTS))] == pytest.approx(expected, abs=1e-5)
    assert np.std(expected) > 0.01


def test_the_batch_size_does_not_change_the_result(folder):
    hits = make_hits(TEXTS * 3)
    one = CrossEncoderReranker(folder, FLOAT32, batch_size=1).rerank(Query("dog"), hits)
    many = CrossEncoderReranker(folder, FLOAT32, batch_size=32).rerank(Query("dog"), hits)
    assert [hit.passage.key for hit in one] == [hit.passage.key for hit in many]
    assert [hit.score for hit in one] == pytest.approx([hit.score for hit in many], abs=1e-5)


def test_bfloat16_gives_scores_near_float32(folder):
    hits = make_hits(TEXTS)
    full = {h.passage.key: h.score for h in CrossEncoderReranker(folder, FLOAT32).rerank(Query("dog"), hits)}
    half = CrossEncoderReranker(folder, Placement("cpu", "bfloat16")).rerank(Query("dog"), hits)
    assert {h.passage.key: h.score for h in half} == pytest.approx(full, abs=0.02)


def test_a_classifier_of_several_labels_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="gives 3 scores a pair"):
        CrossEncoderReranker(make_cross_encoder(tmp_path / "three", num_labels=3), FLOAT32)


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(ConfigError, match="nowhere/no-such-model"):
        CrossEncoderReranker("nowhere/no-such-model", FLOAT32)


def test_a_picture_is_refused_by_a_model_of_texts(folder):
    reranker = CrossEncoderReranker(folder, FLOAT32)
    with pytest.raises(ConfigError, match=r"1 of the hits are page pictures, the first page 9 of scan\.pdf"):
        reranker.rerank(Query("cat"), [*make_hits(TEXTS), picture_hit(9, 0)])


class ReadsPictures:
    """Scores a text 0.5, and a picture by its brightness; keeps the sizes that it saw."""

    def __init__(self):
        self.sizes = []

    def supports(self, modality):
        return modality in ("text", "image")

    def predict(self, pairs, batch_size, show_progress_bar):
        assert {query for query, _ in pairs} == {"cat"}
        return np.array([self._score(document) for _, document in pairs], np.float32)

    def _score(self, document):
        if isinstance(document, str):
            return 0.5
        self.sizes.append(document.size)
        return document.getpixel((0, 0))[0] / 255


def test_a_model_that_takes_images_is_shown_the_picture(folder):
    reranker = CrossEncoderReranker(folder, FLOAT32)
    reranker._model = ReadsPictures()
    hits = [picture_hit(7, 51), make_hits(["dog"])[0], picture_hit(8, 255, side=2000)]
    ranked = reranker.rerank(Query("cat"), hits)
    assert [(hit.passage.key, hit.score) for hit in ranked] == [(8, 1.0), (0, 0.5), (7, pytest.approx(0.2))]
    # Large pages are shown in at most two million pixels.
    assert reranker._model.sizes == [(10, 10), (1414, 1414)]
