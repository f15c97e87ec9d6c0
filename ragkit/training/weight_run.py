"""`ragkit train rerank-weight`: how much a reranker counts beside the retriever, by known questions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragkit import __version__, assemble
from ragkit.config import Config
from ragkit.errors import ConfigError
from ragkit.eval.runs.run_folder import RunFolder
from ragkit.evaluations.run_plan import session_facts
from ragkit.retrievers.interpolation import store_weight
from ragkit.retrievers.training.encoder_batches import held_out_questions
from ragkit.retrievers.training.examples import read_training_set
from ragkit.training.reranker_weight import WeightChoice, searched_by, weigh
from ragkit.training.training_plan import model_facts, training_set_digest

if TYPE_CHECKING:
    from rich.table import Table

_SEED = 0


@dataclass(frozen=True, slots=True)
class WeightReport:
    """kept_in: the model's folder, where the weight lies now; None where the model has none."""

    reranker: str
    choice: WeightChoice
    kept_in: Path | None

    def to_json(self) -> dict[str, Any]:
        kept_in = None if self.kept_in is None else str(self.kept_in)
        return {"reranker": self.reranker, **self.choice.to_json(), "kept_in": kept_in}

    def table(self) -> Table:
        from rich.table import Table

        table = Table("known questions", "retriever", "reranked", title=self.reranker)
        for row in self.choice.rows():
            table.add_row(*row)
        weight = f"{self.choice.weight:g}"
        where = f"kept in {self.kept_in}" if self.kept_in else f"set rerank.weight = {weight}"
        table.caption = f"weight {weight}: {self.choice.said()}; {where}"
        return table


def run_weight_choice(
    data_folder: Path, out: Path, config: Config, *, every_question: bool, tell: Callable[[str], None]
) -> WeightReport:
    """Rerank with what [rerank] names, choose its weight, and keep it beside a model that is a folder.

    Args:
        data_folder: a training folder, whose questions know their passages.
        out: of the run; the same choice goes on there.
        every_question: not only those that training on this folder leaves out.

    Raises:
        ConfigError: no reranker is named, or it cannot be loaded.
        DataError: the training folder is malformed, none of its questions has a relevant passage, or `out` holds
            another run.
    """
    settings = config.rerank
    reranker = assemble.make_reranker(config, lambda: assemble.make_engine(config, None))
    if reranker is None:
        raise ConfigError('[rerank] kind is "none": name the reranker whose weight is to be chosen')
    named = f"{settings.kind} {settings.model or settings.url}".strip()
    data = read_training_set(data_folder)
    questions = list(data.questions) if every_question else held_out_questions(data)
    with RunFolder(out, _plan(data_folder, config, every_question), session_facts()) as kept:
        if kept.manifest.completed is None:
            choice = weigh(reranker, data, questions, config, kept, data_folder, _SEED, tell)
            kept.complete({"choice": asdict(choice)})
        facts = kept.manifest.completed
        assert facts is not None, "it was completed now or before"
    choice = WeightChoice(**facts["choice"])
    folder = Path(settings.model)
    kept_in = folder if settings.model and folder.is_dir() else None
    if kept_in is not None:
        store_weight(kept_in, choice.weight, {"held_out": asdict(choice)})
    return WeightReport(named, choice, kept_in)


def _plan(data: Path, config: Config, every_question: bool) -> dict[str, object]:
    settings = config.rerank
    return {
        "command": "train rerank-weight",
        "ragkit": __version__,
        "data": training_set_digest(data),
        "reranker": {"kind": settings.kind, "url": settings.url, **model_facts(settings.model)},
        "generation": config.generation.model_dump(mode="json") if settings.kind.startswith("llm-") else None,
        "every_question": every_question,
        **searched_by(config),
    }
