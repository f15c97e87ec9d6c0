from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from ragkit.serve.api.app import create_app
from ragkit.serve.engines.echo_engine import EchoEngine
from ragkit.serve.guards.api_keys import add_key
from ragkit.serve.pages.page_links import PATH, LinkSigner, PageLinks
from ragkit.serve_config import ServeConfig
from tests.serve.house import FakeAnswerer, FakeLibrary, running

QUESTION: Any = [{"role": "user", "content": "How deep is Lake Ohm?"}]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, str]]:
    """The address, a key for everything, a key for the papers."""
    file = tmp_path_factory.mktemp("keys") / "keys.toml"
    whole, papers = add_key(file, "boss"), add_key(file, "team-a", ["papers"])
    library = FakeLibrary(*(FakeAnswerer(name, EchoEngine()) for name in ("papers", "contracts")))
    with running(create_app(library, settings=ServeConfig(api_keys_file=str(file)))) as address:
        yield address, whole.key, papers.key


def client_of(address: str, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{address}/v1", api_key=key, max_retries=0)


def status(address: str, path: str, key: str | None = None, method: str = "GET") -> int:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    return httpx.request(method, f"{address}{path}", headers=headers).status_code


@pytest.mark.parametrize("path", ["/v1/models", "/v1/chat/completions", "/openapi.json", "/metrics", "/nothing"])
@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic abc", "Bearer rk-wrong", "bearer ключ".encode()])
def test_without_a_key_nothing_is_told(server: tuple[str, str, str], path: str, header: Any) -> None:
    headers = {} if header is None else {"authorization": header}
    reply = httpx.get(f"{server[0]}{path}", headers=headers)
    assert reply.status_code == 401
    assert reply.json()["error"]["type"] == "invalid_request_error"
    assert reply.headers["www-authenticate"] == "Bearer"
    assert reply.headers["x-request-id"].startswith("req_")
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert "papers" not in reply.text


def test_a_wrong_key_is_openais_error(server: tuple[str, str, str]) -> None:
    with client_of(server[0], "wrong") as client, pytest.raises(openai.AuthenticationError) as caught:
        client.models.list()
    assert caught.value.code == "invalid_api_key"


def test_the_state_is_open(server: tuple[str, str, str]) -> None:
    assert status(server[0], "/health") == 200
    assert status(server[0], "/health", method="POST") == 401


def test_a_key_sees_its_corpora_alone(server: tuple[str, str, str]) -> None:
    address, whole, papers = server
    with client_of(address, whole) as client:
        assert [model.id for model in client.models.list()] == ["papers", "contracts"]
        assert client.chat.completions.create(model="contracts", messages=QUESTION).choices[0].message.content
    with client_of(address, papers) as client:
        assert [model.id for model in client.models.list()] == ["papers"]
        assert client.chat.completions.create(model="papers", messages=QUESTION).choices[0].message.content
        for stream in (False, True):
            with pytest.raises(openai.NotFoundError, match="models here: papers$"):
                client.chat.completions.create(model="contracts", messages=QUESTION, stream=stream)
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("contracts")


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/v1/files", 403),
        ("POST", "/v1/files", 403),
        ("DELETE", "/v1/files/file-1", 403),
        ("POST", "/v1/vector_stores", 403),
        ("POST", "/v1/vector_stores/", 403),
        ("POST", "/v1/vector_stores/contracts/search", 404),
        ("GET", "/v1/vector_stores/contracts", 404),
        ("DELETE", "/v1/vector_stores/papers", 403),
        ("POST", "/v1/vector_stores/papers/files", 403),
        ("POST", "/v1/vector_stores/papers/files/search", 403),
        ("GET", "/metrics", 403),
    ],
)
def test_a_key_for_some_corpora_changes_nothing(
    server: tuple[str, str, str], method: str, path: str, expected: int
) -> None:
    assert status(server[0], path, server[2], method) == expected


def test_a_key_for_everything_reads_the_metrics(server: tuple[str, str, str]) -> None:
    assert status(server[0], "/metrics", server[1]) == 200


def test_a_signed_link_opens_its_page_alone(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    add_key(file, "boss")
    app = create_app(
        FakeLibrary(FakeAnswerer("papers", EchoEngine())), settings=ServeConfig(api_keys_file=str(file))
    )
    guard = next(one for one in app.user_middleware if "signer" in one.kwargs)
    signer: Any = guard.kwargs["signer"]
    with running(app) as address:
        link = PageLinks("", signer).page("papers", "lake.txt", 1)
        forged = PageLinks("", LinkSigner(b"x" * 32)).page("papers", "lake.txt", 1)
        assert status(address, link) != 401
        assert status(address, forged) == 401
        for changed in (
            link.replace("lake.txt", "bridge.txt"),
            link.replace("/1?", "/2?"),
            link.replace("/papers/", "/contracts/"),
            link + "&document=bridge.txt",
            "/v1/models?" + link.partition("?")[2],
        ):
            assert status(address, changed) == 401, changed
        assert status(address, link, method="POST") == 401
        assert status(address, f"{PATH}/papers/1") == 401


def test_a_link_that_is_over_says_so_in_a_browser(server: tuple[str, str, str]) -> None:
    over = f"{server[0]}{PATH}/papers/1?document=lake.txt&expires=1&signature=<b>x"
    reply = httpx.get(over, headers={"accept": "text/html,*/*;q=0.8"})
    assert (reply.status_code, reply.headers["content-type"]) == (401, "text/html; charset=utf-8")
    assert "this link to a page has expired or was altered" in reply.text
    assert "no API key" not in reply.text
    assert "script" not in reply.headers["content-security-policy"]
    assert reply.headers["cache-control"] == "no-store"
    assert 'href="../../../../web/page.css"' in reply.text
    for headers, query in (({}, ""), ({"accept": "text/html"}, "&format=json"), ({"accept": "image/webp"}, "")):
        error = httpx.get(over + query, headers=headers).json()["error"]
        assert error["code"] == "link_expired"
        assert error["message"].startswith(
            "this link to a page has expired or was altered; ask the question again"
        )
    # Without a signature it was never such a link; other routes have no pages.
    for path in (f"{PATH}/papers/1?document=lake.txt", "/v1/models?signature=x"):
        reply = httpx.get(f"{server[0]}{path}", headers={"accept": "application/json"})
        assert "no API key was given" in reply.json()["error"]["message"]
