"""VisRAG-Ret's resampler: 64 learned queries read the patches of an image and stand for it in the prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ragkit.extras import require
from ragkit.indexers.models.visrag_vision import LAYER_NORM_EPS

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_HEAD_WIDTH = 128


class Resampler:
    """One layer of cross-attention (Qwen-VL, arXiv 2308.12966). Has no weights before `load`."""

    prefix = "resampler."

    def __init__(self, num_queries: int, dim: int, vision_dim: int) -> None:
        torch = require("torch")
        nn = torch.nn
        with torch.device("meta"):
            self.parameters = nn.ParameterDict(
                {
                    "pos_embed": torch.empty(num_queries, dim),
                    "query": torch.empty(num_queries, dim),
                    "proj": torch.empty(dim, dim),
                }
            )
            self.layers = nn.ModuleDict(
                {
                    "kv_proj": nn.Linear(vision_dim, dim, bias=False),
                    "attn": nn.MultiheadAttention(dim, dim // _HEAD_WIDTH, batch_first=True),
                    **{name: nn.LayerNorm(dim, eps=LAYER_NORM_EPS) for name in ("ln_q", "ln_kv", "ln_post")},
                }
            ).eval()

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names in the checkpoint, and the shape that each tensor must have."""
        state = self.parameters.state_dict() | self.layers.state_dict()
        return {self.prefix + name: tuple(value.shape) for name, value in state.items()}

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take the tensors named by `shapes`; they are kept, not copied."""
        for part in (self.parameters, self.layers):
            state = {name: weights[self.prefix + name] for name in part.state_dict()}
            part.load_state_dict(state, assign=True)
            part.requires_grad_(False)

    def __call__(self, features: Tensor, grid: tuple[int, int]) -> Tensor:
        """features (n, rows * columns, vision_dim) of a grid (rows, columns) -> (n, num_queries, dim)."""
        values = self.layers["ln_kv"](self.layers["kv_proj"](features))
        keys = values + sine_table(*grid, values.shape[-1], values.device).to(values.dtype)
        queries = self.layers["ln_q"](self.parameters["query"]) + self.parameters["pos_embed"]
        queries = queries.expand(len(features), -1, -1)
        read, _ = self.layers["attn"](queries, keys, values, need_weights=False)
        out: Tensor = self.layers["ln_post"](read) @ self.parameters["proj"]
        return out


def sine_table(rows: int, columns: int, dim: int, device: torch.device | str) -> Tensor:
    """Float32 (rows * columns, dim): the first half encodes the column, the second the row, each sine then cosine.

    MAE, arXiv 2111.06377, after "Attention Is All You Need".
    """
    torch = require("torch")
    quarter = dim // 4
    rates = 1.0 / 10000 ** (torch.arange(quarter, dtype=torch.float32, device=device) / quarter)

    def encode(count: int) -> Tensor:
        angles = torch.arange(count, dtype=torch.float32, device=device).outer(rates)
        encoded: Tensor = torch.cat([angles.sin(), angles.cos()], dim=1)
        return encoded

    by_column = encode(columns).expand(rows, -1, -1)
    by_row = encode(rows).unsqueeze(1).expand(-1, columns, -1)
    table: Tensor = torch.cat([by_column, by_row], dim=2).reshape(rows * columns, dim)
    return table
