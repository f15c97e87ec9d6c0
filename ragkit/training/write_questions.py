"""A language model writes questions to passages: the work behind `ragkit train questions`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ragkit import assemble
from ragkit.config import Config
from ragkit.errors import ConfigError, ContextLengthError, DataError, EngineError, RequestRefusedError
from ragkit.eval.runs.run_folder import MANIFEST, RunFolder
from ragkit.evaluations.run_plan import plan_of_engine, session_facts
from ragkit.protocols import Engine
from ragkit.records import ChatReply, ChatRequest
from ragkit.retrievers.training.examples import (
    LISTS,
    PASSAGES,
    QUESTIONS,
    TrainingPassage,
    TrainingQuestion,
    write_rows,
)
from ragkit.retrievers.training.extracted_questions import ExtractedKind, QuestionExtractor
from ragkit.retrievers.training.question_prompts import (
    MAX_TOKENS,
    TEMPERATURE,
    QuestionKind,
    Verdict,
    prompts_fingerprint,
    question_request,
)
from ragkit.training.passage_sources import PassagePool
from ragkit.training.question_plan import QuestionPlan, QuestionTask, tasks_of
from ragkit.training.question_report import QuestionReport, question_report, read_row

COMMAND = "train questions"
# Below the training folder: the run's plan, and every reply as it was written.
REPLIES = "replies"
# So much is lost by a kill at most; engines that work on many requests at once get many.
_AT_ONCE = {"vllm": 1024, "openai": 64}
_ONE_AFTER_THE_OTHER = 4
_NO_WRITERS = ("extractive", "echo")
_SMALL_MODEL = "smollm2"
# Of 16 replies at 0.8 five were kept and led back to their passage, of 42 at 0.3 it was 22 (scifact, 135 million
# parameters): few, but at 0.8 others leave the subject altogether.
_SMALL_MODEL_TEMPERATURE = 0.3


def write_questions(
    pool: PassagePool,
    plan: QuestionPlan,
    config: Config,
    out: Path,
    *,
    engine: Engine | None = None,
    writing: Callable[[int, int], None] = lambda *_: None,
) -> QuestionReport:
    """Write passages.jsonl and questions.jsonl of a training folder; a run that was killed goes on where it was.

    Replies are kept as they come; questions are read from them once all are there.

    Args:
        engine: in place of the configured one; without either it is "smollm2".
        writing: called with the number of replies that are there, and of all.

    Raises:
        ConfigError: the configured engine writes no texts of its own.
        DataError: the folder holds other passages or questions, or a run with another plan.
        EngineError: the engine failed; the same call goes on.
    """
    settings = _with_writer(config) if engine is None and _asks(plan) else config
    _refuse_other_files(out)
    tasks = list(tasks_of(plan, pool.passages))
    facts = _facts(pool, plan, settings, engine)
    with RunFolder(out / REPLIES, facts, session_facts()) as kept:
        if not (out / PASSAGES).exists():
            write_rows(out / PASSAGES, pool.passages)
        left = [task for task in tasks if task.id not in kept.finished]
        extracted = [task for task in left if isinstance(task.kind, ExtractedKind)]
        kept.record(_extracted_rows(extracted, pool.passages))
        asked = [task for task in left if isinstance(task.kind, QuestionKind)]
        if asked:
            used = engine or assemble.make_engine(settings, None)
            asker = _Asker(used, kept, plan.seed, _temperature(settings))
            at_once = _AT_ONCE.get(settings.generation.engine, _ONE_AFTER_THE_OTHER)
            for start in range(0, len(asked), at_once):
                asker.ask(asked[start : start + at_once])
                writing(len(kept.finished), len(tasks))
        report = question_report(pool, plan.kinds, kept.finished)
        if left or kept.manifest.completed is None or not (out / QUESTIONS).exists():
            write_rows(out / QUESTIONS, _questions(tasks, kept.finished))
            kept.complete(report.to_json())
        return report


class _Asker:
    """Asks in batches. A request that the engine refuses by itself fails alone, and is not asked again."""

    def __init__(self, engine: Engine, kept: RunFolder, seed: int, temperature: float) -> None:
        self._engine = engine
        self._kept = kept
        self._seed = seed
        self._temperature = temperature

    def ask(self, tasks: Sequence[QuestionTask]) -> None:
        requests = [
            question_request(QuestionKind(task.kind), task.passage, self._seed, self._temperature)
            for task in tasks
        ]
        started = time.perf_counter()
        outcomes = self._outcomes(requests)
        refusals = [outcome for outcome in outcomes if isinstance(outcome, EngineError)]
        if len(refusals) == len(tasks) and not any("reply" in row for row in self._kept.finished.values()):
            # Not one reply so far: something else than the passages is wrong.
            raise refusals[0]
        seconds = (time.perf_counter() - started) / len(tasks)
        rows = {task.id: _row(outcome, seconds) for task, outcome in zip(tasks, outcomes, strict=True)}
        self._kept.record(rows)

    def _outcomes(self, requests: Sequence[ChatRequest]) -> list[ChatReply | EngineError]:
        try:
            return list(self._engine.chat_batch(requests))
        except (ContextLengthError, RequestRefusedError) as error:
            if len(requests) == 1:
                return [error]
            middle = len(requests) // 2
            return self._outcomes(requests[:middle]) + self._outcomes(requests[middle:])


def _row(outcome: ChatReply | EngineError, seconds: float) -> dict[str, object]:
    if isinstance(outcome, EngineError):
        return {"refused": str(outcome), "seconds": seconds}
    return {
        "reply": outcome.text,
        "finish_reason": outcome.finish_reason,
        "prompt_tokens": outcome.usage.prompt_tokens,
        "completion_tokens": outcome.usage.completion_tokens,
        "seconds": seconds,
    }


def _extracted_rows(
    tasks: Sequence[QuestionTask], passages: Sequence[TrainingPassage]
) -> dict[str, dict[str, object]]:
    """All at once: it is a matter of seconds."""
    if not tasks:
        return {}
    extractor = QuestionExtractor(passages)
    return {task.id: {"extracted": extractor.extract(ExtractedKind(task.kind), task.passage)} for task in tasks}


def _questions(tasks: Iterable[QuestionTask], rows: Mapping[str, Mapping[str, Any]]) -> Iterator[TrainingQuestion]:
    for task in tasks:
        written = read_row(task.kind, rows[task.id])
        if written is not None and written.verdict is Verdict.kept:
            yield TrainingQuestion(task.id, written.text, task.kind, (task.passage.id,))


def _with_writer(config: Config) -> Config:
    generation = config.generation
    if generation.engine not in _NO_WRITERS:
        return config
    if "engine" in generation.model_fields_set:
        raise ConfigError(
            f"generation.engine = {generation.engine!r} writes no questions; set it to vllm, openai, transformers "
            "or smollm2"
        )
    writer = generation.model_copy(update={"engine": _SMALL_MODEL})
    return config.model_copy(update={"generation": writer})


def _temperature(config: Config) -> float:
    """The configuration's where it names one: its default is made for answers."""
    generation = config.generation
    if "temperature" in generation.model_fields_set:
        return generation.temperature
    return _SMALL_MODEL_TEMPERATURE if generation.engine == _SMALL_MODEL else TEMPERATURE


def _asks(plan: QuestionPlan) -> bool:
    return any(isinstance(kind, QuestionKind) for kind in plan.kinds)


def _facts(pool: PassagePool, plan: QuestionPlan, settings: Config, engine: Engine | None) -> dict[str, object]:
    """What decides the questions; of the settings only the model and the temperature, where a model writes."""
    data: dict[str, object] = {
        "passages": pool.fingerprint(),
        "kinds": list(plan.kinds),
        "per_kind": plan.per_kind,
        "seed": plan.seed,
    }
    if _asks(plan):
        data |= {"temperature": _temperature(settings), "max_tokens": MAX_TOKENS, "prompts": prompts_fingerprint()}
    facts = plan_of_engine(COMMAND, settings, data)
    del facts["config"]
    if not _asks(plan):
        facts["models"] = {}
    elif engine is not None:
        facts["models"] = {"generator": engine.name}
    return facts


def _refuse_other_files(out: Path) -> None:
    there = [name for name in (PASSAGES, QUESTIONS, LISTS) if (out / name).exists()]
    if there and not (out / REPLIES / MANIFEST).exists():
        raise DataError(f"{out} holds a {there[0]} that is not of this command; name an empty or a new folder")
