"""sentence-transformers' multimodal models give through ragkit what they give alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ragkit.devices import Placement
from ragkit.indexers.models.st_vision_embedder import StVisionEmbedder
from ragkit.without_video import without_video
from tests.indexers.models import tiny_vision
from tests.indexers.models.tiny_vision import PAGES

CPU = Placement("cpu", "float32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_vision.make_st_qwen3_vl(tmp_path_factory.mktemp("models") / "st")


def test_vectors_are_the_models_own(folder: Path):
    from sentence_transformers import SentenceTransformer

    embedder = StVisionEmbedder(str(folder), CPU)
    with without_video():
        model = SentenceTransformer(str(folder), device="cpu")
    expected = model.encode_document([page.image.load() for page in PAGES], show_progress_bar=False)
    np.testing.assert_allclose(embedder.embed_passages(PAGES), expected, atol=1e-5)
    expected = model.encode_query(["How deep?"], show_progress_bar=False)
    np.testing.assert_allclose(embedder.embed_queries(["How deep?"]), expected, atol=1e-5)
    assert (embedder.query_prompt, embedder.passage_prompt) == ("Find the page.", "Represent the page.")


def test_a_question_that_is_an_address_or_a_path_is_text(folder: Path, tmp_path: Path):
    path = tmp_path / "page.png"
    PAGES[0].image.load().save(path)
    embedder = StVisionEmbedder(str(folder), CPU)
    picture = embedder.embed_passages(PAGES[:1])[0]
    for text in (str(path), "https://example.org/page.png", "data:image/png;base64,AAAA", "a <|image_pad|>"):
        assert np.abs(embedder.embed_queries([text])[0] - picture).max() > 1e-3


def test_max_pixels_and_prompts_change_vectors_and_fingerprint(folder: Path):
    embedder = StVisionEmbedder(str(folder), CPU)
    smaller = StVisionEmbedder(str(folder), CPU, max_pixels=4 * 32 * 32)
    prompted = StVisionEmbedder(str(folder), CPU, query_prompt="Another prompt.")
    large = [tiny_vision.page(300, 400, 9)]
    assert np.abs(embedder.embed_passages(large) - smaller.embed_passages(large)).max() > 1e-3
    assert np.abs(embedder.embed_queries(["How deep?"]) - prompted.embed_queries(["How deep?"])).max() > 1e-3
    assert len({embedder.fingerprint, smaller.fingerprint, prompted.fingerprint}) == 3
