"""Prompts of a context sweep, and the engine's answers to them, question by question and cell by cell."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ragkit.config import GenerationConfig
from ragkit.errors import ContextLengthError
from ragkit.eval.contexts.context_outcomes import Outcome, Skip, score_answer
from ragkit.eval.contexts.context_probe import Cell, ContextSweep
from ragkit.eval.measures.answer_metrics import without_citation_marks
from ragkit.eval.runs.run_folder import RunFolder
from ragkit.eval.sets.context_sets import ContextPassage, ContextQuestion
from ragkit.evaluations.contexts.context_pool import ContextPool
from ragkit.protocols import Engine
from ragkit.records import ChatReply, ChatRequest, Hit, Sampling
from ragkit.serve.prompting.evidence_style import EVIDENCE_RULES
from ragkit.serve.prompting.packing import build_request
from ragkit.serve.prompting.prompts import RULES, Layout
from ragkit.serve.reply_reader import ReplyReader

# Requests that an engine which answers several at once gets together: what a kill may cost.
_BATCH = {"vllm": 128, "openai": 16}
_UNFIT: dict[bool, Skip] = {True: "more gold passages than k", False: "too few passages without an answer"}


def row_key(question: ContextQuestion, cell: Cell) -> str:
    """What the run's folder calls the question's row in a cell."""
    return f"{question.id} | {cell.name}"


@dataclass(frozen=True, slots=True)
class _Task:
    """A question in a cell. request: None where `skipped` says why there is none."""

    key: str
    question: ContextQuestion
    request: ChatRequest | None = None
    gold_at: tuple[int, ...] = ()
    skipped: Skip = ""


@dataclass(frozen=True, slots=True)
class _Answer:
    text: str
    num_tokens: int


class ContextAsker:
    """Asks what the run has not finished, and records it.

    Prompts hold all of a cell's passages, whole; a question whose prompt does not fit into the engine's context is
    not asked, and its row says so. At temperature 0 equal prompts are asked once.

    Args:
        tell: called with the number of rows that are there, and of all.
    """

    def __init__(
        self,
        settings: GenerationConfig,
        engine: Engine,
        pool: ContextPool,
        run: RunFolder,
        tell: Callable[[int, int], None],
    ) -> None:
        self._engine, self._pool, self._run, self._tell = engine, pool, run, tell
        self._style = settings.style
        self._layout = Layout(EVIDENCE_RULES if settings.style == "evidence" else RULES)
        self._sampling = Sampling(settings.max_tokens, settings.temperature)
        self._size = _BATCH.get(settings.engine, 1)
        rows = map(Outcome.from_row, run.finished.values())
        self._known = {one.prompt: _Answer(one.answer, one.num_tokens) for one in rows if not one.skipped}

    def ask_all(self, questions: Sequence[ContextQuestion], sweep: ContextSweep) -> None:
        """Question by question, so that an unfinished run has whole questions."""
        total = len(questions) * len(list(sweep.cells()))
        batch: list[_Task] = []
        for question in questions:
            for task in self._tasks(question, sweep):
                batch.append(task)
                if len(batch) >= self._size:
                    self._finish(batch)
                    batch = []
                    self._tell(len(self._run.finished), total)
        self._finish(batch)
        self._tell(len(self._run.finished), total)

    def _tasks(self, question: ContextQuestion, sweep: ContextSweep) -> Iterator[_Task]:
        shown: tuple[str, int] | None = None
        passages: tuple[ContextPassage, ...] = ()
        hits: list[Hit] = []
        for cell in sweep.cells():
            if row_key(question, cell) in self._run.finished:
                continue
            if shown != (cell.negatives, cell.k):
                shown = cell.negatives, cell.k
                passages = self._pool.probe(question, cell.negatives, cell.k)
                hits = self._pool.ranked(question, passages) if len(passages) == cell.k else []
            yield self._task(question, cell, passages, hits)

    def _task(
        self, question: ContextQuestion, cell: Cell, passages: Sequence[ContextPassage], hits: Sequence[Hit]
    ) -> _Task:
        key = row_key(question, cell)
        if len(passages) != cell.k:
            return _Task(key, question, skipped=_UNFIT[len(passages) > cell.k])
        arranged = self._pool.arranged(question, hits, cell)
        request = self._request(question, arranged)
        if request is None:
            return _Task(key, question, skipped="longer than the context")
        golds = {passage.name for passage in passages if passage.role == "gold"}
        places = (place for place, hit in enumerate(arranged, 1) if hit.passage.document in golds)
        return _Task(key, question, request, tuple(places))

    def _request(self, question: ContextQuestion, arranged: Sequence[Hit]) -> ChatRequest | None:
        """None where a passage would be cut or left out."""
        try:
            prompt = build_request(
                question.question, arranged, self._engine, sampling=self._sampling, layout=self._layout
            )
        except ContextLengthError:
            return None
        return None if prompt.notes or prompt.dropped else prompt.request

    def _finish(self, tasks: Sequence[_Task]) -> None:
        waiting: dict[str, ChatRequest] = {}
        names = {task.key: self._name(task) for task in tasks}
        for task in tasks:
            if task.request is not None and names[task.key] not in self._known:
                waiting[names[task.key]] = task.request
        if waiting:
            replies = self._engine.chat_batch(list(waiting.values()))
            read = map(self._read, waiting.values(), replies)
            self._known.update(zip(waiting, read, strict=True))
        self._run.record({task.key: self._outcome(task, names[task.key]).to_row() for task in tasks})

    def _name(self, task: _Task) -> str:
        """Of the prompt: what is drawn at a temperature is drawn for each cell anew."""
        if task.request is None:
            return ""
        own = task.key if self._sampling.temperature else ""
        return hashlib.sha256(f"{own}{task.request.messages!r}".encode()).hexdigest()[:16]

    def _read(self, request: ChatRequest, reply: ChatReply) -> _Answer:
        """As a served answer is read: without the parts before it, and without marks."""
        reader = ReplyReader(request.sources, self._style)
        reader.push(reply.text)
        reader.finish()
        tokens = reply.usage.prompt_tokens or self._engine.count_tokens(request.messages)
        return _Answer(without_citation_marks(reader.text), tokens)

    def _outcome(self, task: _Task, name: str) -> Outcome:
        if task.request is None:
            return Outcome(skipped=task.skipped)
        answer = self._known[name]
        return score_answer(task.question, answer.text, answer.num_tokens, name, task.gold_at)
