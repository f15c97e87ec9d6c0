"""LoL's reformulator of vectors alone: it needs no text, and so works for page pictures and any embedder."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ragkit.extras import require
from ragkit.records import FloatArray, Hit
from ragkit.retrievers.feedback.reformulator import Revision, depths_of_lowest_loss

if TYPE_CHECKING:
    from torch import Tensor

_NUM_RELATIONS = 3


@dataclass(frozen=True, slots=True)
class VectorShape:
    """The model's sizes. dim: of the vectors. most: passages it looks at; further ones are left out.

    free: whether the revised vector may leave the space that query and passages span.
    """

    dim: int
    width: int = 64
    heads: int = 4
    layers: int = 2
    most: int = 5
    free: bool = False


class VectorReformulator:
    """A small transformer over the query's vector and those of its passages; a `Reformulator`.

    It adds to the query's vector a weight times each passage's vector, and a vector of its own; all of these are 0
    before training, and always for a query without passages. With "cosine" the sum is brought to unit length.

    Args:
        fingerprint: of the embedder that it is trained for.
        threshold: how much lower than without feedback the guessed loss must be for the guard to revise a query.
    """

    kind: Literal["vector"] = "vector"

    def __init__(
        self,
        shape: VectorShape,
        fingerprint: str,
        metric: Literal["cosine", "dot"] = "cosine",
        threshold: float = 0.0,
        seed: int = 0,
    ) -> None:
        torch = require("torch")
        self.shape, self.fingerprint, self.metric, self.threshold = shape, fingerprint, metric, threshold
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._layers = _layers(shape)
        self._layers.eval()
        self._evaluating = threading.Lock()

    @property
    def most(self) -> int:
        """As `Reformulator.most`."""
        return self.shape.most

    @property
    def parameters(self) -> Mapping[str, Tensor]:
        """By name, to train and to save."""
        return dict(self._layers.named_parameters())

    def facts(self) -> dict[str, Any]:
        """JSON facts to make the same model from, but for its weights."""
        shape = asdict(self.shape)
        return {
            "shape": shape,
            "fingerprint": self.fingerprint,
            "metric": self.metric,
            "threshold": self.threshold,
        }

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> VectorReformulator:
        """The model of these facts. Raises KeyError or TypeError where they are others."""
        shape = VectorShape(**facts["shape"])
        return cls(shape, facts["fingerprint"], facts["metric"], facts["threshold"])

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take the weights of these names. Raises RuntimeError where they are of another shape."""
        self._layers.load_state_dict(weights)

    def forward(self, queries: Tensor, passages: Tensor, counts: Tensor) -> Revision:
        """Revise, with gradients.

        Args:
            queries: (q, dim).
            passages: (q, p, dim), p at most `shape.most`; rows from a query's count on are padding, and 0.
            counts: int64 (q,), passages of each query.
        """
        torch = require("torch")
        layers, num_passages = self._layers, passages.shape[1]
        is_padding = torch.arange(num_passages) >= counts[:, None]
        vectors = torch.cat([queries[:, None], passages], dim=1)
        states = layers["vectors"](vectors) + layers["places"].weight[: num_passages + 1]
        states = states + layers["relations"](_relations(queries, passages, counts))
        masked = torch.cat([is_padding.new_zeros(len(queries), 1), is_padding], dim=1)
        for layer in layers["blocks"]:
            states = layer(states, src_key_padding_mask=masked)
        states = layers["norm"](states)
        weights = layers["weight"](states[:, 1:]).squeeze(2).masked_fill(is_padding, 0.0)
        revised = queries + torch.einsum("qp,qpd->qd", weights, passages)
        has_any = (counts > 0).to(queries.dtype)
        if self.shape.free:
            revised = revised + layers["free"](states[:, 0]) * has_any[:, None]
        if self.metric == "cosine":
            revised = torch.nn.functional.normalize(revised, dim=1)
        # Without passages the query is to be exactly itself, not itself brought to unit length.
        revised = torch.where(counts[:, None] > 0, revised, queries)
        return Revision(revised, layers["loss_change"](states[:, 0]).squeeze(1) * has_any)

    def revise(
        self,
        questions: Sequence[str],
        vectors: FloatArray,
        passages: Sequence[Sequence[Hit]],
        passage_vectors: Sequence[FloatArray],
    ) -> FloatArray:
        """As `Reformulator.revise`; texts are not read."""
        del questions, passages
        counts = [min(len(rows), self.shape.most) for rows in passage_vectors]
        revised: FloatArray = self._evaluated(vectors, passage_vectors, counts).vectors.numpy()
        return revised

    def choose_depths(
        self,
        questions: Sequence[str],
        vectors: FloatArray,
        passages: Sequence[Sequence[Hit]],
        passage_vectors: Sequence[FloatArray],
    ) -> list[int]:
        """As `Reformulator.choose_depths`, by `depths_of_lowest_loss`."""
        del questions, passages
        lengths = [len(rows) for rows in passage_vectors]

        def guess(depth: int) -> FloatArray:
            counts = [min(depth, length) for length in lengths]
            guessed: FloatArray = self._evaluated(vectors, passage_vectors, counts).loss_change.numpy()
            return guessed

        return depths_of_lowest_loss(guess, lengths, self.shape.most, self.threshold)

    def _evaluated(
        self, vectors: FloatArray, passage_vectors: Sequence[FloatArray], counts: list[int]
    ) -> Revision:
        torch = require("torch")
        with self._evaluating, torch.inference_mode():
            queries = torch.from_numpy(np.ascontiguousarray(vectors, np.float32))
            return self.forward(queries, padded(passage_vectors, counts, self.shape.dim), torch.tensor(counts))


def padded(passage_vectors: Sequence[FloatArray], counts: Sequence[int], dim: int) -> Tensor:
    """float32 (q, most of the counts, dim): the first passages of each query, then zeros."""
    torch = require("torch")
    rows: Tensor = torch.zeros(len(counts), max(counts, default=0), dim)
    for row, found, count in zip(rows, passage_vectors, counts, strict=True):
        row[:count] = torch.from_numpy(np.ascontiguousarray(found[:count], np.float32))
    return rows


def _layers(shape: VectorShape) -> Any:
    nn = require("torch").nn
    layers = nn.ModuleDict(
        {
            "vectors": nn.Linear(shape.dim, shape.width),
            "places": nn.Embedding(shape.most + 1, shape.width),
            "relations": nn.Linear(_NUM_RELATIONS, shape.width),
            "blocks": nn.ModuleList([_block(shape) for _ in range(shape.layers)]),
            "norm": nn.LayerNorm(shape.width),
            "weight": nn.Linear(shape.width, 1),
            "loss_change": nn.Linear(shape.width, 1),
        }
    )
    if shape.free:
        layers["free"] = nn.Linear(shape.width, shape.dim)
    for name in ("weight", "loss_change", *(["free"] if shape.free else [])):
        nn.init.zeros_(layers[name].weight)
        nn.init.zeros_(layers[name].bias)
    return layers


def _block(shape: VectorShape) -> Any:
    return require("torch").nn.TransformerEncoderLayer(
        shape.width, shape.heads, 2 * shape.width, dropout=0.0, batch_first=True, norm_first=True
    )


def _relations(queries: Tensor, passages: Tensor, counts: Tensor) -> Tensor:
    """(q, 1 + p, 3): similarity to the query, how much less than the first passage, and to the passages' mean.

    The query's own row has its similarity to the mean alone.
    """
    torch = require("torch")
    mean = passages.sum(dim=1) / counts.clamp(min=1)[:, None].to(passages.dtype)
    to_query = torch.einsum("qd,qpd->qp", queries, passages)
    to_mean = torch.einsum("qd,qpd->qp", mean, passages)
    rows = torch.stack([to_query, to_query - to_query[:, :1], to_mean], dim=2)
    own = torch.einsum("qd,qd->q", queries, mean)
    zero = torch.zeros_like(own)
    features: Tensor = torch.cat([torch.stack([zero, zero, own], dim=1)[:, None], rows], dim=1)
    return features
