"""The field `filters` of a chat request: which documents an answer may rest on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

pytest.importorskip("openai")
pytest.importorskip("fastapi")

from ragkit import Corpus, TextRecord
from ragkit.hosting.library import FolderLibrary
from ragkit.serve.api.app import create_app
from tests.fakes import HashEmbedder
from tests.serve.house import running

MESSAGES = [{"role": "user", "content": "How many tonnes does the crane lift?"}]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("http") / "port"
    with Corpus.open(folder, embedder=HashEmbedder()) as corpus:
        corpus.add(
            [
                TextRecord("old", "The crane lifts forty tonnes.", attributes={"year": 1999}),
                TextRecord("new", "The crane lifts sixty tonnes.", attributes={"year": 2024}),
            ]
        )
        with running(create_app(FolderLibrary([corpus]))) as address:
            yield f"{address}/v1/chat/completions"


def ask(url: str, filters: object, stream: bool = False) -> httpx.Response:
    body = {"model": "port", "messages": MESSAGES, "filters": filters, "stream": stream}
    # In ASCII: httpx's own JSON refuses halves of characters.
    return httpx.post(url, content=json.dumps(body), headers={"content-type": "application/json"}, timeout=30)


def test_the_answer_rests_on_what_the_filter_admits(url: str):
    for kind, amount in (("gte", "sixty"), ("lt", "forty")):
        reply = ask(url, {"type": kind, "key": "year", "value": 2020})
        assert reply.status_code == 200
        assert amount in reply.json()["choices"][0]["message"]["content"]
    assert "sixty" in ask(url, "year >= 2020").json()["choices"][0]["message"]["content"]
    assert ask(url, None).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"type": "near", "key": "year", "value": 1}, "filters.type is 'near'; known: eq, ne"),
        (
            {"type": "eq", "key": "yaer", "value": 1},
            "'yaer' (did you mean 'year'?); known attributes:",
        ),
        (
            {"type": "or", "filters": [{"type": "eq", "key": "year", "value": "x"}]},
            "year is compared with the string",
        ),
        (3, "filters: expected an object"),
        ("year >", "expected a value, found the end"),
        ("year = '\ud800'", "surrogate"),
    ],
)
def test_bad_filters_are_400_and_say_why(url: str, filters: object, message: str, stream: bool):
    reply = ask(url, filters, stream)
    error = reply.json()["error"]
    assert (reply.status_code, error["param"], error["code"]) == (400, "filters", "invalid_filter")
    assert message in error["message"]
