"""Any server that speaks OpenAI's chat API: vLLM, llama.cpp, Ollama, OpenAI itself."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ragkit.errors import ConfigError, ContextLengthError, EngineError
from ragkit.extras import require
from ragkit.records import ChatDelta, ChatMessage, ChatReply, ChatRequest, ImageLimits, Usage
from ragkit.serve.engines.chat_json import logprobs_json, message_json, sampling_json
from ragkit.serve.engines.chat_replies import end_of, read_delta, read_reply, usage_of
from ragkit.serve.engines.token_estimate import estimate_tokens
from ragkit.serve.prompting.image_size import check_images, estimate_image_tokens

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

_MESSAGE_TOKENS = 8
_BATCH_CONNECTIONS = 8
_NO_KEY = "none"
_OPENAI_HOST = "api.openai.com"


class OpenAIEngine:
    """Sends each request to `url`, for example http://localhost:8000/v1.

    A client is made a call, so an engine can be used from any event loop; cancelling a call or closing
    a stream closes the connection, upon which servers stop generating. Nothing is sent twice, but for a request
    that a server refuses with log-probabilities and takes without; from then on they are not asked for.

    Args:
        api_key_env: environment variable that holds the key; servers that want none may have none. Where it
            is "", OPENAI_API_KEY is read, and sent to api.openai.com alone.
        timeout_s: seconds to connect, and to wait for the next bytes.
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
        context_tokens: int = 8192,
        timeout_s: float = 120,
        image_limits: ImageLimits | None = None,
    ) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise ConfigError(
                f"generation.url = {_shown(url)!r} is no http address, such as 'http://localhost:8000/v1'"
            )
        if not model:
            raise ConfigError(f"generation.model is empty; name the model that {_shown(url)} is to use")
        self.context_tokens = context_tokens
        self.image_limits = image_limits
        self._url = url
        self._shown = _shown(url)
        self._model = model
        self._key = os.environ.get(api_key_env or _default_key_env(url), "") or _NO_KEY
        self._timeout_s = timeout_s
        self._gives_logprobs = True
        self._http = _http_library()
        # Made once: reading the certificates takes tens of milliseconds.
        self._tls = self._http.create_ssl_context()

    @property
    def name(self) -> str:
        """The model's name at the server."""
        return self._model

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """An upper estimate for text, a fair one for images: the server's tokenizer is not here."""
        images = [image for message in messages for image in message.images]
        text = sum(_MESSAGE_TOKENS + estimate_tokens(message.content) for message in messages)
        return text + sum(map(estimate_image_tokens, images))

    async def chat(self, request: ChatRequest) -> ChatReply:
        """Raises EngineError with the address, the status and what the server said."""
        arguments = await asyncio.to_thread(self._arguments, request)
        with self._errors():
            async with self._client() as client:
                reply = await self._begin(
                    client, arguments, logprobs_json(request.sampling, wanted=request.logprobs)
                )
        if (read := read_reply(reply, request)) is None:
            raise EngineError(f"{self._shown} answered without a message: {str(reply)[:200]!r}; is it a chat API?")
        return read

    async def _begin(self, client: AsyncOpenAI, arguments: dict[str, Any], logprobs: dict[str, Any]) -> Any:
        """The reply, or the stream that is one; without log-probabilities where the server refuses them."""
        openai = require("openai")
        if logprobs and self._gives_logprobs:
            with suppress(openai.BadRequestError, openai.UnprocessableEntityError):
                return await client.chat.completions.create(**arguments, **logprobs)
        reply = await client.chat.completions.create(**arguments)
        # It was not the rest of the request that was refused.
        self._gives_logprobs = self._gives_logprobs and not logprobs
        return reply

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        """Raises EngineError as `chat` does, also where the connection breaks before the end."""
        arguments = await asyncio.to_thread(self._arguments, request)
        arguments |= {"stream": True, "stream_options": {"include_usage": True}}
        logprobs = logprobs_json(request.sampling)
        ended, usage = None, Usage()
        with self._errors():
            async with self._client() as client, await self._begin(client, arguments, logprobs) as chunks:
                async for chunk in chunks:
                    usage = usage_of(chunk) if getattr(chunk, "usage", None) else usage
                    ended = end_of(chunk) or ended
                    if delta := read_delta(chunk, request):
                        yield delta
        if ended is None:
            raise EngineError(f"{self._shown} ended the stream before the answer was finished")
        yield ChatDelta(finish_reason=ended, usage=usage)

    def chat_batch(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """Several at a time, from a thread of its own, so that it works under a running event loop too."""
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, self._chat_all(requests)).result()

    async def _chat_all(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        free = asyncio.Semaphore(_BATCH_CONNECTIONS)

        async def one(request: ChatRequest) -> ChatReply:
            async with free:
                return await self.chat(request)

        return list(await asyncio.gather(*map(one, requests)))

    def _client(self) -> AsyncOpenAI:
        openai = require("openai")
        http_client = openai.DefaultAsyncHttpxClient(verify=self._tls)
        client: AsyncOpenAI = openai.AsyncOpenAI(
            base_url=self._url,
            api_key=self._key,
            timeout=self._timeout_s,
            max_retries=0,
            http_client=http_client,
        )
        return client

    def _arguments(self, request: ChatRequest) -> dict[str, Any]:
        check_images(request.messages, self.image_limits, self._model)
        is_openai = (urlsplit(self._url).hostname or "").endswith("openai.com")
        messages = [message_json(message) for message in request.messages]
        sampling = sampling_json(request.sampling, is_openai=is_openai)
        return {"model": self._model, "messages": messages, **sampling}

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """What the client library raises, as this project's errors."""
        openai = require("openai")
        try:
            yield
        except openai.APIStatusError as error:
            raise self._status_error(error) from error
        except (openai.APITimeoutError, self._http.TimeoutException) as error:
            raise EngineError(f"{self._shown} did not answer within {self._timeout_s:g} s") from error
        except openai.APIConnectionError as error:
            reason = error.__cause__ or error
            raise EngineError(f"cannot reach {self._shown}: {reason}; is the server running?") from error
        except self._http.HTTPError as error:
            raise EngineError(f"{self._shown} broke off the answer: {error or type(error).__name__}") from error
        except openai.OpenAIError as error:
            raise EngineError(f"{self._shown}: {error}") from error
        except ValueError as error:
            raise EngineError(f"{self._shown} did not answer in the form of a chat API: {error}") from error

    def _status_error(self, error: APIStatusError) -> EngineError:
        said = str(error.message if isinstance(error.body, dict) else error.response.text[:500])
        if error.code == "context_length_exceeded" or "maximum context length" in said:
            # Clients get to see this one: it names no address.
            return ContextLengthError(f"the server of {self._model} answered {error.status_code}: {said}")
        return EngineError(f"{self._shown} answered {error.status_code}: {said}")


def _shown(url: str) -> str:
    """The address without what may be secret in it: user, password and query."""
    return re.sub(r"^([a-z][a-z0-9+.-]*://)?[^/?#]*@", r"\1", re.split("[?#]", url)[0], flags=re.IGNORECASE)


def _default_key_env(url: str) -> str:
    """No other server gets OpenAI's key unless the settings name it."""
    return "OPENAI_API_KEY" if urlsplit(url).hostname == _OPENAI_HOST else ""


def _http_library() -> ModuleType:
    """The httpx (2, before openai 3) that the installed openai is built on; its errors pass through."""
    client = require("openai").DefaultAsyncHttpxClient
    names = {base.__module__.partition(".")[0] for base in client.__mro__ if base.__name__ == "AsyncClient"}
    return sys.modules[names.pop()]
