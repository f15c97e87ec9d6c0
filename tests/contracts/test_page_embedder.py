"""`Embedder` over page pictures: shapes, unit rows, and results that do not depend on the batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ragkit.devices import Placement
from ragkit.errors import ConfigError
from ragkit.indexers.models.st_vision_embedder import StVisionEmbedder
from ragkit.indexers.models.vision_embedder import VisionEmbedder
from ragkit.protocols import Embedder
from ragkit.records import Passage
from tests.indexers.models import tiny_vision

CPU = Placement("cpu", "float32")
QUESTIONS = ["How much?", "Which port has the deepest harbour, and what does a ship pay there in winter?", ""]


def vision(maker: Callable[[Path], Path]) -> Callable[[Path], Embedder]:
    return lambda folder: VisionEmbedder(str(maker(folder)), CPU, batch_pages=3)


def sentence_transformer(folder: Path) -> Embedder:
    return StVisionEmbedder(str(tiny_vision.make_st_qwen3_vl(folder)), CPU, batch_pages=3)


KINDS: dict[str, Callable[[Path], Embedder]] = {
    "qwen2-vl": vision(tiny_vision.make_qwen2_vl),
    "qwen3-vl": vision(tiny_vision.make_qwen3_vl),
    "idefics3": vision(tiny_vision.make_idefics3),
    "smolvlm": vision(tiny_vision.make_smolvlm),
    "siglip": vision(tiny_vision.make_siglip),
    "clip": vision(tiny_vision.make_clip),
    "sentence-transformers": sentence_transformer,
}


@pytest.fixture(scope="module", params=list(KINDS))
def embedder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    return KINDS[request.param](tmp_path_factory.mktemp("models") / request.param)


def test_shapes_dtype_and_unit_rows(embedder: Embedder):
    for vectors in (embedder.embed_passages(tiny_vision.PAGES[:3]), embedder.embed_queries(QUESTIONS)):
        assert vectors.shape == (3, embedder.dim)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert embedder.metric == "cosine"
    assert embedder.embed_queries([]).shape == embedder.embed_passages([]).shape == (0, embedder.dim)


def test_a_vector_does_not_depend_on_the_batch(embedder: Embedder):
    pages = tiny_vision.PAGES
    together = embedder.embed_passages(pages)
    alone = np.concatenate([embedder.embed_passages([page]) for page in pages])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(together, embedder.embed_passages(pages[::-1])[::-1], atol=1e-5)
    # What is the same in every row would pass the lines above.
    assert np.abs(together[:, None] - together[None]).max(axis=2)[~np.eye(len(pages), dtype=bool)].min() > 1e-3
    queries = embedder.embed_queries(QUESTIONS)
    np.testing.assert_allclose(
        queries, np.concatenate([embedder.embed_queries([text]) for text in QUESTIONS]), atol=1e-5
    )
    assert np.abs(queries[0] - queries[1]).max() > 1e-3


def test_a_passage_of_text_is_refused_by_name(embedder: Embedder):
    text = Passage(-1, "report.pdf", 7, 0, 4, "tide")
    with pytest.raises(ConfigError, match=r"page 7 of 'report.pdf' is text"):
        embedder.embed_passages([tiny_vision.PAGES[0], text])


@pytest.mark.parametrize("size", [(1, 1), (1, 250), (900, 4), (2500, 3300)])
def test_pictures_of_any_shape_are_embedded(embedder: Embedder, size: tuple[int, int]):
    vectors = embedder.embed_passages([tiny_vision.page(*size, 0), tiny_vision.PAGES[0]])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_the_fingerprint_is_stable_text_and_time_is_kept(embedder: Embedder):
    assert embedder.fingerprint == embedder.fingerprint
    assert len(embedder.fingerprint) == 64
    before = dict(embedder.stage_seconds)
    embedder.embed_passages(tiny_vision.PAGES)
    assert set(before) == {"preprocess", "model"}
    assert all(embedder.stage_seconds[stage] > seconds for stage, seconds in before.items())
