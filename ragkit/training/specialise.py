"""A corpus's embedder specialised to the corpus, without labels: the work behind `ragkit train encoder --corpus`.

Questions are written to its passages, filtered and given lists; the embedder is trained on them, judged on
questions held out, and taken into use where it is better.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragkit.config import Config
from ragkit.corpus import Corpus
from ragkit.embedder_switch import SwitchReport
from ragkit.errors import ConfigError, CorpusError
from ragkit.indexers import kept_model
from ragkit.indexers.models.model_files import model_folder
from ragkit.indexers.models.text_embedder import TextEmbedder, local_name, model_digest
from ragkit.retrievers.training.train_encoder import EncoderTraining
from ragkit.training.encoder_run import MODEL, EncoderReport, EncoderRun, run_encoder_training
from ragkit.training.make_teachers import make_teachers
from ragkit.training.mine_negatives import MiningPlan, mine_negatives
from ragkit.training.mining_report import MiningReport
from ragkit.training.passage_sources import MAX_PASSAGES, corpus_pool
from ragkit.training.question_plan import QuestionPlan
from ragkit.training.question_report import QuestionReport
from ragkit.training.write_questions import write_questions

if TYPE_CHECKING:
    from rich.console import RenderableType

# Below the folder of the run, which is itself a training folder.
ENCODER = "encoder"

Tell = Callable[[str], None]
Count = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class SpecialisePlan:
    """All steps. num_passages: at most so many of the corpus are used. accepts: False only reports."""

    questions: QuestionPlan
    mining: MiningPlan
    training: EncoderTraining
    num_passages: int = MAX_PASSAGES
    max_passage_tokens: int = 0
    accepts: bool = True


@dataclass(frozen=True, slots=True)
class SpecialiseReport:
    """What each step did. switched: None where the corpus keeps its embedder."""

    corpus: Path
    questions: QuestionReport
    mining: MiningReport
    encoder: EncoderReport
    switched: SwitchReport | None
    verdict: str

    def to_json(self) -> dict[str, Any]:
        return {
            "corpus": str(self.corpus),
            "questions": self.questions.to_json(),
            "negatives": self.mining.to_json(),
            "encoder": self.encoder.to_json(),
            "accepted": self.switched is not None,
            "switch": None if self.switched is None else asdict(self.switched),
            "verdict": self.verdict,
        }

    def table(self) -> RenderableType:
        from rich.console import Group

        return Group(self.questions.table(), self.mining.table(), self.encoder.table(), self.verdict)


def specialise(
    folder: Path, plan: SpecialisePlan, config: Config, out: Path, tell: Tell, count: Count
) -> SpecialiseReport:
    """Run all steps, or go on with those that a kill left undone.

    Args:
        folder: of the corpus. out: a training folder, which in the end has the model below encoder/.
        config: its engine writes the questions; what decides the corpus's contents is the corpus's own.

    Raises:
        CorpusError: there is none, or it has no vectors of texts that a model in a folder or on the hub made.
        DataError: it has no text, or too few questions are left to train on.
    """
    with Corpus.open(folder, config=config, create=False) as corpus:
        base = _base(corpus, out / ENCODER / MODEL)
        settings = corpus.config.model_copy(
            update={"embedder": corpus.config.embedder.model_copy(update={"name": base})}
        )
        pool = corpus_pool(corpus, plan.num_passages, plan.questions.seed)
        tell(f"writing questions to {len(pool.passages)} passages")
        questions = write_questions(pool, plan.questions, config, out, writing=count)
        # In a small corpus a list of twenty would be most of it.
        length = min(plan.mining.list_length, max(2, len(pool.passages) // 2))
        mining_plan = replace(plan.mining, list_length=length)
        tell(f"mining negatives of {questions.num_questions} questions")
        teachers = make_teachers(mining_plan.teachers, settings, out)
        mining = mine_negatives(out, mining_plan, teachers, settings, scoring=count)
        run = EncoderRun(out, base, plan.training, plan.max_passage_tokens)
        tell(f"training {base} on {mining.num_lists} questions")
        encoder = run_encoder_training(run, out / ENCODER, settings, tell)
        switched, verdict = _judged(corpus, encoder, plan.accepts, count)
    return SpecialiseReport(folder, questions, mining, encoder, switched, verdict)


def _base(corpus: Corpus, trained: Path) -> str:
    """The model that the corpus is embedded by; where that is the one trained here, what that was made from.

    So that a run that was killed right after the switch, or is called again, ends with the same report.
    """
    embedder = corpus.embedder
    if embedder is None:
        raise CorpusError(f"{corpus.path} has no vectors of texts, so that there is no embedder to train")
    if not isinstance(embedder, TextEmbedder):
        raise ConfigError(
            f"{corpus.path} is embedded by {type(embedder).__name__}, which is not a sentence-transformers model; "
            "train your model with your own tools, or make a corpus with one of these"
        )
    made = kept_model.trained(trained)
    if made is not None and model_digest(trained, "") == model_digest(model_folder(local_name(embedder.name)), ""):
        return made.base
    return embedder.name


def _judged(
    corpus: Corpus, encoder: EncoderReport, accepts: bool, count: Count
) -> tuple[SwitchReport | None, str]:
    """Take the new embedder into use where it is better."""
    change = encoder.change
    found = f"{change.difference:+.4f} [{change.low:+.4f}, {change.high:+.4f}] on {change.num_questions} questions"
    if not change.is_better:
        return None, f"The corpus keeps {encoder.base}: the trained one is not surely better, {found}."
    if not accepts:
        return None, (
            f"Nothing was changed. The trained one is better, {found}; to take it into use: "
            f"ragkit train accept {encoder.model} --corpus {corpus.path}"
        )
    switched = corpus.switch_embedder(encoder.model, progress=count)
    return switched, (
        f"The corpus is searched with the model trained from {encoder.base} now, {found}; the way back: "
        f"ragkit train back --corpus {corpus.path}"
    )
