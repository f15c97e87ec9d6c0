"""From one vector a token to one vector an input: each pooling is one formula over the real tokens.

All take hidden (batch, length, dim) and mask (batch, length), 1 where a token is real and 0 where it
is padding, on either side; and give (batch, dim) in float32, not normalized.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def weighted_mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """Mean in which the i-th real token weighs i (SGPT, arXiv 2202.08904; VisRAG, arXiv 2410.10594, eq. 1)."""
    real = _counted(mask)
    return _average(hidden, real * real.cumsum(dim=1))


def mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """Mean over the real tokens (Sentence-BERT, EMNLP 2019)."""
    return _average(hidden, _counted(mask))


def last_token(hidden: Tensor, mask: Tensor) -> Tensor:
    """The last real token, the only one that a causal model lets see all (E5-Mistral, arXiv 2401.00368)."""
    real = _counted(mask)
    last = (real * real.cumsum(dim=1)).argmax(dim=1)
    return hidden[list(range(len(hidden))), last].float()


# Names as the configuration writes them.
POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "weighted-mean": weighted_mean,
    "mean": mean,
    "last": last_token,
}


def _counted(mask: Tensor) -> Tensor:
    real = mask.long()
    if not bool(real.any(dim=1).all()):
        raise ValueError("an input without a single real token cannot be pooled: its mask is all 0")
    return real


def _average(hidden: Tensor, weights: Tensor) -> Tensor:
    shares = weights / weights.sum(dim=1, keepdim=True)
    # Padding may hold anything, and nan times 0 is nan.
    kept = hidden.float().masked_fill(weights.unsqueeze(-1) == 0, 0.0)
    return (shares.unsqueeze(-1) * kept).sum(dim=1)
