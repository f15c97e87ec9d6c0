"""What the client library raises when a server of a model fails, as ragkit's errors."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ragkit.errors import (
    ContextLengthError,
    EngineError,
    EngineTimeoutError,
    EngineUnavailableError,
    RequestRefusedError,
)
from ragkit.extras import require
from ragkit.serve.engines.retrying import retry_after_s

if TYPE_CHECKING:
    from openai import APIConnectionError, APIStatusError

_TOO_LONG = re.compile(r"maximum (context|model) length|max_model_len|context length|exceed.{0,20}context", re.I)
_LONGEST_SAID = 500
# What clients are told must not lead to the server's files or neighbours.
_PLACE = re.compile(
    r"\b[a-z][a-z0-9+.-]*://\S+|(?<![\w.])[~.]{0,2}/[\w.+-]+(/[\w.+-]*)+|\b\d{1,3}(\.\d{1,3}){3}(:\d+)?"
)


@dataclass(frozen=True, slots=True)
class UpstreamErrors:
    """url: of the server. name: what clients may know the model by."""

    url: str
    name: str
    timeout_s: float
    connect_timeout_s: float

    @property
    def shown(self) -> str:
        """The address without what may be secret in it."""
        return shown_url(self.url)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raises EngineError for whatever the client library raises inside."""
        openai, http = require("openai"), http_library()
        try:
            yield
        except openai.APIStatusError as error:
            raise self._of_status(error) from error
        except (openai.APITimeoutError, http.TimeoutException, TimeoutError) as error:
            raise self._of_timeout(error, http) from error
        except openai.APIConnectionError as error:
            raise self._of_connection(error, http) from error
        except http.HTTPError as error:
            raise EngineError(f"{self.shown} broke off the answer: {error or type(error).__name__}") from error
        except openai.OpenAIError as error:
            raise EngineError(f"{self.shown}: {error}") from error
        except (ValueError, RecursionError) as error:
            raise EngineError(f"{self.shown} did not answer in the form of a chat API: {error}") from error

    def _of_status(self, error: APIStatusError) -> EngineError:
        status = error.status_code
        own = error.body.get("message") if isinstance(error.body, dict) else error.response.text
        said = str(own or error.message)[:_LONGEST_SAID]
        asked_too_much = status in (400, 413, 422)
        if error.code == "context_length_exceeded" or (asked_too_much and _TOO_LONG.search(said)):
            return ContextLengthError(f"the server of {self.name} answered {status}: {without_places(said)}")
        if asked_too_much:
            return RequestRefusedError(f"the server of {self.name} answered {status}: {without_places(said)}")
        whole = f"{self.shown} answered {status}: {said}"
        if status in (429, 503):
            return EngineUnavailableError(whole, retry_after_s(error.response.headers), is_busy=status == 429)
        return EngineError(whole)

    def _of_timeout(self, error: Exception, http: ModuleType) -> EngineError:
        if isinstance(error.__cause__ or error, http.ConnectTimeout):
            return EngineUnavailableError(f"cannot reach {self.shown} within {self.connect_timeout_s:g} s")
        return EngineTimeoutError(f"{self.shown} did not answer within {self.timeout_s:g} s")

    def _of_connection(self, error: APIConnectionError, http: ModuleType) -> EngineError:
        reason = error.__cause__ or error
        why = str(reason) or type(reason).__name__
        if isinstance(reason, http.ConnectError):
            return EngineUnavailableError(f"cannot reach {self.shown}: {why}; is the server running?")
        return EngineError(f"{self.shown} broke off the answer: {why}")


def may_retry(error: Exception, began: bool) -> bool:
    """Whether the same request may be sent again: nobody took it, or no reply had begun.

    began: the beginning of a reply had come.
    """
    openai, http = require("openai"), http_library()
    if isinstance(error, openai.APIStatusError):
        return error.status_code in (429, 503)
    if began or not isinstance(error, openai.APIConnectionError) or isinstance(error, openai.APITimeoutError):
        return False
    return isinstance(
        error.__cause__, http.ConnectError | http.ReadError | http.WriteError | http.RemoteProtocolError
    )


async def pause_of(error: Exception, backoff: float, left_s: float) -> bool:
    """Wait as long as the reply asks, at least `backoff`; False, at once, where so much time is not left."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    pause = max(backoff, retry_after_s(headers) or 0.0)
    if pause >= left_s:
        return False
    await asyncio.sleep(pause)
    return True


def shown_url(url: str) -> str:
    """The address without user, password and query."""
    return re.sub(r"^([a-z][a-z0-9+.-]*://)?[^/?#]*@", r"\1", re.split("[?#]", url)[0], flags=re.IGNORECASE)


def shown_name(model: str) -> str:
    """A model's name as clients may see it: the last part of one that is a path or an address."""
    is_place = model.startswith(("/", "~", ".")) or bool(urlsplit(model).scheme) or "\\" in model
    return re.split(r"[/\\]", model.rstrip("/\\"))[-1] if is_place else model


def without_places(text: str) -> str:
    """The text without addresses and paths."""
    return _PLACE.sub("…", text)


def http_library() -> ModuleType:
    """The httpx (2, before openai 3) that the installed openai is built on; its errors pass through."""
    client = require("openai").DefaultAsyncHttpxClient
    names = {base.__module__.partition(".")[0] for base in client.__mro__ if base.__name__ == "AsyncClient"}
    return sys.modules[names.pop()]


def uses_proxies(url: str) -> bool:
    """Whether proxies of the environment hold for a server: not for one on this machine."""
    return urlsplit(url).hostname not in ("localhost", "127.0.0.1", "::1")
