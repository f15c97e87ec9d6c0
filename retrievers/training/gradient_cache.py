"""Gradients of a loss over a batch that is too large to be embedded at once.

Gao, Zhang, Han and Callan, "Scaling deep contrastive learning batch size under memory limited setup",
arXiv 2101.06983: embed all without gradients, take the loss's gradient with respect to the vectors, then embed
again a piece at a time and hand each piece its part. Exactly the gradient of the whole batch at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from ragkit.extras import require
from ragkit.retrievers.training.encoder_batches import Batch
from ragkit.retrievers.training.losses import LossParts, LossSettings, batch_loss
from ragkit.retrievers.training.student import Student

if TYPE_CHECKING:
    from torch import Tensor

Piece = Callable[[], "Tensor"]
P = TypeVar("P")


def cached_gradients(
    pieces: Sequence[Piece], loss: Callable[[list[Tensor]], P], total: Callable[[P], Tensor]
) -> P:
    """Add the gradients of a loss to the parameters that the pieces are made from; what `loss` returned.

    Args:
        pieces: each makes its rows anew whenever it is called, and the same ones.
        loss: of the rows of all pieces.
        total: of it what is minimised.
    """
    torch = require("torch")
    with torch.no_grad():
        leaves = [piece().requires_grad_() for piece in pieces]
    parts = loss(leaves)
    torch.autograd.backward(total(parts))
    for piece, leaf in zip(pieces, leaves, strict=True):
        torch.autograd.backward(piece(), leaf.grad)
    return parts


def batch_gradients(student: Student, batch: Batch, settings: LossSettings, piece_tokens: int) -> LossParts:
    """Add the gradients of the batch's mean loss to the student's parameters; the loss, without a graph.

    piece_tokens: how many tokens are embedded at a time, about.
    """
    pieces, places = _pieces(student, batch, piece_tokens)
    parts = cached_gradients(
        pieces, lambda vectors: _loss(vectors, places, batch, settings), lambda parts: parts.total
    )
    return _without_graph(parts)


def loss_of(student: Student, batch: Batch, settings: LossSettings, piece_tokens: int) -> LossParts:
    """The loss of a batch, without gradients."""
    with require("torch").no_grad():
        pieces, places = _pieces(student, batch, piece_tokens)
        return _loss([piece() for piece in pieces], places, batch, settings)


def _pieces(student: Student, batch: Batch, piece_tokens: int) -> tuple[list[Piece], list[list[int]]]:
    """What embeds each piece of the questions, then each of the passages; and which passages are in the latter."""
    places = list(student.pieces(batch.passages, piece_tokens))
    at_once = student.questions_at_once(piece_tokens)

    def questions(start: int) -> Piece:
        return lambda: student.questions(batch.questions[start : start + at_once])

    def passages(indices: list[int]) -> Piece:
        return lambda: student.passages([batch.passages[i] for i in indices])

    starts = range(0, len(batch.questions), at_once)
    return [*map(questions, starts), *map(passages, places)], places


def _loss(
    vectors: Sequence[Tensor], places: Sequence[Sequence[int]], batch: Batch, settings: LossSettings
) -> LossParts:
    torch = require("torch")
    num_pieces = len(vectors) - len(places)
    questions, passages = torch.cat(list(vectors[:num_pieces])), torch.cat(list(vectors[num_pieces:]))
    back = torch.tensor([i for indices in places for i in indices], device=questions.device).argsort()
    scores = questions @ passages[back].T
    lists, teacher = (torch.from_numpy(array).to(questions.device) for array in (batch.lists, batch.teacher))
    return batch_loss(scores, lists, teacher, settings)


def _without_graph(parts: LossParts) -> LossParts:
    return LossParts(parts.total.detach(), parts.listwise.detach(), parts.contrastive.detach())
