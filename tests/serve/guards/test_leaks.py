"""What goes wrong tells the client nothing of where the server keeps things or whom it asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ragkit.corpus import Corpus
from ragkit.errors import ConfigError, CorpusDamagedError, EngineError
from ragkit.hosting.library import FolderLibrary
from ragkit.records import ChatReply, ChatRequest, TextRecord
from ragkit.serve.api.app import create_app
from ragkit.serve.engines.echo_engine import EchoEngine
from tests.serve.house import LAKE, running

UPSTREAM = "http://10.9.8.7:8123"


class _Breaking(EchoEngine):
    """Raises what the last user message names, with a path and an address in it."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    async def chat(self, request: ChatRequest) -> ChatReply:
        told = f"{self._folder}/catalogue.sqlite of {UPSTREAM}"
        kinds = (EngineError, ConfigError, CorpusDamagedError, OSError, ValueError, RuntimeError)
        for kind in kinds:
            if kind.__name__ in request.messages[-1].content:
                raise kind(told)
        return await super().chat(request)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    folder = tmp_path / "papers"
    (tmp_path / "lake.md").write_text(f"# Lake\n\n{LAKE}")
    engine = _Breaking(folder)
    with Corpus.open(folder, config={"embedder": {"name": "none"}}, engine=engine) as corpus:
        corpus.add([tmp_path / "lake.md"])
        corpus.add([TextRecord("deep.txt", LAKE)])
        with running(create_app(FolderLibrary([corpus]))) as address:
            yield address, folder


def chat(question: str, **fields: Any) -> dict[str, Any]:
    return {"model": "papers", "messages": [{"role": "user", "content": question}], **fields}


_KINDS = ("EngineError", "ConfigError", "CorpusDamagedError", "OSError", "ValueError", "RuntimeError")
_REQUESTS: list[tuple[str, str, Any]] = [
    *(("POST", "/v1/chat/completions", chat(f"How deep is Lake Ohm, {kind}?")) for kind in _KINDS),
    ("POST", "/v1/chat/completions", chat("How deep is Lake Ohm?")),
    ("POST", "/v1/chat/completions", chat("How deep is Lake Ohm?", stream=True)),
    ("POST", "/v1/chat/completions", chat("How deep?", filters={"type": "eq", "key": "no", "value": 1})),
    ("POST", "/v1/chat/completions", chat("How deep?", model="../papers")),
    ("POST", "/v1/responses", {"model": "papers", "input": "How deep is Lake Ohm?"}),
    ("POST", "/v1/embeddings", {"model": "papers", "input": "x"}),
    ("POST", "/v1/rerank", {"model": "papers", "query": "lake", "documents": ["a", "b"]}),
    ("POST", "/v1/vector_stores/papers/search", {"query": "lake"}),
    ("POST", "/v1/vector_stores/papers/files", {"file_id": "x"}),
    ("GET", "/v1/vector_stores/papers/files", None),
    ("GET", "/v1/vector_stores", None),
    ("GET", "/v1/ragkit/pages/papers/1?document=lake.md", None),
    ("GET", "/v1/ragkit/pages/papers/99?document=lake.md", None),
    ("GET", "/v1/ragkit/pages/papers/1?document=../../etc/passwd", None),
    ("GET", "/web/../../pyproject.toml", None),
    ("GET", "/web/%2e%2e/%2e%2e/pyproject.toml", None),
    ("GET", "/v1/models/papers", None),
    ("GET", "/ready", None),
    ("GET", "/metrics", None),
    ("GET", "/openapi.json", None),
]


def test_no_reply_names_a_path_or_an_upstream(served: tuple[str, Path]) -> None:
    address, folder = served
    statuses = set()
    for method, path, body in _REQUESTS:
        reply = httpx.request(method, f"{address}{path}", json=body, timeout=30)
        told = reply.text + str(reply.headers)
        for secret in (str(folder), str(folder.parent), UPSTREAM, "10.9.8.7", "Traceback", "site-packages"):
            assert secret not in told, (method, path, body, told)
        statuses.add(reply.status_code)
    assert {200, 400, 404, 500, 502, 503} <= statuses


def test_a_corpus_that_breaks_while_it_is_served(served: tuple[str, Path]) -> None:
    """Its files go away under the server."""
    address, folder = served
    for file in [folder / "catalogue.sqlite", *folder.glob("lexical/*")]:
        file.write_bytes(b"no longer a database")
    for method, path, body in _REQUESTS:
        reply = httpx.request(method, f"{address}{path}", json=body, timeout=30)
        assert str(folder.parent) not in reply.text, (method, path, reply.text)
        if reply.status_code >= 400 and path.startswith("/v1/") and "html" not in reply.headers["content-type"]:
            assert set(reply.json()) == {"error"}
