"""`ragkit train encoder` on a training folder: train, judge on held-out questions, keep model and record."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragkit.assemble import make_text_embedder
from ragkit.config import Config, EmbedderConfig, PageEmbedderConfig
from ragkit.devices import choose_placement
from ragkit.eval.runs.run_folder import RunFolder
from ragkit.evaluations.run_plan import session_facts
from ragkit.files import atomic_write
from ragkit.protocols import Embedder
from ragkit.retrievers.training.checkpoint import drop_checkpoints
from ragkit.retrievers.training.encoder_batches import held_out_questions
from ragkit.retrievers.training.examples import TrainingSet, read_training_set
from ragkit.retrievers.training.student import Student
from ragkit.retrievers.training.train_encoder import EncoderTraining, train_encoder
from ragkit.retrievers.training.training_log import FILE as LOG
from ragkit.retrievers.training.training_loop import Outcome
from ragkit.training.curves import CURVES, save_curves
from ragkit.training.held_out import MEASURE, HeldOutChange, held_out_change
from ragkit.training.training_plan import training_plan

if TYPE_CHECKING:
    from rich.table import Table

MODEL, RECORD = "model", "train.json"


@dataclass(frozen=True, slots=True)
class EncoderRun:
    """What to train on what. base: hub name or folder. max_passage_tokens: to cut passages to; 0: none."""

    data: Path
    base: str
    training: EncoderTraining
    max_passage_tokens: int = 0


@dataclass(frozen=True, slots=True)
class EncoderReport:
    """model: the folder of the trained embedder."""

    model: Path
    base: str
    outcome: Outcome
    change: HeldOutChange

    def to_json(self) -> dict[str, Any]:
        return {
            "model": str(self.model),
            "base": self.base,
            "training": asdict(self.outcome),
            "held_out": self.change.to_json(),
        }

    def table(self) -> Table:
        from rich.table import Table

        outcome, change = self.outcome, self.change
        table = Table("", "before", "after", title=f"{self.base}, trained on {outcome.num_train} questions")
        table.add_row("held-out loss", f"{outcome.untrained:.4f}", f"{outcome.best:.4f}")
        table.add_row(f"held-out {MEASURE}", f"{change.base:.4f}", f"{change.trained:.4f}")
        table.caption = (
            f"{change.difference:+.4f} [{change.low:+.4f}, {change.high:+.4f}], p {change.p:.4f}, on "
            f"{change.num_questions} held-out questions over {change.num_passages} passages; best after epoch "
            f"{outcome.best_epoch} of {outcome.epochs}; {outcome.seconds:.0f} s, "
            f"{outcome.tokens_a_second:.0f} tokens/s; {self.model}"
        )
        return table


def run_encoder_training(
    run: EncoderRun, out: Path, config: Config, tell: Callable[[str], None] = lambda _: None
) -> EncoderReport:
    """Train into `out`, or go on there, or show what came out there.

    Raises:
        ConfigError: there is no such model.
        DataError: the training folder is malformed, or `out` holds the run of another plan.
    """
    data = read_training_set(run.data)
    placement = choose_placement(config.embedder.device, config.embedder.dtype)
    prompts = _table(data, config)
    plan = _plan(run, prompts)
    with RunFolder(out, plan, session_facts()) as kept:
        if kept.manifest.completed is not None:
            drop_checkpoints(out)
            return _report(run, out, kept.manifest.completed)
        student = Student(
            run.base,
            placement,
            max_passage_tokens=run.max_passage_tokens,
            query_prompt=prompts.query_prompt,
            passage_prompt=prompts.passage_prompt,
            pictures=run.data,
            trust_remote_code=config.embedder.trust_remote_code,
        )
        outcome = train_encoder(data, student, run.training, out, tell)
        student.save(out / MODEL)
        save_curves(out / LOG, out / CURVES)
        tell(f"searching {len(data.passages)} passages with the embedder before and after")
        change = _change(data, run, out, config)
        facts = {"outcome": asdict(outcome), "held_out": asdict(change)}
        _write_record(run, plan, out, facts)
        kept.complete(facts)
        drop_checkpoints(out)
    return EncoderReport(out / MODEL, run.base, outcome, change)


def _change(data: TrainingSet, run: EncoderRun, out: Path, config: Config) -> HeldOutChange:
    base, trained = (make_encoder(name, config, data) for name in (run.base, str(out / MODEL)))
    return held_out_change(data, held_out_questions(data), base, trained, run.data, run.training.seed)


def make_encoder(name: str, config: Config, data: TrainingSet) -> Embedder:
    """An embedder of what the training set holds: texts, or pictures."""
    table = _table(data, config).model_copy(update={"name": name})
    if isinstance(table, PageEmbedderConfig):
        from ragkit.indexers.models.page_embedders import make_page_embedder

        return make_page_embedder(table)
    return make_text_embedder(table)


def _table(data: TrainingSet, config: Config) -> EmbedderConfig | PageEmbedderConfig:
    """The settings of what embeds this kind of passages."""
    return config.page_embedder if any(one.image for one in data.passages.values()) else config.embedder


def _plan(run: EncoderRun, table: EmbedderConfig | PageEmbedderConfig) -> dict[str, object]:
    """How much is in memory at a time decides nothing: a run that had too little may go on with less."""
    training = {name: value for name, value in asdict(run.training).items() if name != "piece_tokens"}
    training |= {"max_passage_tokens": run.max_passage_tokens}
    prompts = [table.query_prompt, table.passage_prompt]
    return {**training_plan("train encoder", run.data, run.base, training), "prompts": prompts}


def _write_record(run: EncoderRun, plan: dict[str, object], out: Path, facts: dict[str, Any]) -> None:
    """Beside the weights, so that whoever has the model knows what it was made from."""
    record = {**plan, **facts, "data_folder": run.data.resolve().name}
    with atomic_write(out / MODEL / RECORD) as file:
        file.write(json.dumps(record, indent=1, ensure_ascii=False).encode() + b"\n")


def _report(run: EncoderRun, out: Path, completed: dict[str, Any]) -> EncoderReport:
    outcome, change = Outcome(**completed["outcome"]), HeldOutChange(**completed["held_out"])
    return EncoderReport(out / MODEL, run.base, outcome, change)
