"""Training a reformulator by LoL's objective (arXiv 2204.11545): parallel revisions of each query.

Passages are frozen, and a set's passages are all candidates of its queries. Training stops when the loss that
`judge` finds for held-out queries no longer falls, and keeps the best weights.
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
from ragkit.records import FloatArray
from ragkit.retrievers.feedback.vector_reformulator import VectorReformulator, padded
from ragkit.retrievers.training.checkpoint import (
    BEST,
    FILE,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    save_weights,
)
from ragkit.retrievers.training.feedback_sampling import draw_feedback, draw_sizes
from ragkit.retrievers.training.lol_loss import LolParts, LolSettings, lol_loss, reformulation_losses
from ragkit.retrievers.training.schedule import learning_rate_share, warmup_steps
from ragkit.retrievers.training.training_log import FILE as LOG
from ragkit.retrievers.training.training_log import TrainingLog

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import AdamW

# What the guess of the change of a loss counts beside LoL's own loss; it moves little but its own head.
_GUESS_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class FeedbackQuery:
    """A query to train on. vector: float32 (dim,). found: rows of its first passages. relevant: at least one."""

    vector: FloatArray
    found: tuple[int, ...]
    relevant: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FeedbackSet:
    """Queries of one collection. passages: float32 (n, dim), all of its passages: their candidates."""

    passages: FloatArray
    queries: tuple[FeedbackQuery, ...]


@dataclass(frozen=True, slots=True)
class LolTraining:
    """How to train. revisions: of each query in parallel. batch_size: queries a step.

    patience: epochs without improvement after which training ends. chunk: as of `reformulation_losses`.
    """

    loss: LolSettings = field(default_factory=lambda: LolSettings(scale=20.0))
    revisions: int = 2
    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    clip: float = 1.0
    patience: int = 4
    chunk: int = 0
    seed: int = 0


@dataclass(slots=True)
class Progress:
    """Where a run is, between epochs. untrained, best: of the judge's losses, the best after best_epoch."""

    epoch: int = 0
    step: int = 0
    untrained: float = 0.0
    best: float = math.inf
    best_epoch: int = 0
    stale: int = 0
    seconds: float = 0.0


def train_lol(
    sets: Sequence[FeedbackSet],
    model: VectorReformulator,
    settings: LolTraining,
    folder: Path,
    judge: Callable[[VectorReformulator], float],
    tell: Callable[[str], None] = lambda _: None,
) -> Progress:
    """Train `model`, whose weights are then the best by `judge`. Called again after a kill, it goes on.

    Args:
        folder: of the checkpoint, the best weights and log.jsonl.
        judge: a loss, of queries that are not in `sets`.
        tell: is given a line after every epoch.

    Raises:
        DataError: a query has no relevant passage, or the checkpoint is of another model.
    """
    return _Run(sets, model, settings, folder, judge, tell).finish()


class _Run:
    def __init__(
        self,
        sets: Sequence[FeedbackSet],
        model: VectorReformulator,
        settings: LolTraining,
        folder: Path,
        judge: Callable[[VectorReformulator], float],
        tell: Callable[[str], None],
    ) -> None:
        torch = require("torch")
        self._sets, self._model, self._settings = sets, model, settings
        self._folder, self._judge, self._tell = folder, judge, tell
        self._candidates = [torch.from_numpy(one.passages) for one in sets]
        self._optimiser: AdamW = torch.optim.AdamW(
            model.parameters.values(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self._steps_an_epoch = sum(math.ceil(len(one.queries) / settings.batch_size) for one in sets)
        self._progress = Progress()
        is_gone_on_with = (folder / FILE).exists()
        if is_gone_on_with:
            self._progress = Progress(**load_checkpoint(folder / FILE, model.parameters, self._optimiser))
        self._log = TrainingLog(folder / LOG, self._progress.step if is_gone_on_with else None)

    def finish(self) -> Progress:
        progress, settings = self._progress, self._settings
        if progress.best == math.inf:
            progress.untrained = self._judge(self._model)
            self._keep(progress.untrained)
        while progress.epoch < settings.epochs and progress.stale < settings.patience:
            started = time.perf_counter()
            means = self._epoch()
            progress.seconds += time.perf_counter() - started
            self._keep(self._judge(self._model), **means)
        load_weights(self._folder / BEST, self._model.parameters)
        return progress

    def _epoch(self) -> dict[str, float]:
        """Mean losses of its steps. Its order and draws depend on the seed and its number alone."""
        rng = random.Random(f"{self._settings.seed} {self._progress.epoch}")
        sums = {"loss": 0.0, "reformulation": 0.0, "comparative": 0.0, "guess": 0.0}
        for place, queries in self._batches(rng):
            for name, value in self._step(place, queries, rng).items():
                sums[name] += value / self._steps_an_epoch
        self._progress.epoch += 1
        return sums

    def _batches(self, rng: random.Random) -> Iterator[tuple[int, list[FeedbackQuery]]]:
        size, batches = self._settings.batch_size, []
        for place, one in enumerate(self._sets):
            order = rng.sample(one.queries, len(one.queries))
            batches += [(place, order[start : start + size]) for start in range(0, len(order), size)]
        rng.shuffle(batches)
        yield from batches

    def _step(self, place: int, queries: list[FeedbackQuery], rng: random.Random) -> dict[str, float]:
        torch = require("torch")
        progress, settings = self._progress, self._settings
        total = self._steps_an_epoch * settings.epochs
        share = learning_rate_share(progress.step, warmup_steps(self._steps_an_epoch), total)
        for group in self._optimiser.param_groups:
            group["lr"] = share * settings.learning_rate
        self._optimiser.zero_grad()
        parts, guess = self._losses(place, queries, rng)
        torch.autograd.backward(parts.total + _GUESS_SHARE * guess)
        torch.nn.utils.clip_grad_norm_(self._model.parameters.values(), settings.clip)
        self._optimiser.step()
        progress.step += 1
        named = {"loss": parts.total, "reformulation": parts.reformulation, "comparative": parts.comparative}
        return {name: value.item() for name, value in {**named, "guess": guess}.items()}

    def _losses(self, place: int, queries: list[FeedbackQuery], rng: random.Random) -> tuple[LolParts, Tensor]:
        """LoL's loss, and how far the model's guesses of what revising changes are from what it does change."""
        torch = require("torch")
        settings, passages = self._settings, self._sets[place].passages
        most = self._model.shape.most
        rows, counts, vectors, positives = [], [], [], []
        for query in queries:
            sizes = draw_sizes(rng, settings.revisions, most)
            drawn = passages[draw_feedback(rng, query.found, sizes, most)]
            for size in sizes:
                vectors.append(query.vector)
                rows.append(drawn)
                counts.append(min(size, len(drawn)))
                positives.append(query.relevant)
        asked = torch.stack([torch.from_numpy(vector) for vector in vectors])
        revision = self._model.forward(asked, padded(rows, counts, self._model.shape.dim), torch.tensor(counts))
        scored = (self._candidates[place], positives, settings.loss.scale, settings.chunk)
        losses = reformulation_losses(revision.vectors, *scored).losses
        with torch.no_grad():
            changes = losses - reformulation_losses(asked, *scored).losses
        guess = torch.nn.functional.smooth_l1_loss(revision.loss_change, changes)
        return lol_loss(losses.reshape(-1, settings.revisions), settings.loss), guess

    def _keep(self, judged: float, **means: float) -> None:
        """Log an epoch, keep its weights where they are the best so far, and save what the next begins with."""
        progress = self._progress
        is_better = judged < progress.best
        progress.stale = 0 if is_better else progress.stale + 1
        if is_better:
            progress.best, progress.best_epoch = judged, progress.epoch
            save_weights(self._folder / BEST, self._model.parameters, {"epoch": progress.epoch})
        self._log.write("epoch", progress.step, epoch=progress.epoch, held_out=judged, **means)
        save_checkpoint(self._folder / FILE, self._model.parameters, self._optimiser, asdict(progress))
        said = "".join(f", {name} {value:.4f}" for name, value in means.items())
        self._tell(f"after {progress.epoch} epochs: held out {judged:.4f}, the best {progress.best:.4f}{said}")
