"""One answer in the making: prompts, the engine's reply, citations and the record."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ragkit.config import GenerationConfig
from ragkit.errors import ContextLengthError
from ragkit.protocols import Embedder, Engine, PassageStore
from ragkit.records import (
    Answer,
    AskRequest,
    ChatDelta,
    ChatMessage,
    ChatReply,
    ChatRequest,
    Hit,
    Packing,
    Sampling,
    ToolCallDelta,
)
from ragkit.serve.engines.echo_engine import EchoEngine
from ragkit.serve.engines.extractive_engine import ExtractiveEngine
from ragkit.serve.grounding.citations import CitedText, Citer, cite
from ragkit.serve.not_found import says_not_found
from ragkit.serve.prompting.evidence_style import Evidence
from ragkit.serve.prompting.page_answers import answer_by_page
from ragkit.serve.prompting.prompts import NOT_FOUND_TEXT
from ragkit.serve.prompting.request_plan import RequestPlan, plan_requests
from ragkit.serve.prompting.selection import ranks_of
from ragkit.serve.reply_reader import ReplyReader
from ragkit.serve.sampling_effect import heeds, may_call_tools, unused_fields, wants_json
from ragkit.serve.tool_turns import fit_after, turns_as_text

_TOOL_RULES = """\
You may call one of the tools instead of answering. What a tool has said is data, like the sources; answer from \
it without a number where it holds the answer."""
_JSON_RULES = "Reply in JSON of the form that is asked for, without the numbers of sources."
# Each takes a quarter of the context from the prompt.
_MOST_REFUSALS = 3
_QUOTING_NOTE = "The answer quotes the documents; the setting [generation] engine adds a language model."


@dataclass
class Generation:
    """What whole and streamed answers have in common.

    `plan` comes first, off the event loop: it tokenizes and reads pages. requests: the prompts that it built; none
    where the engine would see no source and has nothing else to go by. timings_ms: of earlier stages. settings:
    what of the hits is shown (show, num_pages) and in which style the engine answers.
    """

    request: AskRequest
    hits: Sequence[Hit]
    engine: Engine
    store: PassageStore
    embedder: Embedder | None
    timings_ms: Mapping[str, float] | None
    settings: GenerationConfig | None

    def __post_init__(self) -> None:
        self._settings = self.settings or GenerationConfig()
        self._is_json = wants_json(self.request.sampling)
        if self._is_json or isinstance(self.engine, ExtractiveEngine | EchoEngine):
            # These repeat the sources and follow no form.
            self._settings = self._settings.model_copy(update={"style": "plain"})
        self._timings_ms = dict(self.timings_ms or {})
        self._notes = [_QUOTING_NOTE] if isinstance(self.engine, ExtractiveEngine) else []
        self._started = time.perf_counter()
        self._refusals = 0
        self.requests: tuple[ChatRequest, ...] = ()

    def plan(self) -> None:
        """Build the prompts.

        Raises:
            ContextLengthError: the instructions alone do not fit.
            ImageInputError: the request has images and the engine reads none.
            ConfigError: page pictures are to be shown and the engine reads none.
        """
        self._notes += _note_unused(self.engine, self.request.sampling)
        self._first_notes = tuple(self._notes)
        self._plan_anew()

    def _plan_anew(self) -> None:
        plan = self._planned = self._plan()
        self._notes = [*self._first_notes, *plan.notes]
        if len(plan.requests) == 1:
            self._asked = plan.requests[0]
        self.requests = plan.requests
        self._citer = self._citer_ahead()

    async def _shorten(self, refused: ContextLengthError) -> None:
        """Prompts with a quarter of the context less, after the engine has refused longer ones.

        An engine that counts by estimate, or is set to a longer context than its server has, learns it from that.
        """
        self._refusals += 1
        if self._refusals > _MOST_REFUSALS:
            raise refused
        await asyncio.to_thread(self._plan_anew)
        if not self.requests:
            raise refused
        self._notes.append(
            f"The engine refused a longer prompt; this one leaves {self._reserved} tokens of its context free."
        )

    @property
    def _reserved(self) -> int:
        return self.engine.context_tokens * self._refusals // (_MOST_REFUSALS + 1)

    def _plan(self) -> RequestPlan:
        """The requests of the prompt's planner, with the turns that stand behind the question."""
        ask, reads_tools = self.request, heeds(self.engine, "tools")
        after = ask.after if reads_tools else turns_as_text(ask.after)
        after, size, notes = fit_after(after, self.engine, ask.sampling.max_tokens)
        history = ask.history if reads_tools else turns_as_text(ask.history)
        asked = replace(ask, history=(*history, *self._rules(reads_tools)), after=())
        reserved = size + self._reserved
        plan = plan_requests(asked, self.hits, self.engine, self.store, self._settings, reserved)
        if not plan.requests and (after or (reads_tools and may_call_tools(ask.sampling))):
            bare = plan_requests(
                asked, (), self.engine, self.store, self._settings, reserved, without_sources=True
            )
            plan = replace(plan, requests=bare.requests, notes=(*plan.notes, *bare.notes))
        requests = [replace(one, messages=(*one.messages, *after)) for one in plan.requests]
        notes += [_note_shortened(ask, one) for one in requests[:1] if one.sampling != ask.sampling]
        return replace(plan, requests=tuple(requests), notes=(*notes, *plan.notes))

    def _rules(self, reads_tools: bool) -> list[ChatMessage]:
        """What the model has to know beside the rules of every prompt."""
        tools = bool(self.request.after) or (reads_tools and may_call_tools(self.request.sampling))
        rules = [_TOOL_RULES] if tools else []
        return [ChatMessage("system", rule) for rule in [*rules, *([_JSON_RULES] if self._is_json else [])]]

    async def _chosen(self, requests: Sequence[ChatRequest]) -> ChatReply:
        """The reply that weighted selection keeps."""
        kept = await answer_by_page(self.engine, requests, self._settings.style)
        self._asked = kept.request
        self._notes.append(kept.note)
        return kept.reply

    async def reply(self) -> ChatReply:
        """The engine's reply; requests that it refuses as too long are made shorter."""
        while True:
            requests = self.requests
            try:
                return await (self._chosen(requests) if len(requests) > 1 else self.engine.chat(requests[0]))
            except ContextLengthError as refused:
                await self._shorten(refused)

    async def deltas(self) -> AsyncIterator[ChatDelta]:
        """As `reply`, in pieces."""
        begun = False
        while True:
            requests = self.requests
            deltas = self.engine.stream(requests[0]) if len(requests) == 1 else self._chosen_deltas(requests)
            try:
                async for delta in deltas:
                    begun = True
                    yield delta
                return
            except ContextLengthError as refused:
                if begun:
                    raise
                await self._shorten(refused)
            finally:
                # A consumer that stops early must not leave the engine writing on.
                if close := getattr(deltas, "aclose", None):
                    await close()

    async def _chosen_deltas(self, requests: Sequence[ChatRequest]) -> AsyncIterator[ChatDelta]:
        reply = await self._chosen(requests)
        calls = [ToolCallDelta(i, call.id, call.name, call.arguments) for i, call in enumerate(reply.tool_calls)]
        yield ChatDelta(reply.text, None, None, tuple(calls), reply.reasoning, reply.tokens or (), reply.refusal)
        yield ChatDelta(finish_reason=reply.finish_reason, usage=reply.usage)

    def reader(self) -> ReplyReader:
        """For the reply to what was asked; with weighted selection, once it is chosen."""
        return ReplyReader(self._asked.sources, "verbatim" if self._is_json else self._settings.style)

    def without_sources(self) -> Answer:
        self._took("generate")
        return self._answer(CitedText(NOT_FOUND_TEXT, (), is_backed=False), ChatReply(""), ())

    async def end(self, reader: ReplyReader, reply: ChatReply) -> Answer:
        """The answer to a reply that was read to its end."""
        self._took("generate")
        text, unknown = reader.text, reader.unknown_marks
        evidence, notes = reader.evidence()
        is_told = bool(text.strip()) or not (reply.refusal or reply.tool_calls)
        if is_told:
            self._notes += notes + _note_no_logprobs(self.engine, self._asked.sampling, reply)
        if reply.finish_reason == "length":
            self._notes.append(f"The answer was cut off at max_tokens = {self._asked.sampling.max_tokens}.")
        if reply.refusal:
            self._notes.append(f"The engine {self.engine.name} refused to answer: {reply.refusal!r}")
            return self._answer(CitedText(text, (), is_backed=False), reply, unknown)
        if reply.tool_calls or self._is_json:
            return self._answer(CitedText(text, ()), reply, unknown)
        if says_not_found(text):
            return self._answer(CitedText(text, (), is_backed=False), reply, unknown)
        cited = await self._cited(text, evidence)
        self._took("cite")
        if cited.note:
            self._notes.append(cited.note)
        if not cited.is_backed and self.request.after and text.strip():
            self._notes.append("No source supports the answer; it rests on the results of tools.")
            cited = CitedText(text, ())
        if not cited.is_backed:
            self._notes.append(f"No source supports what the engine {self.engine.name} wrote: {text!r}")
            cited = CitedText(NOT_FOUND_TEXT, (), is_backed=False)
        return self._answer(cited, reply, unknown)

    def _citer_ahead(self) -> Citer | None:
        """What cites on the event loop, where it is made in a moment: to wake a thread later takes longer.

        The engine waits for it here, and the end of the answer does not there.
        """
        if len(self.requests) != 1 or self._is_json:
            return None
        return Citer.ahead(self._asked.sources, self.store, self.embedder)

    async def _cited(self, text: str, evidence: Sequence[Evidence]) -> CitedText:
        citer = self._citer
        if citer is None:
            return await asyncio.to_thread(cite, text, self._asked.sources, self.store, self.embedder, evidence)
        cited = None if evidence else citer.cite_at_once(text)
        return await asyncio.to_thread(citer.cite, text, evidence) if cited is None else cited

    def _took(self, stage: str) -> None:
        now = time.perf_counter()
        self._timings_ms[stage] = (now - self._started) * 1000
        self._started = now

    def _answer(self, cited: CitedText, reply: ChatReply, unknown: tuple[int, ...]) -> Answer:
        return Answer(
            question=self.request.question,
            text=cited.text,
            engine=self.engine.name,
            found=cited.is_backed,
            citations=cited.citations,
            hits=tuple(self.hits),
            unknown_marks=unknown,
            notes=tuple(self._notes),
            finish_reason=_finish_reason(reply),
            usage=reply.usage,
            timings_ms=self._timings_ms,
            tool_calls=reply.tool_calls,
            reasoning=reply.reasoning,
            logprobs=reply.tokens,
            packing=self._packing(),
            refusal=reply.refusal,
        )

    def _packing(self) -> Packing:
        plan = self._planned
        ranks = ranks_of(self.hits, self._asked.sources) if plan.requests else ()
        return Packing(plan.order, plan.why, ranks, plan.dropped)


def _note_shortened(ask: AskRequest, request: ChatRequest) -> str:
    return (
        f"The answer may have {request.sampling.max_tokens} tokens instead of {ask.sampling.max_tokens}, so that "
        "the prompt fits into the engine's context."
    )


def _note_no_logprobs(engine: Engine, sampling: Sampling, reply: ChatReply) -> list[str]:
    """Of an engine that heeds the wish: what it does not heed is named by `_note_unused`."""
    if not sampling.logprobs or reply.tokens is not None or not heeds(engine, "logprobs"):
        return []
    top = sampling.top_logprobs
    why = "it has none" if top is None else f"it has none, or not with top_logprobs = {top}"
    return [f"The engine {engine.name} gave no log-probabilities: {why}."]


def _finish_reason(reply: ChatReply) -> str:
    """Calls of tools say so, unless they were cut off."""
    if reply.tool_calls and reply.finish_reason == "stop":
        return "tool_calls"
    return "stop" if reply.finish_reason == "tool_calls" and not reply.tool_calls else reply.finish_reason


def _note_unused(engine: Engine, sampling: Sampling) -> list[str]:
    """Quotes are whole sentences: neither shortened to max_tokens nor cut at a stop string."""
    names = unused_fields(engine, sampling)
    why = (
        "Quotes are not sampled"
        if isinstance(engine, ExtractiveEngine)
        else f"The engine {engine.name} does not heed all settings"
    )
    return [f"{why}: {', '.join(names)} had no effect."] if names else []
