"""Vectors of token sequences as LoL's published models make them: dense by the first token, sparse by all of them.

`DqrDense` and `DqrSparse` with masked-language-model head in the code of arXiv 2204.11545; both under BERT, the
dense one under RoBERTa as well, which is given no token types.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ragkit.extras import require

if TYPE_CHECKING:
    from torch import Tensor

# BERT's vocabulary has special and unused tokens below, of which [UNK] alone stands in texts.
_FIRST_WORD, _UNKNOWN = 999, 100
_NORM_EPSILON = 1e-5


def first_token_vectors(encoder: Any, head: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
    """(n, dim): the first token's state through a linear layer and a layer norm.

    Args:
        encoder: a `BertModel` or `RobertaModel` of transformers.
        head: linear.weight, linear.bias, norm.weight, norm.bias.
        batch: input_ids, attention_mask and token_type_ids, int64 (n, length).
    """
    functional = require("torch").nn.functional
    states = encoder(**_inputs(encoder, batch)).last_hidden_state[:, 0]
    projected = functional.linear(states, head["linear.weight"], head["linear.bias"])
    weight = head["norm.weight"]
    vectors: Tensor = functional.layer_norm(projected, weight.shape, weight, head["norm.bias"], _NORM_EPSILON)
    return vectors


def term_weights(model: Any, batch: Mapping[str, Tensor]) -> Tensor:
    """(n, vocabulary), of unit length: for each term its highest logit over the sequence's tokens, at least 0.

    Args:
        model: a `BertForMaskedLM` of transformers.
        batch: as of `first_token_vectors`.
    """
    torch = require("torch")
    logits = model(**_inputs(model, batch)).logits
    is_padding = batch["attention_mask"][:, :, None] == 0
    weights = logits.masked_fill(is_padding, -torch.inf).amax(dim=1).clamp(min=0)
    is_term = torch.arange(weights.shape[1], device=weights.device) >= _FIRST_WORD
    is_term[_UNKNOWN] = True
    normalised: Tensor = torch.nn.functional.normalize(weights * is_term, dim=1)
    return normalised


def _inputs(model: Any, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    has_types = model.config.model_type != "roberta"
    return {name: value for name, value in batch.items() if has_types or name != "token_type_ids"}
