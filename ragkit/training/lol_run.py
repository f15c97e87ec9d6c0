"""`ragkit train lol` on judged collections: read, train, judge on held-out queries, keep model and record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ragkit import __version__
from ragkit.assemble import NO_EMBEDDER, make_embedder
from ragkit.config import Config
from ragkit.devices import choose_placement
from ragkit.errors import ConfigError
from ragkit.eval.runs.run_folder import RunFolder
from ragkit.eval.sets.beir import read_beir
from ragkit.evaluations.run_plan import session_facts
from ragkit.indexers.index_report import IndexProgress
from ragkit.indexers.lexical.terms import TermAnalyzer
from ragkit.indexers.models.model_files import model_folder
from ragkit.indexers.models.text_embedder import local_name, model_digest
from ragkit.protocols import Embedder
from ragkit.retrievers.feedback.feedback_sequences import SequenceLimits
from ragkit.retrievers.feedback.load_reformulator import save_reformulator
from ragkit.retrievers.feedback.sequence_encoder import SequenceEncoder
from ragkit.retrievers.feedback.term_reformulator import TermReformulator
from ragkit.retrievers.feedback.text_reformulator import TextReformulator
from ragkit.retrievers.feedback.vector_reformulator import VectorReformulator, VectorShape
from ragkit.retrievers.training.checkpoint import drop_checkpoints
from ragkit.retrievers.training.feedback_sampling import MOST_FEEDBACK
from ragkit.retrievers.training.lol_students import TermStudent, TextStudent, VectorStudent
from ragkit.retrievers.training.train_lol import LolTraining, train_lol
from ragkit.retrievers.training.training_log import FILE as LOG
from ragkit.retrievers.training.training_loop import Outcome
from ragkit.training.curves import CURVES, save_curves
from ragkit.training.lol_data import LolData, parse_source, read_lol_data
from ragkit.training.lol_judge import (
    MEASURE,
    DepthFigures,
    choose_threshold,
    figures,
    held_out_loss,
    score_depths,
)

if TYPE_CHECKING:
    from rich.table import Table

MODEL = "model"
# How much lower a loss has to be guessed before a query is revised: tried on held-out queries for the guard.
_THRESHOLDS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2)
_HELD_OUT_SEED = 0
_MEMORY_ALONE = ("piece_tokens", "chunk")


@dataclass(frozen=True, slots=True)
class LolRun:
    """What to train on what. data: folders in BEIR's layout, each perhaps with ":split".

    kind: of reformulator. is_free: as `VectorShape.free`. passage_tokens: of each passage that a text reformulator
    reads.
    """

    data: tuple[str, ...]
    training: LolTraining
    kind: Literal["dense", "sparse", "vector"] = "vector"
    is_free: bool = False
    passage_tokens: int = 128


@dataclass(frozen=True, slots=True)
class LolReport:
    """model: the folder of the trained reformulator. held_out: figures of each collection's held-out queries."""

    model: Path
    outcome: Outcome
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
        best = f"best after epoch {self.outcome.best_epoch} of {self.outcome.epochs}"
        if not self.outcome.best_epoch:
            best = f"no epoch of {self.outcome.epochs} lowered the held-out loss: this is the untrained model"
        table.caption = (
            f"{best}, {self.outcome.seconds:.0f} s; "
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
    embedder = None if run.kind == "sparse" else embedder or make_embedder(config)
    if embedder is None and (run.kind != "sparse" or config.embedder.name == NO_EMBEDDER):
        what = "begins as an embedder" if run.kind == "sparse" else "revises vectors of one"
        raise ConfigError(f'embedder.name = "none": a reformulator of kind {run.kind} {what}; name one')
    with RunFolder(out, _plan(run, sources, config, embedder), session_facts()) as kept:
        if kept.manifest.completed is None:
            data = [
                read_lol_data(one, config, MOST_FEEDBACK, _HELD_OUT_SEED, embedder, progress) for one in run.data
            ]
            kept.complete(_trained(run, out, data, _student(run, config, embedder, data), tell))
            drop_checkpoints(out)
        completed = kept.manifest.completed
        assert completed is not None, "it is completed above"
    held_out = {name: _figures(one) for name, one in completed["held_out"].items()}
    return LolReport(out / MODEL, Outcome(**completed["outcome"]), completed["threshold"], held_out)


def _student(
    run: LolRun, config: Config, embedder: Embedder | None, data: Sequence[LolData]
) -> VectorStudent | TextStudent | TermStudent:
    """The untrained model of this kind."""
    if run.kind == "vector":
        assert embedder is not None, "it revises the vectors of one"
        shape = VectorShape(embedder.dim, most=MOST_FEEDBACK, free=run.is_free)
        return VectorStudent(
            VectorReformulator(shape, embedder.fingerprint, embedder.metric, seed=run.training.seed)
        )
    placement = choose_placement(config.embedder.device, config.embedder.dtype)
    encoder = SequenceEncoder(
        model_folder(local_name(config.embedder.name)), placement, SequenceLimits(passage=run.passage_tokens)
    )
    if embedder is not None:
        prompt = config.embedder.query_prompt
        own = encoder.model.prompts.get("query", "") if prompt is None else prompt
        return TextStudent(TextReformulator(encoder, embedder.fingerprint, embedder.metric, MOST_FEEDBACK, own))
    languages = {one.language for one in data}
    if len(languages) > 1:
        raise ConfigError(
            f"the collections are of the languages {' and '.join(sorted(languages))}, of different terms; "
            "train on one language, or set lexical.language"
        )
    language = languages.pop()
    analyzer = TermAnalyzer(language, config.lexical.ngram)
    return TermStudent(TermReformulator(encoder, language, MOST_FEEDBACK), analyzer.words)


def _trained(
    run: LolRun,
    out: Path,
    data: Sequence[LolData],
    student: VectorStudent | TextStudent | TermStudent,
    tell: Callable[[str], None],
) -> dict[str, object]:
    scale = run.training.loss.scale
    outcome = train_lol(
        [one.train for one in data],
        [one.held_out for one in data],
        student,
        run.training,
        out,
        lambda current, sets: held_out_loss(current, sets, scale),
        tell,
    )
    save_curves(out / LOG, out / CURVES)
    scores = {one.name: score_depths(student, one.held_out, scale) for one in data}
    threshold = choose_threshold(list(scores.values()), _THRESHOLDS)
    student.model.threshold = threshold
    save_reformulator(student.model, out / MODEL)
    held_out = {name: asdict(figures(one, threshold)) for name, one in scores.items()}
    return {"outcome": asdict(outcome), "threshold": threshold, "held_out": held_out}


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


def _plan(
    run: LolRun, sources: dict[str, list[str]], config: Config, embedder: Embedder | None
) -> dict[str, object]:
    """How much is in memory at a time decides nothing."""
    training = {name: value for name, value in asdict(run.training).items() if name not in _MEMORY_ALONE}
    if run.kind == "vector":
        reformulator: dict[str, object] = {"free": run.is_free}
    else:
        encoder = model_digest(model_folder(local_name(config.embedder.name)), "")
        reformulator = {"passage_tokens": run.passage_tokens, "encoder": encoder}
    return {
        "command": "train lol",
        "ragkit": __version__,
        "data": sources,
        "embedder": embedder.fingerprint if embedder else config.lexical.model_dump(),
        "reformulator": {"kind": run.kind, **reformulator},
        "training": training,
    }
