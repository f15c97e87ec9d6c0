"""Requests that are too long, as the stock client sends them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from ragkit.serve.api.app import create_app
from ragkit.serve.engines.echo_engine import EchoEngine
from tests.serve.house import FakeAnswerer, FakeLibrary, running


@pytest.fixture(scope="module")
def client() -> Iterator[openai.OpenAI]:
    library = FakeLibrary(FakeAnswerer("papers", EchoEngine(context_tokens=500)))
    with (
        running(create_app(library)) as address,
        openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client,
    ):
        yield client


LONG: dict[str, dict[str, Any]] = {
    "question": {"messages": [{"role": "user", "content": "why 湖 " * 20_000}]},
    "system": {
        "messages": [
            {"role": "system", "content": "Be brief. " * 20_000},
            {"role": "user", "content": "How deep is Lake Ohm?"},
        ]
    },
    "history": {
        "messages": [
            *({"role": role, "content": "so " * 300} for _ in range(200) for role in ("user", "assistant")),
            {"role": "user", "content": "How deep is Lake Ohm?"},
        ]
    },
    "answer": {"messages": [{"role": "user", "content": "How deep is Lake Ohm?"}], "max_tokens": 2**31 - 1},
}


@pytest.mark.parametrize("what", LONG)
def test_over_length_never_fails_and_the_record_says_what_was_done(client: openai.OpenAI, what: str) -> None:
    reply = client.chat.completions.create(model="papers", **LONG[what])
    record = reply.model_dump()["ragkit"]
    assert record["found"]
    assert record["packing"]["order"] == "rank"
    assert record["packing"]["why"] == "no position curve is stored"
    assert record["packing"]["ranks"]
    said = {
        "question": "The question was cut",
        "system": "A system message was cut",
        "history": "oldest turns were left out",
        "answer": "tokens instead of 2147483647",
    }
    assert any(said[what] in note for note in record["notes"])


def test_a_stream_is_packed_too(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="papers", stream=True, **LONG["question"]))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert any("The question was cut" in note for note in chunks[-1].model_dump()["ragkit"]["notes"])
