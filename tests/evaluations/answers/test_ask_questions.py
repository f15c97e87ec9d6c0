"""How many questions are asked at once, and that batches reach an engine as batches."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from ragkit import assemble
from ragkit.config import parse_config
from ragkit.corpus import Corpus
from ragkit.errors import DataError
from ragkit.eval.sets.questions import Question
from ragkit.evaluations.answers.ask_questions import ask_questions, batching_engine, for_each, num_at_once
from ragkit.records import ChatReply, ChatRequest, TextRecord
from ragkit.serve.engines.extractive_engine import ExtractiveEngine
from ragkit.serve.engines.gathering_engine import GatheringEngine

BM25 = {"embedder": {"name": "none"}, "retrieval": {"method": "bm25"}}
VLLM = parse_config({**BM25, "generation": {"engine": "vllm", "model": "some/model"}})


class Batches(ExtractiveEngine):
    """Notes how many requests come together, as vLLM would work on them."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def chat_batch(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        self.sizes.append(len(requests))
        return super().chat_batch(requests)


def test_at_most_so_many_work_at_the_same_time_and_all_are_worked_on():
    running, most, done = 0, 0, []

    async def work(item: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        done.append(item)

    asyncio.run(for_each(range(10), work, 3))
    assert (most, sorted(done)) == (3, list(range(10)))


def test_the_first_error_ends_it_and_is_raised_as_itself():
    async def work(item: int) -> None:
        await asyncio.sleep(0 if item == 1 else 60)
        raise DataError(f"item {item}")

    with pytest.raises(DataError, match="item 1"):
        asyncio.run(for_each(range(3), work, 3))


def test_questions_that_are_asked_at_once_reach_vllm_as_one_batch(tmp_path, monkeypatch):
    engine = Batches()
    monkeypatch.setattr(assemble, "make_engine", lambda config, embedder: engine)
    used = batching_engine(VLLM)
    assert isinstance(used, GatheringEngine)
    assert num_at_once(VLLM) >= 5
    answers: dict[str, str] = {}
    texts = [f"The crane number {number} lifts {number}0 tonnes." for number in range(5)]
    with Corpus.open(tmp_path / "corpus", config=VLLM, engine=used) as corpus:
        corpus.add(TextRecord(f"d{number}", text) for number, text in enumerate(texts))
        questions = [Question(f"q{n}", f"How much does the crane number {n} lift?") for n in range(5)]

        def answered(question, answer, seconds):
            answers[question.id] = answer.text

        ask_questions(corpus, questions, lambda _: None, 5, 0, answered, lambda *_: None)
    assert engine.sizes == [5]
    assert all(f"{number}0 tonnes" in answers[f"q{number}"] for number in range(5))


def test_other_engines_get_no_batches():
    config = parse_config(BM25)
    assert batching_engine(config) is None
    assert num_at_once(config) == 1
