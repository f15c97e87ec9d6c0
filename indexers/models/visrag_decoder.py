"""VisRAG-Ret's decoder: MiniCPM 2B, which is Llama with scaled embeddings and residual branches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ragkit.extras import require

if TYPE_CHECKING:
    from torch import Tensor


class Decoder:
    """Token ids and visual features -> last hidden states. No weights before `load`.

    transformers' Granite is the same network with the scales as settings (MiniCPM, arXiv 2404.06395).
    """

    prefix = "llm.model."

    def __init__(self, fields: Mapping[str, Any]) -> None:
        torch = require("torch")
        granite = require("transformers.models.granite.modeling_granite")
        self.embedding_scale = float(fields["scale_emb"])
        config = _granite_config(fields)
        with torch.device("meta"):
            self.network = granite.GraniteModel(config).eval()
        # It has no weights in the checkpoint, and must hold numbers.
        self.network.rotary_emb = granite.GraniteRotaryEmbedding(config)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names in the checkpoint, and the shape that each tensor must have."""
        return {self.prefix + name: tuple(value.shape) for name, value in self.network.state_dict().items()}

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take the tensors named by `shapes`; they are kept, not copied."""
        state = {name: weights[self.prefix + name] for name in self.network.state_dict()}
        self.network.load_state_dict(state, assign=True)
        self.network.requires_grad_(False)
        self.network.rotary_emb.to(self.network.embed_tokens.weight.device)

    def embed_tokens(self, ids: Tensor) -> Tensor:
        """ids int64 (batch, length) -> (batch, length, dim), scaled; visual features are put in unscaled."""
        embedded: Tensor = self.network.embed_tokens(ids) * self.embedding_scale
        return embedded

    def __call__(self, inputs: Tensor) -> Tensor:
        """inputs (batch, length, dim) -> last hidden states of that shape, after the final norm.

        Padding stands on the right, where no real token sees it: attention is causal.
        """
        hidden: Tensor = self.network(inputs_embeds=inputs, use_cache=False).last_hidden_state
        return hidden


def _granite_config(fields: Mapping[str, Any]) -> Any:
    plain = (
        "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads "
        "hidden_act max_position_embeddings rms_norm_eps"
    ).split()
    return require("transformers").GraniteConfig(
        **{name: fields[name] for name in plain},
        rope_parameters={"rope_type": "default", "rope_theta": fields["rope_theta"]},
        attention_bias=False,
        mlp_bias=False,
        pad_token_id=None,
        embedding_multiplier=1.0,
        residual_multiplier=fields["scale_depth"] / math.sqrt(fields["num_hidden_layers"]),
        attention_multiplier=(fields["hidden_size"] // fields["num_attention_heads"]) ** -0.5,
        attn_implementation="sdpa",
    )
