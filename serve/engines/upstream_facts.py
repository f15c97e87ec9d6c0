"""What a model's server says of itself: whether it is there, how much its model reads, how long a prompt is."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ragkit.records import ChatMessage
from ragkit.serve.engines.chat_json import message_json
from ragkit.serve.engines.upstream_errors import http_library, shown_name, uses_proxies

if TYPE_CHECKING:
    import ssl

_TIMEOUT_S = 5.0
_FRESH_S = 2.0
# A server that was not there is not asked again for so long when only facts are wanted.
_AGAIN_S = 5.0
_MOST_KNOWN = 256
_VLLM = "vllm"
# It answers with its own model whatever it is asked for, and lists that by its file.
_SERVES_ANY_NAME = "llamacpp"
# By the status of a reply that is no list. Some servers have the chat alone.
_STATES = {401: "refuses the key", 403: "refuses the key", 404: "ready", 405: "ready"}


@dataclass(frozen=True, slots=True)
class ModelCard:
    """state: "ready", or what is wrong, without addresses. context_tokens: 0 where the server does not say."""

    state: str
    context_tokens: int = 0
    owner: str = ""

    @property
    def is_ready(self) -> bool:
        return self.state == "ready"


class UpstreamFacts:
    """Asks `url`, such as http://localhost:8000/v1, and remembers. It waits for answers: not on an event loop."""

    def __init__(self, url: str, model: str, key: str, tls: ssl.SSLContext) -> None:
        self._url, self._model = url.rstrip("/"), model
        headers = {"authorization": f"Bearer {key}"}
        self._http = http_library()
        self._settings: dict[str, Any] = {
            "headers": headers,
            "verify": tls,
            "timeout": _TIMEOUT_S,
            "follow_redirects": True,
            "trust_env": uses_proxies(url),
        }
        # Held while the server is asked for its card, which may take seconds; the other lock never for long.
        self._asking = threading.Lock()
        self._lock = threading.Lock()
        self._card = self._good = ModelCard("not asked")
        self._asked_at = -_AGAIN_S
        self._counts: OrderedDict[object, int] = OrderedDict()
        self._no_counts_until = 0.0

    def card(self) -> ModelCard:
        """As the server says now, or has said in the last two seconds."""
        with self._asking:
            with self._lock:
                if time.monotonic() - self._asked_at < _FRESH_S:
                    return self._card
            return self._ask()

    def context_tokens(self) -> int:
        """What the model reads at most; 0 where that is not known."""
        return self._known().context_tokens

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int | None:
        """Of the prompt that the server makes of the texts; None where it cannot say, as only vLLM can."""
        if self._known().owner != _VLLM or time.monotonic() < self._no_counts_until:
            return None
        texts = [replace(message, images=()) for message in messages]
        known_by = tuple((m.role, m.content, m.tool_calls, m.tool_call_id) for m in texts)
        with self._lock:
            if known_by in self._counts:
                self._counts.move_to_end(known_by)
                return self._counts[known_by]
        count = self._tokenize(texts)
        if count is not None:
            with self._lock:
                self._counts[known_by] = count
                while len(self._counts) > _MOST_KNOWN:
                    self._counts.popitem(last=False)
        return count

    def forget(self) -> None:
        """Ask anew: another model may be there."""
        with self._lock:
            self._card = self._good = ModelCard("not asked")
            self._asked_at = -_AGAIN_S
            self._counts.clear()

    def _known(self) -> ModelCard:
        """The last card that was good; a server that was not there is asked again after a while."""
        if (known := self._remembered()) is not None:
            return known
        with self._asking:
            return self._remembered() or self._ask()

    def _remembered(self) -> ModelCard | None:
        """None where the server is to be asked."""
        with self._lock:
            is_due = not self._good.is_ready and time.monotonic() - self._asked_at >= _AGAIN_S
            return None if is_due else self._good

    def _ask(self) -> ModelCard:
        card = self._card_now()
        with self._lock:
            self._card, self._asked_at = card, time.monotonic()
            self._good = card if card.is_ready else self._good
        return card

    def _card_now(self) -> ModelCard:
        try:
            with self._http.Client(**self._settings) as client:
                reply = client.get(f"{self._url}/models")
            if reply.status_code == 200:
                return self._read(reply.json())
            return ModelCard(_STATES.get(reply.status_code, f"answers with status {reply.status_code}"))
        except self._http.TimeoutException:
            return ModelCard("does not answer in time")
        except (self._http.HTTPError, self._http.InvalidURL, OSError):
            return ModelCard("cannot be reached")
        except (ValueError, RecursionError):
            return ModelCard("is no server of models")

    def _read(self, listed: Any) -> ModelCard:
        entries = listed.get("data") if isinstance(listed, dict) else None
        if not isinstance(entries, list):
            return ModelCard("is no server of models")
        cards = [entry for entry in entries if isinstance(entry, dict)]
        # Ollama's names end in a tag.
        named = [card for card in cards if card.get("id") in (self._model, f"{self._model}:latest")]
        any_name = [card for card in cards if card.get("owned_by") == _SERVES_ANY_NAME]
        for card in named or any_name:
            length = card.get("max_model_len")
            context = length if isinstance(length, int) and length > 0 else 0
            return ModelCard("ready", context, str(card.get("owned_by", "")))
        return ModelCard(f"does not serve the model {shown_name(self._model)!r}")

    def _tokenize(self, messages: Sequence[ChatMessage]) -> int | None:
        address = urlsplit(self._url)
        root = address._replace(path=address.path.removesuffix("/v1")).geturl()
        body = {"model": self._model, "messages": [message_json(message) for message in messages]}
        try:
            with self._http.Client(**self._settings) as client:
                reply = client.post(f"{root}/tokenize", json=body)
            found = reply.json() if reply.status_code == 200 else None
        except (self._http.HTTPError, OSError):
            self._no_counts_until = time.monotonic() + _AGAIN_S
            return None
        except (ValueError, RecursionError):
            return None
        count = found.get("count") if isinstance(found, dict) else None
        return count if isinstance(count, int) and count > 0 else None
