"""Training a reformulator by LoL's objective (arXiv 2204.11545): parallel revisions of each query.

Passages are frozen, and a set's passages are all candidates of its queries.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ragkit.extras import require
from ragkit.retrievers.training.feedback_sampling import draw_feedback, draw_sizes
from ragkit.retrievers.training.gradient_cache import Piece, cached_gradients
from ragkit.retrievers.training.lol_loss import LolParts, LolSettings, lol_loss, reformulation_losses
from ragkit.retrievers.training.lol_students import Asked, FeedbackQuery, FeedbackSet, LolStudent
from ragkit.retrievers.training.schedule import warmup_steps
from ragkit.retrievers.training.training_loop import Outcome, Schedule, TrainingLoop

if TYPE_CHECKING:
    from torch import Tensor

# What the guess of the change of a loss counts beside LoL's own loss; it moves little but its own head.
_GUESS_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class LolTraining:
    """How to train. revisions: of each query in parallel. batch_size: queries a step.

    patience: epochs without improvement after which training ends. chunk: as of `reformulation_losses`.
    piece_tokens: tokens that are read at a time: bounds the memory, changes no result.
    """

    loss: LolSettings = field(default_factory=lambda: LolSettings(scale=50.0))
    revisions: int = 2
    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    clip: float = 1.0
    patience: int = 4
    chunk: int = 0
    piece_tokens: int = 4096
    seed: int = 0


@dataclass(frozen=True, slots=True)
class LolBatch:
    """Queries of one set with as many revisions each, those with the most passages first."""

    place: int
    asked: tuple[Asked, ...]


def train_lol(
    sets: Sequence[FeedbackSet],
    held_out: Sequence[FeedbackSet],
    student: LolStudent,
    settings: LolTraining,
    folder: Path,
    judge: Callable[[LolStudent, Sequence[FeedbackSet]], float],
    tell: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Train `student`, whose weights are then the best by `judge`. Called again after a kill, it goes on.

    Args:
        folder, tell: as of `TrainingLoop`.
        judge: a loss of the held-out sets.

    Raises:
        DataError: a query has no relevant passage, or the checkpoint is of another model.
    """
    trained = _Reformulator(sets, held_out, student, settings, judge)
    schedule = Schedule(
        settings.learning_rate,
        settings.weight_decay,
        settings.clip,
        settings.epochs,
        settings.patience,
        warmup_steps(trained.steps_an_epoch),
    )
    return TrainingLoop(trained, schedule, folder, tell).finish()


class _Reformulator:
    """A `Trainable`."""

    def __init__(
        self,
        sets: Sequence[FeedbackSet],
        held_out: Sequence[FeedbackSet],
        student: LolStudent,
        settings: LolTraining,
        judge: Callable[[LolStudent, Sequence[FeedbackSet]], float],
    ) -> None:
        self._sets, self._held_out, self._student = sets, held_out, student
        self._settings, self._judge = settings, judge
        self._candidates = [student.candidates(one) for one in sets]
        self.num_train = sum(len(one.queries) for one in sets)
        self.num_held_out = sum(len(one.queries) for one in held_out)
        self.steps_an_epoch = sum(math.ceil(len(one.queries) / settings.batch_size) for one in sets)

    @property
    def parameters(self) -> Mapping[str, Tensor]:
        return self._student.parameters

    @property
    def num_tokens(self) -> int:
        return self._student.num_tokens

    def batches(self, epoch: int) -> Iterator[LolBatch]:
        """Order and draws depend on the seed and the epoch alone."""
        rng = random.Random(f"{self._settings.seed} {epoch}")
        size, batches = self._settings.batch_size, []
        for place, one in enumerate(self._sets):
            order = rng.sample(one.queries, len(one.queries))
            batches += [(place, order[start : start + size]) for start in range(0, len(order), size)]
        rng.shuffle(batches)
        for place, queries in batches:
            yield LolBatch(place, tuple(asked for query in queries for asked in self._revisions(query, rng)))

    def _revisions(self, query: FeedbackQuery, rng: random.Random) -> list[Asked]:
        sizes = draw_sizes(rng, self._settings.revisions, self._student.most)
        drawn = draw_feedback(rng, query.found, sizes, self._student.most)
        return [Asked(query, tuple(drawn[:size])) for size in sizes]

    def gradients(self, batch: LolBatch) -> Mapping[str, float]:
        one, settings = self._sets[batch.place], self._settings
        pieces = self._student.pieces(one, batch.asked, settings.piece_tokens)

        def piece(indices: list[int]) -> Piece:
            return lambda: _row(self._student, one, [batch.asked[i] for i in indices])

        parts, guess = cached_gradients(
            [piece(indices) for indices in pieces],
            lambda rows: self._losses(batch, pieces, rows),
            lambda losses: losses[0].total + _GUESS_SHARE * losses[1],
        )
        named = {"loss": parts.total, "reformulation": parts.reformulation, "comparative": parts.comparative}
        return {name: value.item() for name, value in {**named, "guess": guess}.items()}

    def _losses(
        self, batch: LolBatch, pieces: Sequence[list[int]], rows: Sequence[Tensor]
    ) -> tuple[LolParts, Tensor]:
        """LoL's loss, and how far the model's guesses of what revising changes are from what it does change."""
        torch = require("torch")
        settings = self._settings
        back = torch.tensor([i for piece in pieces for i in piece], device=rows[0].device).argsort()
        revised = torch.cat(list(rows))[back]
        queries = [each.query for each in batch.asked]

        def losses_of(vectors: Tensor, asked: Sequence[FeedbackQuery]) -> Tensor:
            relevant = [query.relevant for query in asked]
            candidates = self._candidates[batch.place]
            return reformulation_losses(vectors, candidates, relevant, settings.loss.scale, settings.chunk).losses

        losses = losses_of(revised[:, :-1], queries)
        with torch.no_grad():
            # Once a query, not once for each of its revisions.
            distinct = queries[:: settings.revisions]
            before = losses_of(self._student.unrevised(self._sets[batch.place], distinct), distinct)
            changes = losses - before.repeat_interleave(settings.revisions)
        guess = torch.nn.functional.smooth_l1_loss(revised[:, -1], changes)
        return lol_loss(losses.reshape(-1, settings.revisions), settings.loss), guess

    def held_out(self) -> Mapping[str, float]:
        return {"total": self._judge(self._student, self._held_out)}


def _row(student: LolStudent, one: FeedbackSet, asked: Sequence[Asked]) -> Tensor:
    """(len(asked), dim + 1): what is searched with, then the guess of the loss's change."""
    revision = student.forward(one, asked)
    row: Tensor = require("torch").cat([revision.vectors, revision.loss_change[:, None]], dim=1)
    return row
