"""`ragkit train rerank-weight`: how much a reranker counts beside the retriever, by known questions."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragkit import __version__, assemble
from ragkit.config import Config
from ragkit.errors import ConfigError
from ragkit.eval.runs.run_folder import RunFolder
from ragkit.evaluations.run_plan import session_facts
from ragkit.protocols import Reranker
from ragkit.retrievers.interpolation import store_weight, stored_weight
from ragkit.retrievers.remote_reranker import RemoteReranker, shown_url
from ragkit.retrievers.training.encoder_batches import held_out_questions
from ragkit.retrievers.training.examples import read_training_set
from ragkit.training.reranker_weight import WeightChoice, weigh
from ragkit.training.training_plan import reranked_by, searched_by, training_set_digest

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, slots=True)
class WeightReport:
    """model: kind and name of the reranker. asked: which questions.

    kept_in: the model's folder, where the weight lies; None where it has none.
    in_force: `rerank.weight` of the settings, which goes before what lies there.
    """

    model: str
    asked: str
    choice: WeightChoice
    kept_in: Path | None
    in_force: float | None

    def to_json(self) -> dict[str, Any]:
        kept_in = None if self.kept_in is None else str(self.kept_in)
        return {"model": self.model, "asked": self.asked, **self.choice.to_json(), "kept_in": kept_in}

    def table(self) -> Table:
        from rich.table import Table

        table = Table(self.asked, "retriever", "reranked", title=self.model)
        for row in self.choice.rows():
            table.add_row(*row)
        table.caption = f"weight {self.choice.weight:g}: {self.choice.said()}; {self._where()}"
        return table

    def _where(self) -> str:
        own = f"rerank.weight = {self.choice.weight:g}"
        if self.in_force is not None:
            return f"the settings say rerank.weight = {self.in_force:g}, which goes before it"
        if self.kept_in is None:
            return f"set {own}"
        there = stored_weight(self.kept_in)
        if there != self.choice.weight:
            return f"{self.kept_in} holds {there:g} by now; set {own} to use this one"
        return f"kept in {self.kept_in}"


def run_weight_choice(
    data_folder: Path, out: Path, config: Config, *, every_question: bool, tell: Callable[[str], None]
) -> WeightReport:
    """Rerank with what [rerank] names, choose its weight, and keep it beside a model that is a folder.

    Args:
        data_folder: a training folder, whose questions know their passages; of every question without lists too.
        out: of the run; the same choice goes on there, and a finished one is shown.
        every_question: not only those that training on this folder leaves out.

    Raises:
        ConfigError: no reranker is named, or it cannot be loaded.
        DataError: the training folder is malformed, none of its questions has a relevant passage, or `out` holds
            another run.
    """
    settings = config.rerank
    # Before the plan, which names its weights: a model of the hub may only be fetched now.
    reranker = assemble.make_reranker(config, lambda: assemble.make_engine(config, None))
    if reranker is None:
        raise ConfigError('[rerank] kind is "none": name the reranker whose weight is to be chosen')
    folder = assemble.weight_folder(settings)
    plan = _plan(data_folder, config, every_question)
    with _closed(reranker), RunFolder(out, plan, session_facts()) as kept:
        if kept.manifest.completed is None:
            data = read_training_set(data_folder, with_lists=not every_question)
            questions = list(data.questions) if every_question else held_out_questions(data)
            choice = weigh(reranker, data, questions, data_folder, config, kept, tell)
            if folder is not None:
                store_weight(folder, choice.weight, {"choice": asdict(choice), "every_question": every_question})
            kept.complete({"choice": asdict(choice)})
        facts = kept.manifest.completed
        assert facts is not None, "it was completed now or before"
    named = f"{settings.kind} {settings.model or shown_url(settings.url)}".strip()
    asked = "all questions" if every_question else "held out"
    return WeightReport(named, asked, WeightChoice(**facts["choice"]), folder, settings.weight)


def _closed(reranker: Reranker) -> AbstractContextManager[object]:
    """In the end; those of servers hold connections."""
    return closing(reranker) if isinstance(reranker, RemoteReranker) else nullcontext()


def _plan(data: Path, config: Config, every_question: bool) -> dict[str, object]:
    return {
        "command": "train rerank-weight",
        "ragkit": __version__,
        "data": training_set_digest(data, with_lists=not every_question),
        "reranker": reranked_by(config),
        "depth": config.rerank.depth,
        "every_question": every_question,
        **searched_by(config),
    }
