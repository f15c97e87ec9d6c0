"""Training an embedder on lists of passages that a teacher has scored.

The recipe of arXiv 2502.19712: AdamW, warm-up and linear decay, held-out loss before every epoch, stop after two
in which it does not improve, keep the best.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragkit.extras import require
from ragkit.retrievers.training.checkpoint import (
    BEST,
    FILE,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    save_weights,
)
from ragkit.retrievers.training.encoder_batches import Batch, batches, shuffled, split_lists
from ragkit.retrievers.training.examples import TrainingList, TrainingSet, check_normalised
from ragkit.retrievers.training.gradient_cache import batch_gradients, loss_of
from ragkit.retrievers.training.losses import LossSettings
from ragkit.retrievers.training.schedule import learning_rate_share, warmup_steps
from ragkit.retrievers.training.student import Student
from ragkit.retrievers.training.training_log import FILE as LOG
from ragkit.retrievers.training.training_log import TrainingLog

if TYPE_CHECKING:
    from torch.optim import AdamW

_CHECKPOINT_EVERY_S = 120.0


@dataclass(frozen=True, slots=True)
class EncoderTraining:
    """How to train. batch_size: questions a step. list_length: passages of each that are used.

    piece_tokens: tokens that are embedded at a time: bounds the memory, changes no result. patience: evaluations
    without improvement after which training ends.
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
    seed: int = 0


@dataclass(slots=True)
class Progress:
    """Where a run is. batch: the next of the epoch. untrained, best_*: held-out losses, best after best_epoch."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    untrained: float = math.inf
    best_total: float = math.inf
    best_listwise: float = math.inf
    best_epoch: int = 0
    stale: int = 0
    evaluated: int = -1
    seconds: float = 0.0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class EncoderOutcome:
    """What came out. untrained_total, best_total: held-out losses before training and of the weights kept."""

    num_train: int
    num_dev: int
    steps: int
    epochs: int
    best_epoch: int
    untrained_total: float
    best_total: float
    seconds: float
    tokens_a_second: float


def train_encoder(
    data: TrainingSet,
    student: Student,
    settings: EncoderTraining,
    folder: Path,
    tell: Callable[[str], None] = lambda _: None,
) -> EncoderOutcome:
    """Train `student`, whose weights are then the best by held-out loss. Called again after a kill, it goes on.

    Args:
        folder: of the checkpoint, the best weights and log.jsonl.
        tell: is given a line after every evaluation and step.

    Raises:
        DataError: scores are not from 0 to 1, there are too few questions, or the checkpoint is of another model.
    """
    check_normalised(data.lists)
    lists = [entry.first(settings.list_length) for entry in data.lists if len(entry.passages) > 1]
    train, dev = split_lists(lists)
    return _Run(data, train, dev, student, settings, folder, tell).finish()


class _Run:
    def __init__(
        self,
        data: TrainingSet,
        train: list[TrainingList],
        dev: list[TrainingList],
        student: Student,
        settings: EncoderTraining,
        folder: Path,
        tell: Callable[[str], None],
    ) -> None:
        torch = require("torch")
        self._data, self._train, self._dev = data, train, dev
        self._student, self._settings, self._folder, self._tell = student, settings, folder, tell
        self._parameters = student.parameters
        self._optimiser: AdamW = torch.optim.AdamW(
            self._parameters.values(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self._steps_an_epoch = math.ceil(len(train) / settings.batch_size)
        self._progress = Progress()
        is_gone_on_with = (folder / FILE).exists()
        if is_gone_on_with:
            state = load_checkpoint(folder / FILE, self._parameters, self._optimiser)
            self._progress = Progress(**state)
        self._log = TrainingLog(folder / LOG, self._progress.step if is_gone_on_with else None)
        self._saved_at = time.monotonic()

    def finish(self) -> EncoderOutcome:
        progress = self._progress
        while not self._is_over():
            for number, batch in enumerate(self._batches()):
                if number >= progress.batch:
                    self._step(batch)
                    progress.batch = number + 1
                    if time.monotonic() - self._saved_at > _CHECKPOINT_EVERY_S:
                        self._save()
            progress.epoch, progress.batch = progress.epoch + 1, 0
        load_weights(self._folder / BEST, self._parameters)
        return EncoderOutcome(
            len(self._train),
            len(self._dev),
            progress.step,
            progress.epoch,
            progress.best_epoch,
            progress.untrained,
            progress.best_total,
            progress.seconds,
            progress.tokens / max(progress.seconds, 1e-9),
        )

    def _batches(self) -> Any:
        order = shuffled(self._train, self._settings.seed, self._progress.epoch)
        return batches(self._data, order, self._settings.batch_size)

    def _is_over(self) -> bool:
        """Between epochs: evaluate once, and see whether that was the last."""
        progress = self._progress
        if progress.batch == 0 and progress.evaluated < progress.epoch:
            self._evaluate()
            self._save()
        return progress.epoch >= self._settings.epochs or progress.stale >= self._settings.patience

    def _step(self, batch: Batch) -> None:
        torch = require("torch")
        progress, settings = self._progress, self._settings
        started, tokens = time.perf_counter(), self._student.num_tokens
        total = self._steps_an_epoch * settings.epochs
        share = learning_rate_share(progress.step, warmup_steps(self._steps_an_epoch), total)
        for group in self._optimiser.param_groups:
            group["lr"] = share * settings.learning_rate
        self._optimiser.zero_grad()
        parts = batch_gradients(self._student, batch, settings.loss, settings.piece_tokens)
        norm = torch.nn.utils.clip_grad_norm_(self._parameters.values(), settings.clip)
        self._optimiser.step()
        seconds = time.perf_counter() - started
        progress.step += 1
        progress.seconds += seconds
        progress.tokens += self._student.num_tokens - tokens
        self._log.write(
            "step",
            progress.step,
            epoch=progress.epoch,
            loss=parts.total.item(),
            listwise=parts.listwise.item(),
            contrastive=parts.contrastive.item(),
            learning_rate=share * settings.learning_rate,
            gradient_norm=float(norm),
            seconds=round(seconds, 3),
        )
        self._tell(
            f"epoch {progress.epoch + 1} step {progress.step}: loss {parts.total.item():.4f}, {seconds:.1f} s"
        )

    def _evaluate(self) -> None:
        """Held-out loss; keeps the weights where it is the lowest."""
        progress = self._progress
        total, listwise = self._dev_loss()
        is_better = total < progress.best_total
        improves = is_better or listwise < progress.best_listwise
        progress.stale = 0 if improves else progress.stale + 1
        progress.best_listwise = min(progress.best_listwise, listwise)
        progress.evaluated = progress.epoch
        if progress.epoch == 0:
            progress.untrained = total
        if is_better:
            progress.best_total, progress.best_epoch = total, progress.epoch
            save_weights(self._folder / BEST, self._parameters, {"epoch": progress.epoch, "loss": total})
        self._log.write("evaluation", progress.step, epoch=progress.epoch, total=total, listwise=listwise)
        self._tell(f"after {progress.epoch} epochs: held-out loss {total:.4f}, the best {progress.best_total:.4f}")

    def _dev_loss(self) -> tuple[float, float]:
        """Total and listwise, means over the held-out questions."""
        settings = self._settings
        sums = [0.0, 0.0]
        for batch in batches(self._data, self._dev, settings.batch_size):
            parts = loss_of(self._student, batch, settings.loss, settings.piece_tokens)
            sums[0] += parts.total.item() * len(batch.questions)
            sums[1] += parts.listwise.item() * len(batch.questions)
        return sums[0] / len(self._dev), sums[1] / len(self._dev)

    def _save(self) -> None:
        save_checkpoint(self._folder / FILE, self._parameters, self._optimiser, asdict(self._progress))
        self._saved_at = time.monotonic()
