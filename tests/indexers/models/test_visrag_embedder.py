"""VisRAG-Ret as an embedder, on the tiny checkpoint of tests/golden/visrag_ret."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ragkit.devices import Placement
from ragkit.errors import ConfigError
from ragkit.indexers.models.visrag_embedder import VisragEmbedder
from ragkit.records import Passage
from tests.indexers.models.tiny_visrag import GOLDEN, copy_checkpoint, page, picture

pytest.importorskip("torch")
pytest.importorskip("sentencepiece")

PAGES = ("p0_448x448", "p1_300x200", "p7_60x900")
CPU = Placement("cpu", "float32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(copy_checkpoint(tmp_path_factory.mktemp("visrag")))


@pytest.mark.parametrize(("dtype", "cosine"), [("float16", 0.99999), ("bfloat16", 0.9999)])
def test_half_precision_stays_near_the_official_vectors(folder: str, dtype: str, cosine: float):
    embedder = VisragEmbedder(folder, Placement("cpu", dtype))
    with np.load(GOLDEN / "expected" / "embeddings.npz") as expected:
        docs = expected["docs"][[0, 1, 7]]
    found = embedder.embed_passages([picture(page(name)) for name in PAGES])
    assert (found * docs).sum(axis=1).min() > cosine


def test_a_passage_of_text_is_refused(folder: str):
    text = Passage(-1, "report.pdf", 3, 0, 5, "words")
    with pytest.raises(ConfigError, match=r"page 3 of 'report\.pdf' is text"):
        VisragEmbedder(folder, CPU).embed_passages([picture(page(PAGES[0])), text])


def test_nothing_in_gives_nothing(folder: str):
    embedder = VisragEmbedder(folder, CPU)
    assert embedder.embed_passages([]).shape == embedder.embed_queries([]).shape == (0, 256)


def test_stages_are_timed(folder: str):
    embedder = VisragEmbedder(folder, CPU)
    assert embedder.stage_seconds == {"preprocess": 0, "model": 0}
    embedder.embed_passages([picture(page(PAGES[1]))])
    assert all(seconds > 0 for seconds in embedder.stage_seconds.values())


def test_the_fingerprint_tells_prompts_and_slicing_apart_but_not_precisions(folder: str):
    plain = VisragEmbedder(folder, CPU)
    assert plain.fingerprint == VisragEmbedder(folder, Placement("cpu", "bfloat16")).fingerprint
    assert plain.fingerprint == VisragEmbedder(folder, CPU, max_slices=9, batch_pages=3).fingerprint
    others = [VisragEmbedder(folder, CPU, query_prompt=""), VisragEmbedder(folder, CPU, max_slices=4)]
    assert len({plain.fingerprint, *(other.fingerprint for other in others)}) == 3


def test_fewer_slices_give_another_vector_of_a_large_page_alone(folder: str):
    pages = [picture(page("p6_1280x720")), picture(page("p0_448x448"))]
    few = VisragEmbedder(folder, CPU, max_slices=2).embed_passages(pages)
    all_of_them = VisragEmbedder(folder, CPU).embed_passages(pages)
    cosines = (few * all_of_them).sum(axis=1)
    assert cosines[0] < 0.999
    assert cosines[1] == pytest.approx(1, abs=1e-6)


def test_more_slices_than_the_model_reads_are_refused(folder: str):
    with pytest.raises(ConfigError, match="max_slices = 100 makes pages of 6.* tokens"):
        VisragEmbedder(folder, CPU, max_slices=100)


def test_a_query_longer_than_the_model_reads_is_cut(folder: str):
    embedder = VisragEmbedder(folder, CPU, query_prompt="")
    vectors = embedder.embed_queries(["lake " * 3000, "lake " * 4000])
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)


def test_a_name_that_is_no_folder_and_not_in_the_cache_is_an_error(tmp_path: Path):
    with pytest.raises(ConfigError, match="nobody/no-such-model"):
        VisragEmbedder("nobody/no-such-model", CPU)
