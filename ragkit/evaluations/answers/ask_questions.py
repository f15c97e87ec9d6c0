"""Asking many questions through the real pipeline: some at a time, each answer handed over as it comes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from ragkit import assemble
from ragkit.config import Config
from ragkit.corpus import Corpus
from ragkit.errors import EngineError
from ragkit.eval.sets.questions import Question
from ragkit.protocols import Engine
from ragkit.records import Answer, AskRequest, Filter
from ragkit.serve.engines.gathering_engine import GatheringEngine

Item = TypeVar("Item")

# A server works on many requests at once, vLLM in process on a batch; other engines on one after the other.
_AT_ONCE = {"openai": 16, "vllm": 256}


def num_at_once(config: Config) -> int:
    """How many questions an engine is asked at the same time, where nobody says."""
    return _AT_ONCE.get(config.generation.engine, 1)


def batching_engine(config: Config) -> Engine | None:
    """vLLM in process, answering in batches what is asked at once; None for the other engines."""
    if config.generation.engine != "vllm":
        return None
    return GatheringEngine(assemble.make_engine(config, None))


def ask_questions(
    corpus: Corpus,
    questions: Sequence[Question],
    where: Callable[[Question], Filter | None],
    at_once: int,
    seed: int,
    answered: Callable[[Question, Answer, float], None],
    failed: Callable[[Question, EngineError], None],
) -> None:
    """Ask each question as a user would; the settings of generation hold. Models are loaded first, untimed.

    seed: for an engine that draws (temperature above 0). answered: gets the seconds from question to answer.

    Raises:
        ConfigError: the engine cannot answer at all with these settings.
    """
    corpus.load()
    answerer, sampling = corpus.answerer, corpus.default_sampling
    if sampling.temperature > 0:
        sampling = replace(sampling, seed=seed)

    async def ask(question: Question) -> None:
        started = time.perf_counter()
        try:
            answer = await answerer.ask(AskRequest(question.text, sampling=sampling, where=where(question)))
        except EngineError as error:
            failed(question, error)
        else:
            answered(question, answer, time.perf_counter() - started)

    asyncio.run(for_each(questions, ask, at_once))


async def for_each(items: Sequence[Item], work: Callable[[Item], Coroutine[Any, Any, None]], at_once: int) -> None:
    """Work on all items, so many at the same time; the first error ends it."""
    left: Iterator[Item] = iter(items)

    async def worker() -> None:
        for item in left:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(at_once, len(items))):
                group.create_task(worker())
    except ExceptionGroup as errors:
        # Whoever catches errors here knows ragkit's own, not groups of them.
        raise errors.exceptions[0] from None
