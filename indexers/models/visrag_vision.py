"""VisRAG-Ret's vision tower: SigLIP so400m without its last block, on images of any grid of patches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from ragkit.extras import require
from ragkit.indexers.models.visrag_config import VisionShape

if TYPE_CHECKING:
    from torch import Tensor

LAYER_NORM_EPS = 1e-6

# A block's layers by their names in transformers -> in the checkpoint, which is timm's.
_BLOCK_NAMES = {
    "layer_norm1": "norm1",
    "self_attn.out_proj": "attn.proj",
    "layer_norm2": "norm2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
# One matrix in the checkpoint holds these, one below the other.
_FUSED = ("q_proj", "k_proj", "v_proj")


class VisionTower:
    """Patches -> features, one vector a patch. Has no weights before `load`.

    The parts are transformers' SigLIP blocks; what differs from its SigLIP is the position table, which
    is brought to the image's grid with antialiasing, and exact GELU.
    """

    prefix = "vpm."

    def __init__(self, shape: VisionShape) -> None:
        torch = require("torch")
        self.shape = shape
        with torch.device("meta"):
            # A convolution whose step is its width: as a product it stays clear of cuDNN's TensorFloat-32.
            self.patches = torch.nn.Linear(3 * shape.patch**2, shape.width)
            self.table = torch.empty(1, shape.table_side**2, shape.width)
            self.blocks = [_new_block(shape) for _ in range(shape.depth)]
            self.norm = torch.nn.LayerNorm(shape.width, eps=LAYER_NORM_EPS)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names in the checkpoint, and the shape that each tensor must have."""
        width, patch = self.shape.width, self.shape.patch
        wanted = {"pos_embed": tuple(self.table.shape), "patch_embed.proj.weight": (width, 3, patch, patch)}
        wanted |= {"patch_embed.proj.bias": (width,)} | _shapes(self.norm, "norm.")
        for number, block in enumerate(self.blocks):
            start = f"blocks.{number}."
            for ours, theirs in _BLOCK_NAMES.items():
                wanted |= _shapes(block.get_submodule(ours), f"{start}{theirs}.")
            wanted[start + "attn.qkv.weight"] = (3 * width, width)
            wanted[start + "attn.qkv.bias"] = (3 * width,)
        return {self.prefix + name: shape for name, shape in wanted.items()}

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take the tensors named by `shapes`; they are kept, not copied."""
        own = {name.removeprefix(self.prefix): value for name, value in weights.items()}
        self.table = own["pos_embed"]
        own["patch_embed.proj.weight"] = own["patch_embed.proj.weight"].flatten(1)
        _load(self.patches, own, "patch_embed.proj.")
        _load(self.norm, own, "norm.")
        for number, block in enumerate(self.blocks):
            start = f"blocks.{number}."
            for ours, theirs in _BLOCK_NAMES.items():
                _load(block.get_submodule(ours), own, f"{start}{theirs}.")
            for kind in ("weight", "bias"):
                for name, part in zip(_FUSED, own[f"{start}attn.qkv.{kind}"].chunk(3), strict=True):
                    _load(block.get_submodule(f"self_attn.{name}"), {kind: part}, "", strict=False)

    def __call__(self, pixels: Tensor) -> Tensor:
        """pixels (n, 3, height, width) in -1..1, sides multiples of the patch -> (n, patches, width)."""
        rows, columns = (side // self.shape.patch for side in pixels.shape[2:])
        features = self.patches(self.cells(pixels)) + self.positions(rows, columns)
        for block in self.blocks:
            features = block(features, attention_mask=None)
        normed: Tensor = self.norm(features)
        return normed

    def cells(self, pixels: Tensor) -> Tensor:
        """The pixels of each patch in a row, (n, patches, 3 * patch²)."""
        patch = self.shape.patch
        count, bands, height, width = pixels.shape
        split = pixels.reshape(count, bands, height // patch, patch, width // patch, patch)
        return split.permute(0, 2, 4, 1, 3, 5).reshape(count, -1, bands * patch**2)

    def positions(self, rows: int, columns: int) -> Tensor:
        """The learned table for a grid of this size, (1, rows * columns, width)."""
        torch = require("torch")
        side = self.shape.table_side
        if (rows, columns) == (side, side):
            return cast("Tensor", self.table)
        grid = self.table.float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
        grid = torch.nn.functional.interpolate(grid, (rows, columns), mode="bicubic", antialias=True)
        table: Tensor = grid.permute(0, 2, 3, 1).reshape(1, rows * columns, -1)
        return table.to(self.table.dtype)


def _new_block(shape: VisionShape) -> Any:
    transformers = require("transformers")
    siglip = require("transformers.models.siglip.modeling_siglip")
    config = transformers.SiglipVisionConfig(
        hidden_size=shape.width,
        intermediate_size=shape.hidden,
        num_attention_heads=shape.heads,
        hidden_act="gelu",
        layer_norm_eps=LAYER_NORM_EPS,
        attn_implementation="sdpa",
    )
    return siglip.SiglipEncoderLayer(config).eval()


def _shapes(module: Any, start: str) -> dict[str, tuple[int, ...]]:
    return {start + name: tuple(value.shape) for name, value in module.state_dict().items()}


def _load(module: Any, weights: Mapping[str, Tensor], start: str, strict: bool = True) -> None:
    state = {name: weights[start + name] for name in module.state_dict() if strict or start + name in weights}
    module.load_state_dict(state, strict=strict, assign=True)
    module.requires_grad_(False)
