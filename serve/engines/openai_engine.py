"""Any server that speaks OpenAI's chat API: vLLM, llama.cpp, Ollama, OpenAI itself."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ragkit.errors import ConfigError, ContextLengthError, EngineError
from ragkit.extras import require
from ragkit.records import ChatDelta, ChatMessage, ChatReply, ChatRequest, ImageLimits, Readiness, Usage
from ragkit.serve.engines.chat_json import field_of, logprobs_json, message_json, sampling_json
from ragkit.serve.engines.chat_replies import end_of, read_delta, read_reply, usage_of
from ragkit.serve.engines.circuit_breaker import CircuitBreaker
from ragkit.serve.engines.retrying import backoff_s
from ragkit.serve.engines.streamed_calls import StreamedCalls
from ragkit.serve.engines.token_estimate import estimate_tokens
from ragkit.serve.engines.upstream_errors import (
    UpstreamErrors,
    http_library,
    may_retry,
    pause_of,
    shown_name,
    shown_url,
    uses_proxies,
)
from ragkit.serve.engines.upstream_facts import UpstreamFacts
from ragkit.serve.prompting.image_size import check_images, estimate_image_tokens

if TYPE_CHECKING:
    from openai import AsyncOpenAI, AsyncStream

_MESSAGE_TOKENS = 8
_BATCH_CONNECTIONS = 8
_NO_KEY = "none"
_OPENAI_HOST = "api.openai.com"
_UNKNOWN_CONTEXT = 8192
_LAST_WORDS_S = 5.0


class OpenAIEngine:
    """Sends each request to `url`, for example http://localhost:8000/v1.

    A client is made a call, so an engine can be used from any event loop; cancelling a call or closing
    a stream closes the connection, upon which servers stop generating. A request is sent again only where nobody
    took it or no reply had begun, and without log-probabilities where a server refuses them. One that refuses
    them as such, and not the number of alternatives, is not asked for them again.

    Args:
        api_key_env: environment variable that holds the key; servers that want none may have none. Where it
            is "", OPENAI_API_KEY is read, and sent to api.openai.com alone. api_key: the key itself.
        context_tokens: 0 asks the server, and takes 8192 where it does not say.
        timeout_s: seconds until the answer begins, retries and all, and between its pieces; of an answer that is
            not streamed, until it is there. connect_timeout_s: to connect.
        retries: how many times a request is sent again at most.
        breaker: of the server; one of its own where it is None.
        image_limits: what the model at the server accepts; None for one that reads text alone.

    Raises:
        ConfigError: url or model is missing, or url is no http address.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api_key_env: str = "",
        api_key: str = "",
        context_tokens: int = 0,
        timeout_s: float = 120,
        connect_timeout_s: float = 10,
        retries: int = 2,
        breaker: CircuitBreaker | None = None,
        image_limits: ImageLimits | None = None,
    ) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise ConfigError(
                f"generation.url = {shown_url(url)!r} is no http address, such as 'http://localhost:8000/v1'"
            )
        if not model:
            raise ConfigError(f"generation.model is empty; name the model that {shown_url(url)} is to use")
        self.image_limits = image_limits
        self.breaker = breaker or CircuitBreaker()
        self._url = url
        self._model = model
        self._key = api_key or os.environ.get(api_key_env or _default_key_env(url), "") or _NO_KEY
        self._context_tokens = context_tokens
        self._timeout_s, self._connect_timeout_s, self._retries = timeout_s, connect_timeout_s, retries
        self._errors = UpstreamErrors(url, self.name, timeout_s, connect_timeout_s)
        self._gives_logprobs = True
        # Made once: reading the certificates takes tens of milliseconds.
        self._tls = http_library().create_ssl_context()
        self._facts = UpstreamFacts(url, model, self._key, self._tls)

    @property
    def name(self) -> str:
        """The model's name at the server; of a path its last part, for answers tell it."""
        return shown_name(self._model)

    @property
    def context_tokens(self) -> int:
        """Asks the server where nothing is set: not on an event loop."""
        return self._context_tokens or self._facts.context_tokens() or _UNKNOWN_CONTEXT

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Text as a vLLM server counts it, elsewhere an upper estimate; of images a fair one. Not on a loop."""
        images = sum(estimate_image_tokens(image) for message in messages for image in message.images)
        counted = self._facts.count_tokens(messages)
        return images + (_estimate(messages) if counted is None else counted)

    async def readiness(self) -> Readiness:
        """As `Upstream.readiness`: by the server's list of models, and by how the last requests ended."""
        card = await asyncio.to_thread(self._facts.card)
        if card.is_ready and self.breaker.state == "open":
            return Readiness(self.name, False, "failed too often", self.breaker.retry_after_s)
        return Readiness(self.name, card.is_ready, card.state)

    async def chat(self, request: ChatRequest) -> ChatReply:
        """Raises EngineError with the address, the status and what the server said."""
        arguments = await self._prepared(request)
        logprobs = logprobs_json(request.sampling, wanted=request.logprobs)
        with self._remembering(), self.breaker.call(self.name), self._errors.translated():
            call = _Call(self)
            async with asyncio.timeout(self._timeout_s), call.client() as client:
                reply = await call.send(client, arguments, logprobs)
            if (read := read_reply(reply, request)) is None:
                said = str(reply)[:200]
                raise EngineError(f"{self._errors.shown} answered without a message: {said!r}; is it a chat API?")
            return read

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        """Raises EngineError as `chat` does, also where the connection breaks before the end."""
        arguments = await self._prepared(request)
        arguments |= {"stream": True, "stream_options": {"include_usage": True}}
        ended, usage, calls = None, Usage(), StreamedCalls()
        with self._remembering(), self.breaker.call(self.name) as watched, self._errors.translated():
            call = _Call(self)
            async with call.client() as client:
                async with asyncio.timeout(self._timeout_s):
                    chunks = await call.send(client, arguments, logprobs_json(request.sampling))
                async with chunks:
                    while (chunk := await self._next(chunks, ended is not None)) is not None:
                        watched.answered()
                        usage = usage_of(chunk) if field_of(chunk, "usage") else usage
                        ended = end_of(chunk) or ended
                        if delta := read_delta(chunk, request, calls):
                            yield delta
            if ended is None:
                raise EngineError(f"{self._errors.shown} ended the stream before the answer was finished")
        yield ChatDelta(finish_reason=ended, usage=usage)

    def chat_batch(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """Several at a time, from a thread of its own, so that it works under a running event loop too."""
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, self._chat_all(requests)).result()

    async def _next(self, chunks: Any, is_over: bool) -> Any:
        """None at the end. Bytes that make no chunk, such as comments, do not put off the timeout.

        is_over: the answer has ended, and usage may follow; one need not wait long for it.
        """
        broken = (TimeoutError, http_library().HTTPError, require("openai").APIConnectionError)
        try:
            async with asyncio.timeout(min(self._timeout_s, _LAST_WORDS_S) if is_over else self._timeout_s):
                return await anext(chunks, None)
        except broken:
            if is_over:
                return None
            raise

    @contextmanager
    def _remembering(self) -> Iterator[None]:
        """A prompt that was too long is a sign that another model is there than the one that was asked about."""
        try:
            yield
        except ContextLengthError:
            self._facts.forget()
            raise

    async def _chat_all(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        free = asyncio.Semaphore(_BATCH_CONNECTIONS)

        async def one(request: ChatRequest) -> ChatReply:
            async with free:
                return await self.chat(request)

        return list(await asyncio.gather(*map(one, requests)))

    async def _prepared(self, request: ChatRequest) -> dict[str, Any]:
        """In a thread where images are encoded; text alone is not worth the way there and back."""
        if any(message.images for message in request.messages):
            return await asyncio.to_thread(self._arguments, request)
        return self._arguments(request)

    def _arguments(self, request: ChatRequest) -> dict[str, Any]:
        check_images(request.messages, self.image_limits, self.name)
        is_openai = (urlsplit(self._url).hostname or "").endswith("openai.com")
        messages = [message_json(message) for message in request.messages]
        sampling = sampling_json(request.sampling, is_openai=is_openai)
        extra = sampling.pop("extra_body", {})
        return {"model": self._model, "messages": messages, **sampling, **extra}

    def _client(self, on_response: Callable[[Any], Awaitable[None]] | None = None) -> AsyncOpenAI:
        openai = require("openai")
        hooks = {"response": [on_response]} if on_response else {}
        http_client = openai.DefaultAsyncHttpxClient(
            verify=self._tls, event_hooks=hooks, trust_env=uses_proxies(self._url)
        )
        client: AsyncOpenAI = openai.AsyncOpenAI(
            base_url=self._url,
            api_key=self._key,
            timeout=http_library().Timeout(self._timeout_s, connect=self._connect_timeout_s),
            max_retries=0,
            http_client=http_client,
        )
        return client


class _Call:
    """One request: sent until it is taken."""

    def __init__(self, engine: OpenAIEngine) -> None:
        self._engine = engine
        self._began = False
        self._ends = time.monotonic() + engine._timeout_s

    def client(self) -> AsyncOpenAI:
        return self._engine._client(self._on_response)

    async def _on_response(self, _: Any) -> None:
        self._began = True

    async def send(self, client: AsyncOpenAI, arguments: dict[str, Any], logprobs: dict[str, Any]) -> Any:
        """The reply, or the stream that is one; without log-probabilities where the server refuses them."""
        openai, engine = require("openai"), self._engine
        if logprobs and engine._gives_logprobs:
            with suppress(openai.BadRequestError, openai.UnprocessableEntityError):
                return await self._send_until_taken(client, arguments | logprobs)
        reply = await self._send_until_taken(client, arguments)
        # It was not the rest of the request that was refused; that of alternatives says nothing of the others.
        if logprobs and "top_logprobs" not in logprobs:
            engine._gives_logprobs = False
        return reply

    async def _send_until_taken(self, client: AsyncOpenAI, arguments: dict[str, Any]) -> Any:
        for attempt in range(self._engine._retries):
            self._began = False
            try:
                return await _post(client, arguments)
            except require("openai").OpenAIError as error:
                left_s = self._ends - time.monotonic()
                if not may_retry(error, self._began) or not await pause_of(error, backoff_s(attempt), left_s):
                    raise
        return await _post(client, arguments)


async def _post(client: AsyncOpenAI, arguments: dict[str, Any]) -> Any:
    """The reply as JSON, or the stream of such.

    The client's own types check nothing of a reply, and to make them takes as long as the rest of a chunk's way.
    """
    is_streamed = bool(arguments.get("stream"))
    reply = await client.post(
        "/chat/completions", body=arguments, cast_to=object, stream=is_streamed, stream_cls=_stream_class()
    )
    if isinstance(reply, str):
        # A reply that does not say that it is JSON.
        with suppress(ValueError):
            return json.loads(reply)
    return reply


@cache
def _stream_class() -> type[AsyncStream[object]]:
    """The client's own, without events that have no data, such as `retry: 3000`; it takes them for broken JSON."""
    from openai import AsyncStream

    class DataStream(AsyncStream[object]):
        async def _iter_events(self) -> AsyncIterator[Any]:
            async for event in super()._iter_events():
                if event.data:
                    yield event

    return DataStream


def _estimate(messages: Sequence[ChatMessage]) -> int:
    return sum(_MESSAGE_TOKENS + estimate_tokens(message.content) for message in messages)


def _default_key_env(url: str) -> str:
    """No other server gets OpenAI's key unless the settings name it."""
    return "OPENAI_API_KEY" if urlsplit(url).hostname == _OPENAI_HOST else ""
