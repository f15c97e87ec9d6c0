"""`ragkit train lol` on judged collections: read, train, judge on held-out queries, keep model and record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragkit import __version__
from ragkit.assemble import make_embedder
from ragkit.config import Config
from ragkit.errors import ConfigError
from ragkit.eval.runs.run_folder import RunFolder
from ragkit.eval.sets.beir import read_beir
from ragkit.evaluations.run_plan import session_facts
from ragkit.indexers.index_report import IndexProgress
from ragkit.protocols import Embedder
from ragkit.retrievers.feedback.load_reformulator import save_reformulator
from ragkit.retrievers.feedback.vector_reformulator import VectorReformulator, VectorShape
from ragkit.retrievers.training.checkpoint import drop_checkpoints
from ragkit.retrievers.training.feedback_sampling import MOST_FEEDBACK
from ragkit.retrievers.training.train_lol import LolTraining, Progress, train_lol
from ragkit.training.lol_data import LolData, parse_source, read_lol_data
from ragkit.training.lol_judge import MEASURE, DepthFigures, choose_threshold, figures, held_out_loss

if TYPE_CHECKING:
    from rich.table import Table

MODEL = "model"
# How much lower a loss has to be guessed before a query is revised: tried on held-out queries for the guard.
_THRESHOLDS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2)
_HELD_OUT_SEED = 0


@dataclass(frozen=True, slots=True)
class LolRun:
    """What to train on what. data: folders in BEIR's layout, each perhaps with ":split"."""

    data: tuple[str, ...]
    training: LolTraining
    is_free: bool = False


@dataclass(frozen=True, slots=True)
class LolReport:
    """model: the folder of the trained reformulator. held_out: figures of each collection's held-out queries."""

    model: Path
    outcome: Progress
    threshold: float
    held_out: dict[str, DepthFigures]

    def to_json(self) -> dict[str, Any]:
        return {
            "model": str(self.model),
            "training": asdict(self.outcome),
            "threshold": self.threshold,
            "held_out": {name: asdict(one) for name, one in self.held_out.items()},
        }

    def table(self) -> Table:
        from rich.table import Table

        depths = range(MOST_FEEDBACK + 1)
        table = Table("held out", "", *(f"depth {depth}" for depth in depths), title=f"{MEASURE} and mean loss")
        for name, one in self.held_out.items():
            table.add_row(name, MEASURE, *(f"{value:.4f}" for value in one.by_depth))
            table.add_row("", "with guard", *(f"{value:.4f}" for value in one.guarded))
            table.add_row("", "loss", *(f"{value:.4f}" for value in one.losses))
            table.add_row("", f"{one.worse:.1%} of losses grow")
        table.caption = (
            f"best after epoch {self.outcome.best_epoch} of {self.outcome.epoch}, {self.outcome.seconds:.0f} s; "
            f"guard revises from a guessed gain of {self.threshold:g}; losses grow: with {MOST_FEEDBACK} passages "
            f"against none; {self.model}"
        )
        return table


def run_lol_training(
    run: LolRun,
    out: Path,
    config: Config,
    progress: Callable[[IndexProgress], None] | None = None,
    tell: Callable[[str], None] = lambda _: None,
    embedder: Embedder | None = None,
) -> LolReport:
    """Train into `out`, or go on there, or show what came out there.

    Args:
        embedder: in place of the configured one.

    Raises:
        ConfigError: the settings have no embedder.
        DataError: a collection is malformed, or `out` holds the run of another plan.
    """
    sources = _sources(run.data)
    embedder = embedder or make_embedder(config)
    if embedder is None:
        raise ConfigError('embedder.name = "none": a reformulator revises vectors; name the embedder it is for')
    with RunFolder(out, _plan(run, sources, embedder), session_facts()) as kept:
        if kept.manifest.completed is None:
            data = [
                read_lol_data(one, config, MOST_FEEDBACK, _HELD_OUT_SEED, embedder, progress) for one in run.data
            ]
            kept.complete(_trained(run, out, data, embedder, tell))
            drop_checkpoints(out)
        completed = kept.manifest.completed
        assert completed is not None, "it is completed above"
    held_out = {name: _figures(one) for name, one in completed["held_out"].items()}
    return LolReport(out / MODEL, Progress(**completed["outcome"]), completed["threshold"], held_out)


def _trained(
    run: LolRun, out: Path, data: Sequence[LolData], embedder: Embedder, tell: Callable[[str], None]
) -> dict[str, object]:
    shape = VectorShape(embedder.dim, most=MOST_FEEDBACK, free=run.is_free)
    model = VectorReformulator(shape, embedder.fingerprint, embedder.metric, seed=run.training.seed)
    held_out = [one.held_out for one in data]
    train = [one.train for one in data]
    scale = run.training.loss.scale
    outcome = train_lol(
        train, model, run.training, out, lambda current: held_out_loss(current, held_out, scale), tell
    )
    threshold = choose_threshold(model, held_out, _THRESHOLDS)
    save_reformulator(model, out / MODEL)
    found = {one.name: asdict(figures(model, one.held_out, scale)) for one in data}
    return {"outcome": asdict(outcome), "threshold": threshold, "held_out": found}


def _figures(row: dict[str, Any]) -> DepthFigures:
    return DepthFigures(tuple(row["by_depth"]), tuple(row["losses"]), tuple(row["guarded"]), row["worse"])


def _sources(data: Sequence[str]) -> dict[str, list[str]]:
    """Fingerprints of the collections and of their judged queries. Read before any model."""
    sources = {}
    for text in data:
        folder, split = parse_source(text)
        collection = read_beir(folder, split)
        sources[f"{folder.resolve().name}:{split}"] = [collection.fingerprint(), collection.judged_fingerprint()]
    if len(sources) < len(data):
        raise ConfigError(f"--data {' '.join(data)}: one collection is named twice; name each once")
    return sources


def _plan(run: LolRun, sources: dict[str, list[str]], embedder: Embedder) -> dict[str, object]:
    return {
        "command": "train lol",
        "ragkit": __version__,
        "data": sources,
        "embedder": embedder.fingerprint,
        "training": asdict(run.training) | {"is_free": run.is_free},
    }
