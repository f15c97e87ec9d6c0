"""Training a cross-encoder on lists of passages that a teacher has scored.

Lists are the retriever's own: what stands in them beside the positive is what it confuses with it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ragkit.extras import require
from ragkit.retrievers.training.cross_encoder_student import CrossEncoderStudent
from ragkit.retrievers.training.encoder_batches import shuffled, split_lists
from ragkit.retrievers.training.examples import TrainingList, TrainingSet, check_normalised
from ragkit.retrievers.training.reranker_loss import RerankerLoss, RerankerLossSettings, reranker_loss
from ragkit.retrievers.training.training_loop import Outcome, Schedule, TrainingLoop

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class RerankerTraining:
    """How to train. batch_size: lists a step, of which one at a time is in memory.

    list_length: passages of a list that are read: the positive, and others drawn anew in every epoch. warmup: the
    share of all steps in which the learning rate rises. patience: evaluations without improvement after which
    training ends.
    """

    loss: RerankerLossSettings = field(default_factory=RerankerLossSettings)
    learning_rate: float = 5e-5
    weight_decay: float = 0.01
    warmup: float = 0.1
    clip: float = 1.0
    epochs: int = 3
    batch_size: int = 8
    list_length: int = 8
    patience: int = 2
    seed: int = 0


def train_reranker(
    data: TrainingSet,
    student: CrossEncoderStudent,
    settings: RerankerTraining,
    folder: Path,
    tell: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Train `student`, whose weights are then the best by held-out loss. Called again after a kill, it goes on.

    Args:
        folder, tell: as of `TrainingLoop`.

    Raises:
        DataError: scores are not from 0 to 1, there are too few questions, or the checkpoint is of another model.
    """
    check_normalised(data.lists)
    train, dev = split_lists([entry for entry in data.lists if len(entry.passages) > 1])
    trained = _CrossEncoder(data, train, dev, student, settings)
    schedule = Schedule(
        settings.learning_rate,
        settings.weight_decay,
        settings.clip,
        settings.epochs,
        settings.patience,
        max(1, round(settings.warmup * trained.steps_an_epoch * settings.epochs)),
    )
    return TrainingLoop(trained, schedule, folder, tell).finish()


def drawn_list(entry: TrainingList, length: int, seed: int, epoch: int) -> TrainingList:
    """The positive and `length` - 1 others of a list, in its order; drawn by seed and epoch."""
    if len(entry.passages) <= length:
        return entry
    others = range(1, len(entry.passages))
    drawn = random.Random(f"{seed}:{epoch}:{entry.question}").sample(others, length - 1)
    kept = [0, *sorted(drawn)]
    return TrainingList(
        entry.question, tuple(entry.passages[i] for i in kept), tuple(entry.scores[i] for i in kept)
    )


class _CrossEncoder:
    """A `Trainable`."""

    def __init__(
        self,
        data: TrainingSet,
        train: list[TrainingList],
        dev: list[TrainingList],
        student: CrossEncoderStudent,
        settings: RerankerTraining,
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

    def batches(self, epoch: int) -> Iterator[list[TrainingList]]:
        settings = self._settings
        order = shuffled(self._train, settings.seed, epoch)
        for start in range(0, len(order), settings.batch_size):
            batch = order[start : start + settings.batch_size]
            yield [drawn_list(entry, settings.list_length, settings.seed, epoch) for entry in batch]

    def gradients(self, batch: Sequence[TrainingList]) -> Mapping[str, float]:
        losses = []
        for entry in batch:
            loss = self._loss(entry)
            require("torch").autograd.backward(loss.total / len(batch))
            losses.append(_values(loss))
        return dict(zip(("loss", "listwise", "positive"), _means(losses), strict=True))

    def held_out(self) -> Mapping[str, float]:
        """Total, listwise and positive, means over the held-out lists, always of the same passages."""
        settings = self._settings
        with require("torch").no_grad():
            drawn = (drawn_list(entry, settings.list_length, settings.seed, 0) for entry in self._dev)
            means = _means([_values(self._loss(entry)) for entry in drawn])
        return dict(zip(("total", "listwise", "positive"), means, strict=True))

    def _loss(self, entry: TrainingList) -> RerankerLoss:
        passages = [self._data.passages[passage] for passage in entry.passages]
        logits = self._student.logits(self._data.questions[entry.question].text, passages)
        teacher = require("torch").tensor(entry.scores, dtype=logits.dtype, device=logits.device)
        return reranker_loss(logits, teacher, self._settings.loss)


def _values(loss: RerankerLoss) -> tuple[float, float, float]:
    return loss.total.item(), loss.listwise.item(), loss.positive.item()


def _means(rows: Sequence[tuple[float, float, float]]) -> list[float]:
    return [math.fsum(column) / len(rows) for column in zip(*rows, strict=True)]
