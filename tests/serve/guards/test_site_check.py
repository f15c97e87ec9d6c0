"""What pages of other sites can make of a server without API keys, by the browser of one of its readers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ragkit.serve.api.app import create_app
from ragkit.serve.engines.echo_engine import EchoEngine
from ragkit.serve.guards.api_keys import add_key
from ragkit.serve_config import ServeConfig
from tests.serve.house import FakeAnswerer, FakeLibrary, running

CHAT = {"model": "papers", "messages": [{"role": "user", "content": "How deep is Lake Ohm?"}]}
PUBLIC = "https://ask.example.org/rag"


def serving(any_host: bool = False, **settings: Any) -> Any:
    library = FakeLibrary(FakeAnswerer("papers", EchoEngine()))
    return running(create_app(library, settings=ServeConfig(**settings), any_host=any_host))


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(public_url=PUBLIC, cors_origins=("https://chat.example",)) as url:
        yield url


def chat(address: str, **headers: str) -> httpx.Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(f"{address}/v1/chat/completions", json=CHAT, headers=sent, timeout=30)


def code_of(reply: httpx.Response) -> str | None:
    return None if reply.status_code == 200 else reply.json()["error"]["code"]


@pytest.mark.parametrize(
    "host",
    [
        "localhost:8000",
        "LOCALHOST.",
        "a.localhost",
        "127.0.0.1",
        "192.168.1.4:80",
        "[::1]:8000",
        "ask.example.org",
        "host.docker.internal:8000",
    ],
)
def test_names_that_nobody_else_can_own(address: str, host: str) -> None:
    assert chat(address, host=host).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "[::1"]
)
def test_other_names_are_refused_also_to_who_reads(address: str, host: str) -> None:
    for reply in (chat(address, host=host), httpx.get(f"{address}/v1/models", headers={"host": host})):
        assert (reply.status_code, code_of(reply)) == (421, "unknown_host")
        assert "[serve] public_url" in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "cross-site", "origin": "http://evil.example"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:3000", "host": "localhost:8000"},
    ],
)
def test_pages_of_other_sites_are_refused(address: str, headers: dict[str, str]) -> None:
    reply = chat(address, **headers)
    assert (reply.status_code, code_of(reply)) == (403, "other_site")
    form = {"purpose": (None, "user_data"), "file": ("x.md", b"# X")}
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    reply = httpx.post(f"{address}/v1/files", files=form, headers=sent)
    assert (reply.status_code, code_of(reply)) == (403, "other_site")
    assert httpx.get(f"{address}/v1/models", headers=sent).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec_fetch_site": "none"},
        {"origin": "http://localhost:8000", "host": "localhost:8000"},
        {"sec_fetch_site": "cross-site", "origin": "https://chat.example"},
        {"origin": "https://ask.example.org"},
        {"sec_fetch_site": "same-origin", "origin": "https://elsewhere.example"},
    ],
)
def test_own_pages_and_those_that_are_named_pass(address: str, headers: dict[str, str]) -> None:
    assert chat(address, **headers).status_code == 200


def test_where_everybody_is_let_in_any_name_will_do() -> None:
    with serving(any_host=True) as address:
        assert chat(address, host="ragkit:8000").status_code == 200
        assert code_of(chat(address, host="ragkit:8000", origin="http://evil.example")) == "other_site"


def test_keys_are_enough(tmp_path: Path) -> None:
    key = add_key(tmp_path / "keys.toml", "me").key
    with serving(api_keys_file=str(tmp_path / "keys.toml")) as address:
        headers = {"authorization": f"Bearer {key}", "origin": "http://evil.example", "host": "evil.example"}
        assert chat(address, **headers).status_code == 200


def test_spellings_of_an_origin_that_browsers_do_not_use_are_theirs() -> None:
    settings = {"public_url": "https://Rag.example:443/x", "cors_origins": ("https://Chat.example",)}
    with serving(**settings) as url:
        for origin in ("https://rag.example", "https://chat.example"):
            assert chat(url, origin=origin).status_code == 200


@pytest.mark.parametrize("origin", ["https://chat.example/", "chat.example", "file:///x"])
def test_what_is_no_origin_is_refused_when_the_server_starts(origin: str) -> None:
    with pytest.raises(ValueError, match="is no origin such as"):
        ServeConfig(cors_origins=(origin,))
