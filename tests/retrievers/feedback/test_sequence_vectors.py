"""Vectors of token sequences against those of LoL's published models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file

from ragkit.retrievers.feedback.sequence_vectors import first_token_vectors, term_weights

GOLDEN = Path(__file__).parents[2] / "golden" / "lol"
SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
    "layer_norm_eps",
    "pad_token_id",
)


def read(name: str, architecture: Any) -> tuple[Any, dict[str, torch.Tensor], dict[str, torch.Tensor], Any]:
    """A model of this architecture, all weights, the inputs, and what the published code made of them."""
    facts = json.loads((GOLDEN / name / "config.json").read_text())
    weights = load_file(GOLDEN / name / "model.safetensors")
    own = {key.removeprefix("encoder."): value for key, value in weights.items() if key.startswith("encoder.")}
    if "cls.predictions.bias" in own:  # left out there, for they are the same
        own["cls.predictions.decoder.bias"] = own["cls.predictions.bias"]
        own["cls.predictions.decoder.weight"] = own["bert.embeddings.word_embeddings.weight"]
    model = architecture(architecture.config_class(**{size: facts[size] for size in SIZES})).eval()
    model.load_state_dict(own)
    outputs = np.load(GOLDEN / name / "outputs.npz")
    names = ("input_ids", "attention_mask", "token_type_ids")
    return model, weights, {key: torch.tensor(outputs[key]) for key in names}, outputs["default.vector"]


@pytest.mark.parametrize(
    ("name", "architecture"), [("dense_tiny", "BertModel"), ("dense_roberta_tiny", "RobertaModel")]
)
def test_dense_vectors_equal_the_published_codes(name: str, architecture: str) -> None:
    model, weights, batch, expected = read(name, getattr(transformers, architecture))
    names = {"linear": "dense_proj", "norm": "layer_norm"}
    head = {
        f"{ours}.{part}": weights[f"{its}.{part}"] for ours, its in names.items() for part in ("weight", "bias")
    }
    with torch.no_grad():
        vectors = first_token_vectors(model, head, batch)
    np.testing.assert_allclose(vectors.numpy(), expected, rtol=1e-5, atol=1e-5)


def test_sparse_vectors_equal_the_published_codes() -> None:
    model, _, batch, expected = read("sparse_tiny", transformers.BertForMaskedLM)
    with torch.no_grad():
        weights = term_weights(model, batch)
    np.testing.assert_allclose(weights.numpy(), expected, rtol=1e-5, atol=1e-6)
    assert not weights[:, :100].any()
    assert not weights[:, 101:999].any()
