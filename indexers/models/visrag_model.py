"""VisRAG-Ret as a network: images and token ids in, last hidden states out.

MiniCPM-V 2.0 (SigLIP vision tower, resampler, MiniCPM 2B) under the official names of its tensors;
VisRAG, arXiv 2410.10594. No code of the checkpoint is run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ragkit.devices import Placement
from ragkit.extras import require
from ragkit.indexers.models.visrag_checkpoint import read_config, read_tensors
from ragkit.indexers.models.visrag_config import parse_config
from ragkit.indexers.models.visrag_decoder import Decoder
from ragkit.indexers.models.visrag_resampler import Resampler
from ragkit.indexers.models.visrag_vision import VisionTower

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

# Patches in one pass of the vision tower: bounds the memory of its activations.
_PATCHES_AT_ONCE = {"cpu": 1 << 13, "cuda": 1 << 17}


class VisragModel:
    """The whole network, loaded from a folder.

    Raises:
        ConfigError: config.json or the weights are missing, damaged, or not VisRAG-Ret's.
    """

    def __init__(self, folder: Path, placement: Placement) -> None:
        self.config = parse_config(read_config(folder), str(folder / "config.json"))
        self.placement = placement
        self.vision = VisionTower(self.config.vision)
        self.resampler = Resampler(self.config.num_queries, self.config.dim, self.config.vision.width)
        self.decoder = Decoder(self.config.decoder)
        parts = (self.vision, self.resampler, self.decoder)
        wanted = {name: shape for part in parts for name, shape in part.shapes().items()}
        weights = read_tensors(folder, wanted, placement)
        for part in parts:
            part.load({name: weights[name] for name in part.shapes()})

    def visual_features(self, images: Sequence[Image]) -> Tensor:
        """Features (len(images), num_queries, dim) of RGB images whose sides are multiples of the patch.

        Images of one size go through the tower together.
        """
        torch = require("torch")
        by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
        for place, image in enumerate(images):
            by_size[image.size].append(place)
        shape = (len(images), self.config.num_queries, self.config.dim)
        features: Tensor = torch.empty(shape, dtype=self.placement.torch_dtype, device=self.placement.device)
        for size, places in by_size.items():
            grid = (size[1] // self.config.vision.patch, size[0] // self.config.vision.patch)
            for chunk in self._chunks(places, grid[0] * grid[1]):
                seen = self.vision(self._pixels([images[place] for place in chunk]))
                features[chunk] = self.resampler(seen, grid)
        return features

    def hidden_states(
        self, ids: Sequence[Sequence[int]], slots: Sequence[Sequence[int]], features: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Last hidden states (batch, length, dim), right-padded, and their mask int64 (batch, length).

        slots: for each input the positions that visual features take; features (images, num_queries, dim)
        fill them in order.
        """
        torch = require("torch")
        device = self.placement.device
        length = max(map(len, ids))
        padded = torch.tensor([[*row, *[0] * (length - len(row))] for row in ids], device=device)
        mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in ids], device=device)
        inputs = self.decoder.embed_tokens(padded)
        rows = [row for row, places in enumerate(slots) for _ in places]
        inputs[rows, [place for places in slots for place in places]] = features.flatten(0, 1)
        return self.decoder(inputs), mask

    def _pixels(self, images: Sequence[Image]) -> Tensor:
        """(n, 3, height, width), byte values brought to -1..1."""
        torch = require("torch")
        stacked = torch.from_numpy(np.stack([np.asarray(image) for image in images]))
        levels = stacked.to(self.placement.device).permute(0, 3, 1, 2).float()
        pixels: Tensor = levels.div(255).sub(0.5).div(0.5).to(self.placement.torch_dtype)
        return pixels

    def _chunks(self, places: list[int], patches: int) -> list[list[int]]:
        limit = _PATCHES_AT_ONCE.get(self.placement.device.partition(":")[0], 1 << 14)
        size = max(1, limit // patches)
        return [places[start : start + size] for start in range(0, len(places), size)]
