"""Requests made from the OpenAPI document, good and bad: no 5xx, and every error in OpenAI's shape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case

from ragkit.corpus import Corpus
from ragkit.records import TextRecord
from tests.serve.house import BRIDGE, LAKE
from tests.serve.stores.store_house import store_server

_SERVER_FAILED = 500
_FAILED = 400
# One that never comes back would hang the suite.
_SECONDS = 20


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Of a server with a corpus, a folder for files and vector stores, and small limits."""
    folder = tmp_path_factory.mktemp("server")
    config = {"embedder": {"name": "none"}, "generation": {"engine": "echo"}}
    with Corpus.open(folder / "papers", config=config) as corpus:
        corpus.add([TextRecord("lake.txt", LAKE), TextRecord("bridge.txt", BRIDGE)])
        with store_server(folder / "store", [corpus], max_upload_mb=1, max_queue=1000) as server:
            yield schemathesis.openapi.from_url(f"{server.url}/openapi.json")


ASKED = {"POST /v1/chat/completions", "POST /v1/responses", "POST /v1/embeddings", "POST /v1/files"}


def judge(case: Case) -> None:
    if isinstance(case.body, dict) and isinstance(case.body.get("model"), str) and len(case.body["model"]) % 2:
        # Half of the requests find their corpus, and so reach what is behind.
        case.body["model"] = "papers"
    reply = case.call(timeout=_SECONDS)
    said = f"{case.method} {reply.request.url}: {reply.status_code} {reply.text[:500]}\n{case.as_curl_command()}"
    assert reply.status_code < _SERVER_FAILED, said
    assert reply.headers["x-request-id"][0].startswith("req_"), said
    if reply.status_code >= _FAILED:
        assert set(reply.json()) == {"error"}, said
        assert set(reply.json()["error"]) == {"message", "type", "param", "code"}, said
        assert isinstance(reply.json()["error"]["message"], str), said


def fuzz(schema: Any, max_examples: int) -> list[str]:
    """The operations that were tried."""
    tried = []
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=max_examples,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def one(case: Case) -> None:
            judge(case)

        one()
        tried.append(f"{operation.method.upper()} {operation.path}")
    return tried


def test_no_request_breaks_the_server(schema: Any) -> None:
    assert set(fuzz(schema, 15)) >= ASKED


@pytest.mark.slow
def test_no_request_of_many_breaks_the_server(schema: Any) -> None:
    assert set(fuzz(schema, 500)) >= ASKED
