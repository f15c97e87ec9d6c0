"""Late-interaction models against transformers called by hand, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ragkit.config import LateInteractionConfig
from ragkit.devices import Placement
from ragkit.errors import ConfigError
from ragkit.indexers.models.token_embedder import MultiVectorEmbedder, make_token_embedder
from ragkit.indexers.models.token_pooling import pool_tokens
from ragkit.records import Passage
from tests.indexers.models import tiny_vision
from tests.indexers.models.tiny_vision import PAGES

CPU = Placement("cpu", "float32")
KINDS = {"colpali": "ColPali", "colqwen2": "ColQwen2", "colmodernvbert": "ColModernVBert"}
TEXT = Passage(-1, "report.pdf", 7, 0, 4, "tide")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    models = tmp_path_factory.mktemp("models")
    return {kind: getattr(tiny_vision, f"make_{kind}")(models / kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_are_the_models_own(folders, kind: str):
    import transformers

    embedder = MultiVectorEmbedder(str(folders[kind]), CPU)
    model = getattr(transformers, f"{KINDS[kind]}ForRetrieval").from_pretrained(folders[kind]).eval()
    processor = getattr(transformers, f"{KINDS[kind]}Processor").from_pretrained(folders[kind])
    for inputs, rows in (
        (processor.process_images([PAGES[1].image.load()]), embedder.embed_passage_tokens(PAGES[1:2])),
        (processor.process_queries(["How deep?"]), embedder.embed_query_tokens(["How deep?"])),
    ):
        with torch.inference_mode():
            expected = model(**inputs).embeddings[0].numpy()
        np.testing.assert_allclose(rows[0], expected, atol=1e-5)


def test_text_late_interaction_reads_text_and_refuses_pictures(tmp_path: Path):
    from sentence_transformers import MultiVectorEncoder

    from tests.reranker_fakes import make_cross_encoder

    make_cross_encoder(tmp_path / "bert")
    model = MultiVectorEncoder(str(tmp_path / "bert"), device="cpu")
    model.save(str(tmp_path / "colbert"), create_model_card=False)
    embedder = MultiVectorEmbedder(str(tmp_path / "colbert"), CPU)
    titled = Passage(-1, "a.md", 1, 0, 7, "the cat", "a dog")
    expected = model.encode_document(["a dog the cat"], show_progress_bar=False, convert_to_numpy=True)[0]
    np.testing.assert_allclose(embedder.embed_passage_tokens([titled])[0], expected, atol=1e-5)
    with pytest.raises(ConfigError, match=r"reads text, and the passage of page 2 of 'doc.pdf' is a picture"):
        embedder.embed_passage_tokens(PAGES[1:2])


def test_page_models_refuse_text(folders):
    embedder = MultiVectorEmbedder(str(folders["colqwen2"]), CPU)
    with pytest.raises(ConfigError, match=r"reads pictures, and the passage of page 7 of 'report.pdf' is text"):
        embedder.embed_passage_tokens([TEXT])


def test_pooling_makes_fewer_rows_and_another_fingerprint(folders):
    name = str(folders["colqwen2"])
    settings = LateInteractionConfig(name=name, device="cpu", pool_factor=3)
    # The precision is what this machine is fast at.
    pooled = make_token_embedder(settings)
    whole = MultiVectorEmbedder(name, pooled.placement)
    for rows, fewer in zip(whole.embed_passage_tokens(PAGES), pooled.embed_passage_tokens(PAGES), strict=True):
        assert len(fewer) <= len(rows) // 3
        np.testing.assert_allclose(np.linalg.norm(fewer, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(whole.embed_query_tokens(["a"])[0], pooled.embed_query_tokens(["a"])[0])
    assert whole.fingerprint != pooled.fingerprint


def test_a_model_not_trained_for_late_interaction_is_refused(folders, tmp_path: Path):
    assert make_token_embedder(LateInteractionConfig()) is None
    (tmp_path / "config.json").write_text('{"architectures": ["BertModel"], "model_type": "bert"}', "utf-8")
    for name in (str(tmp_path), "no/such"):
        with pytest.raises(ConfigError, match="is no late-interaction model"):
            make_token_embedder(LateInteractionConfig(name=name, device="cpu"))


def test_tokens_are_pooled_by_their_clusters():
    rows = np.array([[1, 0, 0], [0, 1, 0], [0.8, 0.6, 0], [0, 0.96, 0.28]], np.float32)
    # Nearest are the second and the fourth (0.96), then the first and the third (0.8).
    expected = np.array([[1.8, 0.6, 0], [0, 1.96, 0.28]])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(pool_tokens(rows, 2), expected, atol=1e-6)
    np.testing.assert_array_equal(pool_tokens(rows, 1), rows)
    whole = rows.sum(axis=0)
    np.testing.assert_allclose(pool_tokens(rows, 9), [whole / np.linalg.norm(whole)], atol=1e-6)
    opposite = np.array([[1, 0], [-1, 0]], np.float32)
    np.testing.assert_array_equal(pool_tokens(opposite, 2), opposite[:1])


def test_pooling_agrees_with_sentence_transformers():
    from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling

    rows = np.random.default_rng(5).normal(size=(101, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    reference = HierarchicalTokenPooling(pool_factor=4, num_protected_tokens=0).pool([torch.from_numpy(rows)])[0]
    pooled = pool_tokens(rows, 4)
    assert pooled.shape == (25, 16)
    # The same rows, in another order.
    assert np.abs((pooled @ reference.numpy().T).max(axis=1) - 1).max() < 1e-5
