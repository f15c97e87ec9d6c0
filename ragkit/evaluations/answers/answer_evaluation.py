"""Evaluation of answers: what `ragkit eval answers` runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from ragkit.config import Config
from ragkit.corpus import Corpus
from ragkit.errors import EngineError
from ragkit.eval.runs.answer_rows import row_of
from ragkit.eval.runs.run_folder import RunFolder
from ragkit.eval.sets.page_sets import PageScope
from ragkit.eval.sets.question_sets import read_question_set
from ragkit.eval.sets.questions import Question, choose_questions, fingerprint_questions
from ragkit.evaluations.answers.answer_corpus import AskedCorpus, Progress, open_asked_corpus
from ragkit.evaluations.answers.answer_run import COMMAND, report_of, write_failures
from ragkit.evaluations.answers.ask_questions import ask_questions, batching_engine, num_at_once
from ragkit.evaluations.run_plan import plan_of, session_facts
from ragkit.protocols import Engine
from ragkit.records import Answer


@dataclass(frozen=True, slots=True)
class AnswerPlan:
    """What is asked. limit, seed: so many questions drawn at random. at_once: 0 leaves it to the engine's kind."""

    data: Path
    split: str = "test"
    scope: PageScope = field(default_factory=PageScope)
    limit: int | None = None
    seed: int = 0
    at_once: int = 0


def evaluate_answers(
    plan: AnswerPlan,
    config: Config,
    out: Path,
    corpus: Path | None = None,
    *,
    engine: Engine | None = None,
    indexing: Progress | None = None,
    asking: Callable[[int, int], None] = lambda *_: None,
) -> None:
    """Ask the questions of a set, and keep each answer in the run folder `out`, begun now or gone on with.

    Args:
        corpus: to index the set's documents into, or of one's own; a set with documents has one in the cache.
        engine: in place of the configured one.
        asking: called with the number of questions that are done, and of all.

    Raises:
        DataError: the set is malformed, or the folder's run is of other data or settings.
    """
    asked = read_question_set(plan.data, plan.split, plan.scope)
    questions = choose_questions(asked.questions, plan.limit, plan.seed)
    with open_asked_corpus(asked, config, corpus, plan.scope, indexing) as opened:
        facts = plan_of(
            COMMAND, opened.corpus.config, opened.corpus, _data(plan, questions, opened), generates=True
        )
        session = {**session_facts(opened.corpus), "index_s": round(opened.index_s, 3)}
        session["data_folder"] = plan.data.resolve().name
        with RunFolder(out, facts, session) as kept:
            left = [question for question in questions if question.id not in kept.finished]
            if left:
                _ask(opened, left, kept, plan, engine, asking)
            if len(kept.finished) == len(questions):
                means = {name: mean.to_json() for name, mean in report_of(out).measures.items()}
                kept.complete({"measures": means})


def _ask(
    opened: AskedCorpus,
    questions: Sequence[Question],
    kept: RunFolder,
    plan: AnswerPlan,
    engine: Engine | None,
    asking: Callable[[int, int], None],
) -> None:
    failures: dict[str, str] = {}
    config = opened.corpus.config
    total = len(kept.finished) + len(questions)

    def answered(question: Question, answer: Answer, seconds: float) -> None:
        kept.record({question.id: row_of(question, answer, opened.place_of, seconds).to_json()})
        asking(len(kept.finished) + len(failures), total)

    def failed(question: Question, error: EngineError) -> None:
        failures[question.id] = str(error)
        asking(len(kept.finished) + len(failures), total)

    at_once = plan.at_once or num_at_once(config)
    try:
        with ExitStack() as stack:
            corpus, used = opened.corpus, engine or batching_engine(config)
            if used is not None:
                corpus = stack.enter_context(Corpus.open(corpus.path, config=config, engine=used, create=False))
            ask_questions(corpus, questions, opened.where, at_once, plan.seed, answered, failed)
    finally:
        write_failures(kept.folder, failures)


def _data(plan: AnswerPlan, questions: Sequence[Question], opened: AskedCorpus) -> dict[str, object]:
    return {
        "split": plan.split,
        "questions": len(questions),
        "fingerprint": fingerprint_questions(questions),
        "documents": opened.corpus.content_digest(),
        "within": plan.scope.within,
        "limit": plan.limit,
        "seed": plan.seed,
    }
