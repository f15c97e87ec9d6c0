"""What LoL's reformulators that read texts have in common: an encoder, and small heads on its states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ragkit.extras import require
from ragkit.retrievers.feedback.sequence_encoder import SequenceEncoder

if TYPE_CHECKING:
    from torch import Tensor


class SequenceReformulator:
    """Reads a question and its passages as one sequence.

    Args:
        encoder: it is trained.
        head: name of the linear head that revises, beside "loss_change"; both give 0 unless a subclass sets them.
        most: passages that are looked at.
        threshold: as of `VectorReformulator`.
    """

    def __init__(self, encoder: SequenceEncoder, head: str, most: int, threshold: float) -> None:
        self.encoder, self.most, self.threshold = encoder, most, threshold
        nn = require("torch").nn
        heads = {name: nn.Linear(encoder.width, 1) for name in (head, "loss_change")}
        for layer in heads.values():
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self._heads = nn.ModuleDict(heads).to(encoder.placement.device)

    @property
    def heads(self) -> Mapping[str, Tensor]:
        """Weights beside those of the encoder, by name."""
        return dict(self._heads.named_parameters())

    @property
    def parameters(self) -> Mapping[str, Tensor]:
        """By name, to train."""
        return {**self.heads, **{f"encoder.{name}": value for name, value in self.encoder.parameters.items()}}

    def load(self, heads: Mapping[str, Tensor]) -> None:
        """Take the weights of these names. Raises RuntimeError where they are of another shape."""
        self._heads.load_state_dict(heads)
