"""`ragkit train reranker` on a training folder: train, choose the weight on held-out questions, keep both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragkit.config import Config
from ragkit.devices import Placement, choose_placement
from ragkit.eval.runs.run_folder import RunFolder
from ragkit.evaluations.run_plan import session_facts
from ragkit.retrievers.cross_encoder import CrossEncoderReranker
from ragkit.retrievers.interpolation import store_weight
from ragkit.retrievers.training.checkpoint import drop_checkpoints
from ragkit.retrievers.training.cross_encoder_student import CrossEncoderStudent
from ragkit.retrievers.training.encoder_batches import held_out_questions
from ragkit.retrievers.training.examples import TrainingSet, read_training_set
from ragkit.retrievers.training.train_reranker import RerankerTraining, train_reranker
from ragkit.retrievers.training.training_log import FILE as LOG
from ragkit.retrievers.training.training_loop import Outcome
from ragkit.training.curves import CURVES, save_curves
from ragkit.training.reranker_weight import WeightChoice, weigh
from ragkit.training.training_plan import searched_by, training_plan

if TYPE_CHECKING:
    from rich.table import Table

MODEL = "model"


@dataclass(frozen=True, slots=True)
class RerankerRun:
    """What to train on what. base: a cross-encoder or an encoder, by hub name or folder.

    weight: of the reranker beside the retriever; None: chosen on the held-out questions.
    """

    data: Path
    base: str
    training: RerankerTraining
    max_tokens: int = 256
    weight: float | None = None


@dataclass(frozen=True, slots=True)
class RerankerReport:
    """model: the folder of the trained cross-encoder. choice: None where the weight was given."""

    model: Path
    base: str
    outcome: Outcome
    weight: float
    choice: WeightChoice | None

    def to_json(self) -> dict[str, Any]:
        return {
            "model": str(self.model),
            "base": self.base,
            "training": asdict(self.outcome),
            "weight": self.weight,
            "held_out": None if self.choice is None else self.choice.to_json(),
        }

    def table(self) -> Table:
        from rich.table import Table

        outcome = self.outcome
        table = Table(
            "held out", "before", "after", title=f"{self.base}, trained on {outcome.num_train} questions"
        )
        table.add_row("loss", f"{outcome.untrained:.4f}", f"{outcome.best:.4f}")
        if self.choice is not None:
            for row in self.choice.rows():
                table.add_row(*row)
        table.caption = f"{_judged(self.choice, self.weight)}; {_trained(outcome)}; {self.model}"
        return table


def run_reranker_training(
    run: RerankerRun, out: Path, config: Config, tell: Callable[[str], None] = lambda _: None
) -> RerankerReport:
    """Train into `out`, or go on there, or show what came out there.

    Raises:
        ConfigError: there is no such model.
        DataError: the training folder is malformed, or `out` holds the run of another plan.
    """
    data = read_training_set(run.data)
    placement = choose_placement(config.embedder.device, config.embedder.dtype)
    with RunFolder(out, _plan(run, config), session_facts()) as kept:
        if kept.manifest.completed is None:
            outcome = _train(data, run, out, placement, tell)
            choice = None if run.weight is not None else _choice(data, run, config, kept, placement, tell)
            weight = run.weight if choice is None else choice.weight
            assert weight is not None, "a weight is given or chosen"
            chosen = None if choice is None else asdict(choice)
            store_weight(out / MODEL, weight, {"choice": chosen})
            kept.complete({"outcome": asdict(outcome), "weight": weight, "choice": chosen})
        drop_checkpoints(out)
        facts = kept.manifest.completed
        assert facts is not None, "it was completed now or before"
    choice = WeightChoice(**facts["choice"]) if facts["choice"] else None
    return RerankerReport(out / MODEL, run.base, Outcome(**facts["outcome"]), facts["weight"], choice)


def _train(
    data: TrainingSet, run: RerankerRun, out: Path, placement: Placement, tell: Callable[[str], None]
) -> Outcome:
    student = CrossEncoderStudent(
        run.base, placement, max_tokens=run.max_tokens, seed=run.training.seed, pictures=run.data
    )
    outcome = train_reranker(data, student, run.training, out, tell)
    student.save(out / MODEL)
    save_curves(out / LOG, out / CURVES)
    return outcome


def _choice(
    data: TrainingSet,
    run: RerankerRun,
    config: Config,
    kept: RunFolder,
    placement: Placement,
    tell: Callable[[str], None],
) -> WeightChoice:
    reranker = CrossEncoderReranker(str(kept.folder / MODEL), placement)
    return weigh(reranker, data, held_out_questions(data), run.data, config, kept, tell)


def _plan(run: RerankerRun, config: Config) -> dict[str, object]:
    """With what the held-out questions are searched by, for they choose the weight."""
    training = asdict(run.training) | {"max_tokens": run.max_tokens}
    return {
        **training_plan("train reranker", run.data, run.base, training),
        "weight": run.weight,
        **searched_by(config),
        "depth": config.rerank.depth,
    }


def _judged(choice: WeightChoice | None, weight: float) -> str:
    return f"weight {weight:g}, as given" if choice is None else f"{choice.said()}; they were held out"


def _trained(outcome: Outcome) -> str:
    return (
        f"best after epoch {outcome.best_epoch} of {outcome.epochs}; {outcome.seconds:.0f} s, "
        f"{outcome.tokens_a_second:.0f} tokens/s"
    )
