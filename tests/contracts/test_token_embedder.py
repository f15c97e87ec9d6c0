"""`TokenEmbedder`: unit rows, as many as the input has tokens, not depending on the batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ragkit.devices import Placement
from ragkit.indexers.models.token_embedder import MultiVectorEmbedder
from ragkit.protocols import TokenEmbedder
from tests.indexers.models import tiny_vision

QUESTIONS = ["How much?", "Which port has the deepest harbour, and what does a ship pay there?"]


@pytest.fixture(scope="module", params=["colpali", "colqwen2", "colmodernvbert"])
def embedder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TokenEmbedder:
    folder: Path = tmp_path_factory.mktemp("models") / request.param
    getattr(tiny_vision, f"make_{request.param}")(folder)
    return MultiVectorEmbedder(str(folder), Placement("cpu", "float32"), batch_pages=3)


def test_rows_have_unit_length_and_come_one_array_an_input(embedder: TokenEmbedder):
    pages = embedder.embed_passage_tokens(tiny_vision.PAGES)
    queries = embedder.embed_query_tokens(QUESTIONS)
    assert (len(pages), len(queries)) == (len(tiny_vision.PAGES), 2)
    assert len(queries[1]) - len(queries[0]) == len(QUESTIONS[1]) - len(QUESTIONS[0])
    for rows in (*pages, *queries):
        assert rows.dtype == np.float32
        assert rows.shape[1] == embedder.dim == 16
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert embedder.embed_passage_tokens([]) == embedder.embed_query_tokens([]) == []


def test_an_input_does_not_depend_on_the_batch(embedder: TokenEmbedder):
    together = embedder.embed_passage_tokens(tiny_vision.PAGES)
    for rows, page in zip(together, tiny_vision.PAGES, strict=True):
        np.testing.assert_allclose(rows, embedder.embed_passage_tokens([page])[0], atol=1e-5)
    for rows, text in zip(embedder.embed_query_tokens(QUESTIONS), QUESTIONS, strict=True):
        np.testing.assert_allclose(rows, embedder.embed_query_tokens([text])[0], atol=1e-5)


def test_the_fingerprint_is_stable_text(embedder: TokenEmbedder):
    assert embedder.fingerprint == embedder.fingerprint
    assert len(embedder.fingerprint) == 64
