"""A text embedder that reads a question and its passages as one sequence, as LoL's text reformulators do."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragkit.devices import Placement, computing_in, quiet_loading
from ragkit.errors import ConfigError
from ragkit.extras import require
from ragkit.retrievers.feedback.feedback_sequences import (
    FeedbackSequence,
    SequenceLimits,
    collate,
    feedback_sequence,
)

if TYPE_CHECKING:
    from torch import Tensor

# RoBERTa and its kin number places from 2 on.
_PLACES_UNUSED = 2
# [CLS] and [SEP].
_AROUND_QUERY = 2
# On CPUs batches are as wide as a multiple of this: torch keeps memory there for every width that it has met.
_STEP = 32


@dataclass(frozen=True, slots=True)
class ReadSequences:
    """states: (n, tokens, width), padding among the tokens. vectors: (n, dim), pooled as the embedder pools."""

    states: Tensor
    vectors: Tensor


class SequenceEncoder:
    """The model in float32, computing in what the placement says; dropout is off.

    Args:
        folder: of a text embedder of sentence-transformers whose tokenizer knows [CLS] and [SEP].
        limits: lowered to what the model can read.
    """

    def __init__(self, folder: Path, placement: Placement, limits: SequenceLimits) -> None:
        """Raises ConfigError where it cannot be loaded, or does not read such sequences."""
        self.model = _load(folder, placement.device)
        if placement.device == "cpu":
            # On CPUs torch's fused attention takes more than twice as long in its backward pass.
            self.model.transformers_model.set_attn_implementation("eager")
        self.placement = placement
        tokenizer = self.model.tokenizer
        if tokenizer.cls_token_id is None or tokenizer.sep_token_id is None:
            raise ConfigError(
                f"{folder} has no [CLS] and [SEP] to put a question and its passages between; "
                "take another embedder, or the reformulator of kind vector"
            )
        config = self.model.transformers_model.config
        total = min(limits.total, int(config.max_position_embeddings) - _PLACES_UNUSED)
        query = min(limits.query, total - _AROUND_QUERY)
        self.limits = SequenceLimits(query, limits.passage, total, limits.least)
        has_types = "token_type_ids" in tokenizer.model_input_names
        self._num_types = int(getattr(config, "type_vocab_size", 0)) if has_types else 0
        # A tokenizer is set to pad and cut at every call, which two threads must not do at once.
        self._preparing = threading.Lock()

    @property
    def width(self) -> int:
        """Of a token's state."""
        return int(self.model.transformers_model.config.hidden_size)

    @property
    def parameters(self) -> dict[str, Tensor]:
        """By name, each once."""
        return dict(self.model.named_parameters())

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Of each text, without special tokens and uncut."""
        if not texts:
            return []
        with self._preparing:
            read: list[list[int]] = self.model.tokenizer(
                list(texts), add_special_tokens=False, truncation=False, verbose=False
            )["input_ids"]
        return read

    def sequence(self, question: Sequence[int], passages: Sequence[Sequence[int]]) -> FeedbackSequence:
        """From tokens without special ones."""
        tokenizer = self.model.tokenizer
        return feedback_sequence(question, passages, tokenizer.cls_token_id, tokenizer.sep_token_id, self.limits)

    def batch_width(self, longest: int) -> int:
        """Tokens that each row takes of a batch whose longest sequence has so many."""
        if self.placement.device != "cpu":
            return longest
        return min(self.limits.total, math.ceil(longest / _STEP) * _STEP)

    def read(self, sequences: Sequence[FeedbackSequence]) -> ReadSequences:
        """float32, on the model's device, with gradients where they are on."""
        torch = require("torch")
        longest = max(len(one.ids) for one in sequences)
        batch = collate(sequences, self.model.tokenizer.pad_token_id, self.batch_width(longest))
        features = {"input_ids": batch.ids, "attention_mask": batch.mask}
        if self._num_types:
            features["token_type_ids"] = batch.types.clip(max=self._num_types - 1)
        placed = {name: torch.from_numpy(rows).to(self.placement.device) for name, rows in features.items()}
        with computing_in(self.placement):
            read: dict[str, Any] = self.model(placed)
        return ReadSequences(read["token_embeddings"].float(), read["sentence_embedding"].float())

    def save(self, folder: Path) -> None:
        """As a folder that this class loads again."""
        with quiet_loading():
            self.model.save_pretrained(str(folder), create_model_card=False)


def _load(folder: Path, device: str) -> Any:
    torch, library = require("torch"), require("sentence_transformers")
    options = {"dtype": torch.float32, "use_safetensors": True}
    try:
        with quiet_loading():
            model = library.SentenceTransformer(str(folder), device=device, model_kwargs=options)
    except (OSError, ValueError, ImportError) as error:
        raise ConfigError(f"{folder} cannot be loaded as a text embedder: {error}") from error
    return model.eval()
