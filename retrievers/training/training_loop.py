"""The loop that every training here runs in: steps, held-out loss between epochs, best weights, a kill survived.

The recipe of arXiv 2502.19712: AdamW, warm-up and linear decay, held-out loss before every epoch, stop after some
in which it does not improve, keep the best.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from ragkit.extras import require
from ragkit.retrievers.training.checkpoint import (
    BEST,
    FILE,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    save_weights,
)
from ragkit.retrievers.training.schedule import learning_rate_share
from ragkit.retrievers.training.training_log import FILE as LOG
from ragkit.retrievers.training.training_log import TrainingLog

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import AdamW

_CHECKPOINT_EVERY_S = 120.0

B = TypeVar("B")


class Trainable(Protocol[B]):
    """What the loop trains: where its batches come from, and what its losses are."""

    @property
    def parameters(self) -> Mapping[str, Tensor]:
        """By name, each once."""
        ...

    @property
    def num_tokens(self) -> int:
        """How many it has read so far; 0 where it reads none."""
        ...

    @property
    def num_train(self) -> int:
        """Questions of an epoch."""
        ...

    @property
    def num_held_out(self) -> int:
        """Questions that the held-out losses are of."""
        ...

    @property
    def steps_an_epoch(self) -> int: ...

    def batches(self, epoch: int) -> Iterator[B]:
        """Those of an epoch from 0, the same whenever they are asked for."""
        ...

    def gradients(self, batch: B) -> Mapping[str, float]:
        """Add the gradients of the batch's loss to the parameters; its parts by name, with "loss" among them."""
        ...

    def held_out(self) -> Mapping[str, float]:
        """Losses of held-out questions, with "total" among them."""
        ...


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast. warmup_steps: in which the learning rate rises. clip: the gradient's greatest norm.

    patience: evaluations without improvement after which training ends. watched: held-out losses in which a fall
    is an improvement; the weights kept are always those of the lowest total.
    """

    learning_rate: float
    weight_decay: float
    clip: float
    epochs: int
    patience: int
    warmup_steps: int
    watched: tuple[str, ...] = ("total",)


@dataclass(slots=True)
class Progress:
    """Where a run is. batch: the next of the epoch. lowest: of each held-out loss. best_epoch: of the least total.

    evaluated: the last epoch before which held-out losses were taken.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    untrained: float = math.inf
    lowest: dict[str, float] = field(default_factory=dict)
    best_epoch: int = 0
    stale: int = 0
    evaluated: int = -1
    seconds: float = 0.0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out. untrained, best: held-out losses before training and of the weights kept."""

    num_train: int
    num_held_out: int
    steps: int
    epochs: int
    best_epoch: int
    untrained: float
    best: float
    seconds: float
    tokens_a_second: float


class TrainingLoop(Generic[B]):
    """Trains one thing in one folder; made again for the same folder after a kill, it goes on.

    Args:
        folder: of the checkpoint, the best weights and log.jsonl.
        tell: is given a line after every evaluation and step.
    """

    def __init__(
        self,
        trained: Trainable[B],
        schedule: Schedule,
        folder: Path,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Raises DataError where the checkpoint is of another model."""
        self._trained, self._schedule, self._folder, self._tell = trained, schedule, folder, tell
        self._parameters = trained.parameters
        self._optimiser: AdamW = require("torch").optim.AdamW(
            self._parameters.values(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay
        )
        self._progress = Progress()
        is_gone_on_with = (folder / FILE).exists()
        if is_gone_on_with:
            self._progress = Progress(**load_checkpoint(folder / FILE, self._parameters, self._optimiser))
        self._log = TrainingLog(folder / LOG, self._progress.step if is_gone_on_with else None)
        self._saved_at = time.monotonic()

    def finish(self) -> Outcome:
        """Train to the end; the parameters are then the best by held-out loss."""
        progress = self._progress
        while not self._is_over():
            for number, batch in enumerate(self._trained.batches(progress.epoch)):
                if number >= progress.batch:
                    self._step(batch)
                    progress.batch = number + 1
                    if time.monotonic() - self._saved_at > _CHECKPOINT_EVERY_S:
                        self._save()
            progress.epoch, progress.batch = progress.epoch + 1, 0
        load_weights(self._folder / BEST, self._parameters)
        return Outcome(
            self._trained.num_train,
            self._trained.num_held_out,
            progress.step,
            progress.epoch,
            progress.best_epoch,
            progress.untrained,
            progress.lowest["total"],
            progress.seconds,
            progress.tokens / max(progress.seconds, 1e-9),
        )

    def _is_over(self) -> bool:
        """Between epochs: evaluate once, and see whether that was the last."""
        progress = self._progress
        if progress.batch == 0 and progress.evaluated < progress.epoch:
            self._evaluate()
            self._save()
        return progress.epoch >= self._schedule.epochs or progress.stale >= self._schedule.patience

    def _step(self, batch: B) -> None:
        torch = require("torch")
        progress, schedule = self._progress, self._schedule
        started, tokens = time.perf_counter(), self._trained.num_tokens
        total = self._trained.steps_an_epoch * schedule.epochs
        rate = schedule.learning_rate * learning_rate_share(progress.step, schedule.warmup_steps, total)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.zero_grad()
        losses = self._trained.gradients(batch)
        norm = torch.nn.utils.clip_grad_norm_(self._parameters.values(), schedule.clip)
        self._optimiser.step()
        seconds = time.perf_counter() - started
        progress.step += 1
        progress.seconds += seconds
        progress.tokens += self._trained.num_tokens - tokens
        facts = {"learning_rate": rate, "gradient_norm": float(norm), "seconds": round(seconds, 3)}
        self._log.write("step", progress.step, epoch=progress.epoch, **losses, **facts)
        self._tell(f"epoch {progress.epoch + 1} step {progress.step}: loss {losses['loss']:.4f}, {seconds:.1f} s")

    def _evaluate(self) -> None:
        """Held-out losses; keeps the weights where the total is the lowest."""
        progress = self._progress
        losses = self._trained.held_out()
        total = losses["total"]
        if progress.evaluated < 0:
            progress.untrained = total
        lowest = progress.lowest
        improves = any(losses[name] < lowest.get(name, math.inf) for name in self._schedule.watched)
        progress.stale = 0 if improves else progress.stale + 1
        if total < lowest.get("total", math.inf):
            progress.best_epoch = progress.epoch
            save_weights(self._folder / BEST, self._parameters, {"epoch": progress.epoch, "loss": total})
        # In this order, so that a loss that is no number never becomes the lowest.
        progress.lowest = {name: min(lowest.get(name, math.inf), value) for name, value in losses.items()}
        progress.evaluated = progress.epoch
        self._log.write("evaluation", progress.step, epoch=progress.epoch, **losses)
        best = progress.lowest["total"]
        self._tell(f"after {progress.epoch} epochs: held-out loss {total:.4f}, the best {best:.4f}")

    def _save(self) -> None:
        save_checkpoint(self._folder / FILE, self._parameters, self._optimiser, asdict(self._progress))
        self._saved_at = time.monotonic()
