"""A small set of questions with passages, and an engine whose answers are known."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from ragkit.config import parse_config
from ragkit.eval.contexts.context_probe import ContextSweep
from ragkit.eval.contexts.context_report import ContextReport
from ragkit.evaluations.contexts.context_sweep import sweep_contexts
from ragkit.protocols import Engine
from ragkit.records import ChatMessage, ChatReply, ChatRequest, ImageLimits

CONFIG = {
    "embedder": {"name": "none"},
    "lexical": {"language": "none"},
    "retrieval": {"method": "bm25"},
    "generation": {"engine": "echo"},
}
BIRDS = ("heron", "crane", "stork", "egret", "ibis", "rail")


class PlaceEngine:
    """Reads only the source at one place of the prompt: its text is the answer.

    asked: prompts so far. batches: how many came together.
    """

    name = "folder/place-reader"
    image_limits: ImageLimits | None = None
    context_tokens = 400

    def __init__(self, place: int = 0, dies_after: int = 10**9) -> None:
        self.place, self.dies_after = place, dies_after
        self.asked: list[ChatRequest] = []
        self.batches: list[int] = []

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        return sum(len(message.content.split()) for message in messages)

    def chat_batch(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        self.batches.append(len(requests))
        return [self._reply(request) for request in requests]

    def _reply(self, request: ChatRequest) -> ChatReply:
        if len(self.asked) == self.dies_after:
            os.kill(os.getpid(), signal.SIGKILL)
        self.asked.append(request)
        source = request.sources[self.place]
        return ChatReply(f"{source.hit.passage.text} [{source.marker}]")


def write_set(folder: Path, num_questions: int = 6) -> Path:
    """Each question asks for its own bird's number; the gold passage stands third of six in the set.

    By BM25 the gold passage (question word twice) is the best, then the first distractor (once), then the others.
    """
    rows = []
    for i, bird in enumerate(BIRDS[:num_questions]):
        texts = [
            f"The {bird} flies over reed {i}.",
            f"Nothing grows on stone {i}.",
            f"A {bird} {bird} weighs {70 + i} ounces.",
            f"Rain fell on roof {i}.",
            f"Dust lies on shelf {i}.",
            f"Old mills {i} weigh {70 + i} tons.",
        ]
        ctxs = [{"title": "", "text": text, "isgold": place == 2} for place, text in enumerate(texts)]
        rows.append({"id": bird, "question": f"Which {bird}?", "answers": [f"{70 + i}"], "ctxs": ctxs})
    path = folder / "birds.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def sweep(folder: Path, engine: Engine | PlaceEngine, asked: ContextSweep, **more: object) -> ContextReport:
    config = parse_config({**CONFIG, **more})  # type: ignore[arg-type]
    data = folder / "birds.jsonl"
    data = data if data.exists() else write_set(folder)
    return sweep_contexts(data, config, asked, folder / "run", engine=engine)  # type: ignore[arg-type]


def accuracies(report: ContextReport) -> dict[str, float | None]:
    return {summary.cell.name: summary.accuracy for summary in report.cells}


def shown(request: ChatRequest) -> list[str]:
    return [source.hit.passage.text for source in request.sources]
