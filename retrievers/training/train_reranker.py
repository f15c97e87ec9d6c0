"""Training a cross-encoder on lists of passages that a teacher has scored.

Listwise distillation as in arXiv 2502.19712, of a model that reads question and passage together: AdamW, warm-up
and linear decay, held-out loss before every epoch, stop after two in which it does not improve, keep the best.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ragkit.extras import require
from ragkit.retrievers.training.checkpoint import (
    BEST,
    FILE,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    save_weights,
)
from ragkit.retrievers.training.cross_encoder_student import CrossEncoderStudent
from ragkit.retrievers.training.encoder_batches import shuffled, split_lists
from ragkit.retrievers.training.examples import TrainingList, TrainingSet, check_normalised
from ragkit.retrievers.training.reranker_loss import RerankerLoss, RerankerLossSettings, reranker_loss
from ragkit.retrievers.training.schedule import learning_rate_share
from ragkit.retrievers.training.training_log import FILE as LOG
from ragkit.retrievers.training.training_log import TrainingLog

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import AdamW

_CHECKPOINT_EVERY_S = 120.0


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


@dataclass(frozen=True, slots=True)
class RerankerOutcome:
    """What came out. untrained, best: held-out losses before training and of the weights kept."""

    num_train: int
    num_dev: int
    steps: int
    epochs: int
    best_epoch: int
    untrained: float
    best: float
    seconds: float
    tokens_a_second: float


@dataclass(slots=True)
class _Progress:
    """Where a run is. batch: the next of the epoch. untrained, best: held-out losses, None before the first."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    untrained: float | None = None
    best: float | None = None
    best_epoch: int = 0
    stale: int = 0
    evaluated: int = -1
    seconds: float = 0.0
    tokens: int = 0


def train_reranker(
    data: TrainingSet,
    student: CrossEncoderStudent,
    settings: RerankerTraining,
    folder: Path,
    tell: Callable[[str], None] = lambda _: None,
) -> RerankerOutcome:
    """Train `student`, whose weights are then the best by held-out loss. Called again after a kill, it goes on.

    Args:
        folder: of the checkpoint, the best weights and log.jsonl.
        tell: is given a line after every step and evaluation.

    Raises:
        DataError: scores are not from 0 to 1, there are too few questions, or the checkpoint is of another model.
    """
    check_normalised(data.lists)
    train, dev = split_lists([entry for entry in data.lists if len(entry.passages) > 1])
    return _Run(data, train, dev, student, settings, folder, tell).finish()


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


class _Run:
    def __init__(
        self,
        data: TrainingSet,
        train: list[TrainingList],
        dev: list[TrainingList],
        student: CrossEncoderStudent,
        settings: RerankerTraining,
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
        self._progress = _Progress()
        is_gone_on_with = (folder / FILE).exists()
        if is_gone_on_with:
            self._progress = _Progress(**load_checkpoint(folder / FILE, self._parameters, self._optimiser))
        self._log = TrainingLog(folder / LOG, self._progress.step if is_gone_on_with else None)
        self._saved_at = time.monotonic()

    def finish(self) -> RerankerOutcome:
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
        assert progress.untrained is not None, "a run evaluates before it is over"
        assert progress.best is not None, "a run evaluates before it is over"
        return RerankerOutcome(
            len(self._train),
            len(self._dev),
            progress.step,
            progress.epoch,
            progress.best_epoch,
            progress.untrained,
            progress.best,
            progress.seconds,
            progress.tokens / max(progress.seconds, 1e-9),
        )

    def _batches(self) -> Iterator[list[TrainingList]]:
        settings, epoch = self._settings, self._progress.epoch
        order = shuffled(self._train, settings.seed, epoch)
        for start in range(0, len(order), settings.batch_size):
            batch = order[start : start + settings.batch_size]
            yield [drawn_list(entry, settings.list_length, settings.seed, epoch) for entry in batch]

    def _is_over(self) -> bool:
        """Between epochs: evaluate once, and see whether that was the last."""
        progress = self._progress
        if progress.batch == 0 and progress.evaluated < progress.epoch:
            self._evaluate()
            self._save()
        return progress.epoch >= self._settings.epochs or progress.stale >= self._settings.patience

    def _step(self, batch: Sequence[TrainingList]) -> None:
        torch = require("torch")
        progress, settings = self._progress, self._settings
        started, tokens = time.perf_counter(), self._student.num_tokens
        total = self._steps_an_epoch * settings.epochs
        rate = settings.learning_rate * learning_rate_share(
            progress.step, max(1, round(settings.warmup * total)), total
        )
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.zero_grad()
        losses = []
        for entry in batch:
            loss = self._loss(entry)
            torch.autograd.backward(loss.total / len(batch))
            losses.append(_values(loss))
        norm = torch.nn.utils.clip_grad_norm_(self._parameters.values(), settings.clip)
        self._optimiser.step()
        seconds = time.perf_counter() - started
        progress.step += 1
        progress.seconds += seconds
        progress.tokens += self._student.num_tokens - tokens
        self._note_step(_means(losses), rate, float(norm), seconds)

    def _note_step(self, loss: Sequence[float], rate: float, norm: float, seconds: float) -> None:
        progress = self._progress
        self._log.write(
            "step",
            progress.step,
            epoch=progress.epoch,
            loss=loss[0],
            listwise=loss[1],
            positive=loss[2],
            learning_rate=rate,
            gradient_norm=norm,
            seconds=round(seconds, 3),
        )
        self._tell(f"epoch {progress.epoch + 1} step {progress.step}: loss {loss[0]:.4f}, {seconds:.1f} s")

    def _loss(self, entry: TrainingList) -> RerankerLoss:
        logits = self._logits(entry)
        teacher = require("torch").tensor(entry.scores, dtype=logits.dtype, device=logits.device)
        return reranker_loss(logits, teacher, self._settings.loss)

    def _logits(self, entry: TrainingList) -> Tensor:
        passages = [self._data.passages[passage] for passage in entry.passages]
        return self._student.logits(self._data.questions[entry.question].text, passages)

    def _evaluate(self) -> None:
        """Held-out loss; keeps the weights where it is the lowest."""
        progress = self._progress
        total, listwise, positive = self._dev_loss()
        if progress.untrained is None:
            progress.untrained = total
        progress.evaluated = progress.epoch
        is_better = progress.best is None or total < progress.best
        progress.stale = 0 if is_better else progress.stale + 1
        if is_better:
            progress.best, progress.best_epoch = total, progress.epoch
            save_weights(self._folder / BEST, self._parameters, {"epoch": progress.epoch, "loss": total})
        facts = {"total": total, "listwise": listwise, "positive": positive}
        self._log.write("evaluation", progress.step, epoch=progress.epoch, **facts)
        self._tell(f"after {progress.epoch} epochs: held-out loss {total:.4f}, the best {progress.best:.4f}")

    def _dev_loss(self) -> list[float]:
        """Total, listwise and positive, means over the held-out lists, always of the same passages."""
        settings = self._settings
        with require("torch").no_grad():
            drawn = (drawn_list(entry, settings.list_length, settings.seed, 0) for entry in self._dev)
            return _means([_values(self._loss(entry)) for entry in drawn])

    def _save(self) -> None:
        save_checkpoint(self._folder / FILE, self._parameters, self._optimiser, asdict(self._progress))
        self._saved_at = time.monotonic()


def _values(loss: RerankerLoss) -> tuple[float, float, float]:
    return loss.total.item(), loss.listwise.item(), loss.positive.item()


def _means(rows: Sequence[tuple[float, float, float]]) -> list[float]:
    return [math.fsum(column) / len(rows) for column in zip(*rows, strict=True)]
