"""LoL's dense reformulator: the embedder reads a question together with the passages that it found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ragkit.devices import Placement
from ragkit.extras import require
from ragkit.records import FloatArray, Hit
from ragkit.retrievers.feedback.feedback_sequences import FeedbackSequence, SequenceLimits
from ragkit.retrievers.feedback.reformulator import Revision, depths_of_lowest_loss
from ragkit.retrievers.feedback.sequence_encoder import SequenceEncoder
from ragkit.retrievers.feedback.sequence_reformulator import SequenceReformulator

if TYPE_CHECKING:
    from torch import Tensor

# How much of what the encoder makes of a sequence is added to a question's vector before training.
_FIRST_SHARE = 0.25


class TextReformulator(SequenceReformulator):
    """Adds to the question's vector a share of the vector that an encoder makes of the whole sequence.

    The share is the model's own for each sequence, and starts the same for all. A question without passages stays
    as it is. A `Reformulator`.

    Args:
        encoder: begins as the embedder whose vectors are revised, and is trained.
        fingerprint, metric: of that embedder.
        most: passages that are looked at.
        query_prompt: what that embedder puts before questions.
        threshold: as of `VectorReformulator`.
    """

    kind: Literal["dense"] = "dense"

    def __init__(
        self,
        encoder: SequenceEncoder,
        fingerprint: str,
        metric: Literal["cosine", "dot"],
        most: int,
        query_prompt: str = "",
        threshold: float = 0.0,
    ) -> None:
        super().__init__(encoder, "share", most, threshold)
        self.fingerprint, self.metric, self.query_prompt = fingerprint, metric, query_prompt
        require("torch").nn.init.constant_(self._heads["share"].bias, _FIRST_SHARE)

    def facts(self) -> dict[str, Any]:
        """JSON facts to make the same model from, but for its weights."""
        return {
            "fingerprint": self.fingerprint,
            "metric": self.metric,
            "most": self.most,
            "query_prompt": self.query_prompt,
            "passage_tokens": self.encoder.limits.passage,
            "threshold": self.threshold,
        }

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any], encoder: Path, placement: Placement) -> TextReformulator:
        """The model of these facts; encoder: the folder of its weights. Raises KeyError where one is missing."""
        limits = SequenceLimits(passage=facts["passage_tokens"])
        return cls(
            SequenceEncoder(encoder, placement, limits),
            facts["fingerprint"],
            facts["metric"],
            facts["most"],
            facts["query_prompt"],
            facts["threshold"],
        )

    def sequences(self, questions: Sequence[str], passages: Sequence[Sequence[str]]) -> list[FeedbackSequence]:
        """Of each question with the first `most` of its passages' texts."""
        asked = self.encoder.tokens([self.query_prompt + question for question in questions])
        texts = list(dict.fromkeys(text for some in passages for text in some[: self.most]))
        read = dict(zip(texts, self.encoder.tokens(texts), strict=True))
        return [
            self.encoder.sequence(tokens, [read[text] for text in some[: self.most]])
            for tokens, some in zip(asked, passages, strict=True)
        ]

    def forward(self, queries: Tensor, sequences: Sequence[FeedbackSequence]) -> Revision:
        """Revise, with gradients. queries: (q, dim), the questions as the embedder has them."""
        torch = require("torch")
        read = self.encoder.read(sequences)
        first = read.states[:, 0]
        revised = queries + self._heads["share"](first) * read.vectors
        if self.metric == "cosine":
            revised = torch.nn.functional.normalize(revised, dim=1)
        has_any = torch.tensor([one.num_passages > 0 for one in sequences], device=revised.device)
        revised = torch.where(has_any[:, None], revised, queries)
        return Revision(revised, self._heads["loss_change"](first).squeeze(1) * has_any)

    def revise(
        self,
        questions: Sequence[str],
        vectors: FloatArray,
        passages: Sequence[Sequence[Hit]],
        passage_vectors: Sequence[FloatArray],
    ) -> FloatArray:
        """As `Reformulator.revise`; the passages' vectors are not read."""
        del passage_vectors
        sequences = self.sequences(questions, _texts(passages))
        revised: FloatArray = self._evaluated(vectors, sequences).vectors.cpu().numpy()
        return revised

    def choose_depths(
        self,
        questions: Sequence[str],
        vectors: FloatArray,
        passages: Sequence[Sequence[Hit]],
        passage_vectors: Sequence[FloatArray],
    ) -> list[int]:
        """As `Reformulator.choose_depths`, by `depths_of_lowest_loss`."""
        del passage_vectors
        whole = self.sequences(questions, _texts(passages))
        lengths = [one.num_passages for one in whole]

        def guess(depth: int) -> FloatArray:
            cut = [one.first(depth) for one in whole]
            guessed: FloatArray = self._evaluated(vectors, cut).loss_change.cpu().numpy()
            return guessed

        return depths_of_lowest_loss(guess, lengths, self.most, self.threshold)

    def _evaluated(self, vectors: FloatArray, sequences: Sequence[FeedbackSequence]) -> Revision:
        torch = require("torch")
        with torch.inference_mode():
            queries = torch.from_numpy(np.ascontiguousarray(vectors, np.float32))
            return self.forward(queries.to(self.encoder.placement.device), sequences)


def _texts(passages: Sequence[Sequence[Hit]]) -> list[list[str]]:
    return [[hit.passage.titled_text for hit in hits] for hits in passages]
