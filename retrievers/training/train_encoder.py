"""Training an embedder on lists of passages that a teacher has scored (arXiv 2502.19712)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ragkit.extras import require
from ragkit.retrievers.training.encoder_batches import Batch, batches, shuffled, split_lists
from ragkit.retrievers.training.examples import TrainingList, TrainingSet, check_normalised
from ragkit.retrievers.training.gradient_cache import batch_gradients, loss_of
from ragkit.retrievers.training.losses import LossSettings
from ragkit.retrievers.training.schedule import warmup_steps
from ragkit.retrievers.training.student import Student
from ragkit.retrievers.training.training_loop import Outcome, Schedule, TrainingLoop

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class EncoderTraining:
    """How to train. batch_size: questions a step. list_length: passages of each that are used.

    piece_tokens: tokens that are embedded at a time: bounds the memory, changes no result. patience: evaluations
    without improvement after which training ends. base_share: of the weights before training in those that come
    out, from 0 to 1 (WiSE-FT, arXiv 2109.01903): less is learnt, and less is forgotten of other collections.
    """

    loss: LossSettings = field(default_factory=LossSettings)
    learning_rate: float = 5e-5
    weight_decay: float = 0.01
    clip: float = 1.0
    epochs: int = 3
    batch_size: int = 64
    list_length: int = 20
    patience: int = 2
    piece_tokens: int = 4096
    base_share: float = 0.5
    seed: int = 0


def train_encoder(
    data: TrainingSet,
    student: Student,
    settings: EncoderTraining,
    folder: Path,
    tell: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Train `student`, whose weights are then the best by held-out loss, mixed with those of before.

    Called again after a kill, with the student as it was before training, it goes on.

    Args:
        folder, tell: as of `TrainingLoop`.

    Raises:
        DataError: scores are not from 0 to 1, there are too few questions, or the checkpoint is of another model.
    """
    check_normalised(data.lists)
    lists = [entry.first(settings.list_length) for entry in data.lists if len(entry.passages) > 1]
    trained = _Encoder(data, *split_lists(lists), student, settings)
    before = _copied(student.parameters) if settings.base_share else {}
    schedule = Schedule(
        settings.learning_rate,
        settings.weight_decay,
        settings.clip,
        settings.epochs,
        settings.patience,
        warmup_steps(trained.steps_an_epoch),
        ("total", "listwise"),
    )
    outcome = TrainingLoop(trained, schedule, folder, tell).finish()
    return _mixed(outcome, trained, before, settings.base_share) if settings.base_share else outcome


def _copied(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """In the memory of the CPU, for they are wanted once."""
    return {name: value.detach().to("cpu", copy=True) for name, value in parameters.items()}


def _mixed(outcome: Outcome, trained: _Encoder, before: Mapping[str, Tensor], share: float) -> Outcome:
    """Move the weights towards those of before by this share of the way; the outcome with the loss of these."""
    with require("torch").no_grad():
        for name, value in trained.parameters.items():
            value.lerp_(before[name].to(value.device), share)
    return replace(outcome, best=trained.held_out()["total"])


class _Encoder:
    """A `Trainable`."""

    def __init__(
        self,
        data: TrainingSet,
        train: list[TrainingList],
        dev: list[TrainingList],
        student: Student,
        settings: EncoderTraining,
    ) -> None:
        self._data, self._train, self._dev = data, train, dev
        self._student, self._settings = student, settings
        self.num_train, self.num_held_out = len(train), len(dev)
        self.steps_an_epoch = math.ceil(len(train) / settings.batch_size)

    @property
    def parameters(self) -> Mapping[str, Tensor]:
        return self._student.parameters

    @property
    def num_tokens(self) -> int:
        return self._student.num_tokens

    def batches(self, epoch: int) -> Iterator[Batch]:
        order = shuffled(self._train, self._settings.seed, epoch)
        return batches(self._data, order, self._settings.batch_size)

    def gradients(self, batch: Batch) -> Mapping[str, float]:
        parts = batch_gradients(self._student, batch, self._settings.loss, self._settings.piece_tokens)
        return {
            "loss": parts.total.item(),
            "listwise": parts.listwise.item(),
            "contrastive": parts.contrastive.item(),
        }

    def held_out(self) -> Mapping[str, float]:
        """Total and listwise, means over the held-out questions."""
        settings = self._settings
        sums = {"total": 0.0, "listwise": 0.0}
        for batch in batches(self._data, self._dev, settings.batch_size):
            parts = loss_of(self._student, batch, settings.loss, settings.piece_tokens)
            share = len(batch.questions) / len(self._dev)
            sums["total"] += parts.total.item() * share
            sums["listwise"] += parts.listwise.item() * share
        return sums
