"""What ragkit costs between a client and the server of a model: the same prompts through it and past it."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from ragkit.assemble import make_engine
from ragkit.config import Config, parse_config
from ragkit.corpus import Corpus
from ragkit.errors import RagkitError
from ragkit.eval.speed.load_client import LoadPlan, LoadSeen
from ragkit.eval.speed.load_report import LoadFigure, LoadReport, percentile
from ragkit.eval.speed.timing import machine_facts
from ragkit.evaluations.speed.load_server import LoadScale, make_corpus, run_load, start_server
from ragkit.protocols import Engine
from ragkit.records import ChatDelta, ChatMessage, ChatReply, ChatRequest
from ragkit.serve.engines.chat_json import message_json

# Both ways take turns so often: a busy moment of the machine meets both.
_ROUNDS = 4
_METRICS_S = 10.0
_CACHE_HITS = re.compile(r"^vllm:prefix_cache_hits_total(?:\{.*\})? (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class UpstreamScale:
    """seconds: of all turns together. num_clients: that ask one question after another. num_tokens: of each
    answer, no more and no fewer.
    """

    seconds: float = 60.0
    num_clients: int = 4
    num_tokens: int = 64
    documents: int = 1000
    seed: int = 0


def measure_upstream(
    url: str, model: str, scale: UpstreamScale, tell: Callable[[str], None] = print
) -> LoadReport:
    """Ask the server at `url` directly, and through `ragkit serve` with the same prompts, in turns.

    Throughput is of clients that ask one question after another. When their first texts come says little: whether
    such clients ask together or apart from each other is left to chance. So that is looked at with questions that
    come at the same times both ways, half as many as are answered.

    Retrieval is as good as off: BM25 over a small corpus, without an embedder. The prompts are those that ragkit
    makes of each question; directly they are sent as they are. A server with a prefix cache answers whoever asks
    second faster: how many tokens it found there meanwhile, for anybody, is told where it is vLLM and says so.

    Args:
        url: of an OpenAI-compatible API that knows vLLM's field `ignore_eos`, so that answers are equally long.

    Raises:
        RagkitError: a server or the generator failed, or no answer came.
    """
    config = _config(url, model)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        corpus = LoadScale(documents=scale.documents, seed=scale.seed)
        questions = make_corpus(folder / "load", corpus, tell, config)
        prompts = prepared_prompts(folder / "load", config, questions)
        (folder / "load.toml").write_text(_toml(url, model), "utf-8")
        fields = {"max_tokens": scale.num_tokens, "temperature": 0.0, "ignore_eos": True}
        seconds = scale.seconds / (4 * _ROUNDS)
        past = LoadPlan(url.removesuffix("/v1"), model, questions, seconds, scale.num_clients, fields=fields)
        past = replace(past, conversations=prompts)
        with start_server(folder) as server:
            through = replace(past, address=server.address, model="load", conversations=())
            _warm_up(past, through, scale.seed, tell)
            cached = cached_tokens(url)
            asking = _in_turns(past, through, scale.seed, tell)
            rate = min(seen.per_s for seen in asking) / 2
            tell(f"both ways {rate:.3g} questions a second")
            timed = _in_turns(replace(past, rate=rate), replace(through, rate=rate), scale.seed, tell)
    figures = [*_throughput(*asking), *_first_text(*timed)]
    figures.append(LoadFigure("errors", sum(map(_errors, (*asking, *timed))), "", "= 0"))
    figures += _cache_figures(cached, cached_tokens(url))
    facts = {**machine_facts(), "model": model, "clients": scale.num_clients, "tokens": scale.num_tokens}
    facts |= {"questions": len(questions), "generator": "a process of its own on the same cores"}
    return LoadReport(tuple(figures), facts)


def prepared_prompts(
    corpus: Path, config: Config, questions: Sequence[str]
) -> tuple[tuple[dict[str, Any], ...], ...]:
    """The messages that ragkit sends for each question, as JSON of OpenAI's chat API."""
    prompts = []
    recorder = _Recorder(make_engine(config, None))
    with Corpus.open(corpus, config=config, engine=recorder, create=False) as opened:
        for question in questions:
            recorder.asked.clear()
            opened.ask(question)
            if len(recorder.asked) != 1:
                raise RagkitError(f"{question!r} made {len(recorder.asked)} prompts and not one")
            prompts.append(tuple(message_json(message) for message in recorder.asked[0].messages))
    return tuple(prompts)


def cached_tokens(url: str) -> float | None:
    """Tokens of prompts that vLLM has found in its prefix cache since it started; None where nothing says so."""
    try:
        with urlopen(f"{url.removesuffix('/v1')}/metrics", timeout=_METRICS_S) as reply:
            text = reply.read().decode("utf-8", "replace")
    except (OSError, HTTPException):
        # Of another server: it need have no such page.
        return None
    counts = _CACHE_HITS.findall(text)
    return sum(map(float, counts)) if counts else None


class _Recorder:
    """An engine that keeps what it is asked, and counts tokens as the one behind it does."""

    def __init__(self, behind: Engine) -> None:
        self.asked: list[ChatRequest] = []
        self._behind = behind
        self.name, self.image_limits = behind.name, behind.image_limits

    @property
    def context_tokens(self) -> int:
        return self._behind.context_tokens

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        return self._behind.count_tokens(messages)

    async def chat(self, request: ChatRequest) -> ChatReply:
        self.asked.append(request)
        return ChatReply("")

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        reply = await self.chat(request)
        yield ChatDelta(reply.text, reply.finish_reason, reply.usage)

    def chat_batch(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        self.asked += requests
        return [ChatReply("") for _ in requests]


def _config(url: str, model: str) -> Config:
    return parse_config(
        {
            "embedder": {"name": "none"},
            "retrieval": {"method": "bm25"},
            "generation": {"engine": "openai", "url": url, "model": model},
        }
    )


def _toml(url: str, model: str) -> str:
    # JSON's strings are TOML's.
    return f'[generation]\nengine = "openai"\nurl = {json.dumps(url)}\nmodel = {json.dumps(model)}\n'


def _warm_up(past: LoadPlan, through: LoadPlan, seed: int, tell: Callable[[str], None]) -> None:
    tell("both ways once, uncounted")
    for plan in (past, through):
        run_load(replace(plan, seconds=max(plan.seconds / 2, 1.0), seed=seed + 1000))


def _in_turns(
    past: LoadPlan, through: LoadPlan, seed: int, tell: Callable[[str], None]
) -> tuple[LoadSeen, LoadSeen]:
    """What was seen past ragkit and through it, of all turns."""
    direct, served = LoadSeen(), LoadSeen()
    for turn in range(_ROUNDS):
        tell(f"turn {turn + 1} of {_ROUNDS}")
        sides = [(past, direct), (through, served)]
        for plan, seen in sides if turn % 2 == 0 else reversed(sides):
            seen.add(run_load(replace(plan, seed=seed + turn)))
    for what, seen in (("directly", direct), ("through ragkit", served)):
        if not seen.latencies_s:
            raise RagkitError(f"no answer came {what}: statuses {seen.statuses}, {seen.errors[:3]}")
    return direct, served


def _throughput(direct: LoadSeen, served: LoadSeen) -> list[LoadFigure]:
    return [
        LoadFigure("answers directly", direct.per_s, "answers/s"),
        LoadFigure("answers through ragkit", served.per_s, "answers/s"),
        LoadFigure("through a direct one", served.per_s / direct.per_s, "", ">= 0.95"),
    ]


def _first_text(direct: LoadSeen, served: LoadSeen) -> list[LoadFigure]:
    added_ms = 1000 * (percentile(served.first_s, 0.5) - percentile(direct.first_s, 0.5))
    return [
        LoadFigure("first text p50 directly", 1000 * percentile(direct.first_s, 0.5), "ms"),
        LoadFigure("first text p50 through ragkit", 1000 * percentile(served.first_s, 0.5), "ms"),
        LoadFigure("added to the first text, p50", added_ms, "ms", "<= 20"),
        LoadFigure("whole answer p50 directly", 1000 * percentile(direct.latencies_s, 0.5), "ms"),
        LoadFigure("whole answer p50 through ragkit", 1000 * percentile(served.latencies_s, 0.5), "ms"),
        LoadFigure("timed answers, each way", min(len(direct.first_s), len(served.first_s))),
    ]


def _cache_figures(before: float | None, behind: float | None) -> list[LoadFigure]:
    if before is None or behind is None:
        return []
    return [LoadFigure("prompt tokens found in the prefix cache", behind - before, "", "= 0")]


def _errors(seen: LoadSeen) -> int:
    return sum(seen.statuses.values()) - len(seen.latencies_s)
